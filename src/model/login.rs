//! A new id for a session, and the login that goes with it.

use crate::model::deletion::Removed;
use crate::model::error::Result;
use crate::model::index_fields::check_name;
use crate::model::new_id::NewId;
use crate::model::session::Session;
use crate::model::token::Token;

/// How to rotate a session.
///
/// ```
/// use cloakroom::Rotation;
///
/// let login = Rotation::new().user("ann");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    pub(crate) new_id: Option<NewId>,
    pub(crate) user: String,
}

impl Rotation {
    /// A new id, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The new id, or the token whose hash that is. Defaults to one that the engine makes.
    #[must_use]
    pub fn new_id(mut self, id: impl Into<NewId>) -> Self {
        self.new_id = Some(id.into());
        self
    }

    /// Makes the session this user's: a login. Defaults to the user it has.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_name("user id", &self.user)
    }
}

/// What a rotation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotated {
    /// The session under its new id.
    pub session: Session,
    /// What its client is to hold from now on, if its id is the hash of that. `None` where another was first: that one has it.
    pub token: Option<Token>,
    /// Sessions of the same user that were deleted to stay within the limit. Close their connections.
    pub evicted: Vec<Removed>,
    /// Another rotation was first: the new id is the one it made, and the user is as that one left it.
    pub by_another: bool,
    /// How many versions it made, if no others came in between; 0: nobody knows. A login in steps makes two of a session that
    /// has a connection.
    pub(crate) own_changes: u64,
}

impl Rotated {
    /// Another rotation was first, and made this session.
    pub(crate) fn by_another(session: Session) -> Self {
        Self { session, token: None, evicted: Vec::new(), by_another: true, own_changes: 0 }
    }
}
