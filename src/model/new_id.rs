//! The id of a session to create.

use crate::model::session_id::SessionId;
use crate::model::token::Token;

/// The id for a new session, with its token if the id is the hash of one.
///
/// Convert an id or a token of your own into it, or get one from
/// [`SessionStore::new_id`](crate::SessionStore::new_id).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewId {
    /// The id.
    pub id: SessionId,
    /// The token that the client must hold. `None`: it holds the id itself.
    pub token: Option<Token>,
}

impl From<SessionId> for NewId {
    fn from(id: SessionId) -> Self {
        Self { id, token: None }
    }
}

impl From<Token> for NewId {
    fn from(token: Token) -> Self {
        Self { id: token.id().clone(), token: Some(token) }
    }
}
