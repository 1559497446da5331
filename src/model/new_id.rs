//! The id of a session that is to be made.

use crate::model::session_id::SessionId;
use crate::model::token::Token;

/// The id that a session is to have, and its token, if its id is the hash of one.
///
/// Comes of an id or of a token that the caller chose, or from [`SessionStore::new_id`](crate::SessionStore::new_id).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewId {
    /// The id.
    pub id: SessionId,
    /// What the client is to hold. `None`: the id itself.
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
