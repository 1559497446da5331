//! A new id for a session, and the login that goes with it.

use crate::model::deletion::Removed;
use crate::model::error::{Error, Result, cause};
use crate::model::index_fields::check_name;
use crate::model::operation_id::OperationId;
use crate::model::recent_changes::RecentChanges;
use crate::model::session::Session;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// How to rotate a session.
///
/// ```
/// use cloakroom::Rotation;
///
/// let login = Rotation::new().user("ann");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    pub(crate) new_id: Option<SessionId>,
    pub(crate) user: String,
}

impl Rotation {
    /// A new id, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The new id. Defaults to one that the engine makes.
    #[must_use]
    pub fn new_id(mut self, id: SessionId) -> Self {
        self.new_id = Some(id);
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
    /// Sessions of the same user that were deleted to stay within the limit. Close their connections.
    pub evicted: Vec<Removed>,
    /// Another rotation was first: the new id is the one it made, and the user is as that one left it.
    pub by_another: bool,
    /// How many versions it made, if no others came in between; 0: nobody knows. A login in steps makes two of a session that
    /// has a connection.
    pub(crate) own_changes: u64,
}

/// The operation ids of the calls that a login makes which no one script can do: a copy is brought in, the old id is left
/// under the id of the login, and the copy gets the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginSteps {
    pub(crate) login: OperationId,
}

/// In the place of a version, which no session has.
const BINDING: usize = usize::MAX;

impl LoginSteps {
    /// Under which the copy of a version is brought in. Each has its own, or a later one would be taken for an earlier. That
    /// what is there is its own earlier copy the login looks up, so the call needs no bound from before the login: by such a
    /// one a copy that was brought in since could not tell of it.
    pub(crate) fn copy(&self, of: Version) -> OperationId {
        self.login.nth(usize::try_from(of.get()).unwrap_or(BINDING - 1)).of_a_first_call()
    }

    /// Under which the copy gets the connection, after a look whether it did.
    pub(crate) fn binding(&self) -> OperationId {
        self.login.nth(BINDING).of_a_first_call()
    }

    /// Whether a session is a copy that the login brought in, as it was then.
    pub(crate) fn is_copy(&self, version: Version, changes: &RecentChanges) -> bool {
        // The change before it is that of the session that was copied.
        self.is_noted(version, changes, 1)
    }

    fn is_noted(&self, version: Version, changes: &RecentChanges, age: usize) -> bool {
        let of = version.get().checked_sub(age as u64).map(Version::new);
        of.is_some_and(|of| changes[age] == *self.copy(of).as_bytes())
    }

    /// How many versions the login made, if it made all since the one that was copied; else 0.
    pub(crate) fn own_changes(&self, version: Version, changes: &RecentChanges) -> u64 {
        let is_bound = changes[0] == *self.binding().as_bytes() && self.is_noted(version, changes, 2);
        if self.is_copy(version, changes) { 1 } else { u64::from(is_bound) * 2 }
    }

    /// An error before the old id is left. A login that may have happened stays in doubt where nobody can be asked.
    pub(crate) fn unless_in_doubt(&self, error: Error) -> Error {
        match error {
            Error::NotExecuted { .. } if self.login.is_of_a_repeat() => {
                Error::ambiguous(self.login, cause(error))
            }
            error => error,
        }
    }
}
