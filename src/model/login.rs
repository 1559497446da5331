//! Rotation: a new id for a session, with a login if the user changes.

use std::time::Duration;

use serde::Serialize;

use crate::model::change::Patch;
use crate::model::deletion::Removed;
use crate::model::duration::ms;
use crate::model::error::{Error, Result};
use crate::model::index_fields::check_name;
use crate::model::new_id::NewId;
use crate::model::rules::Rules;
use crate::model::session::Session;
use crate::model::token::Token;

/// How to rotate a session.
///
/// ```
/// use cloakroom::Rotation;
///
/// let login = Rotation::new().user("ann").set("signed_in_by", "password")?;
/// let logout = Rotation::new().anonymous().remove("signed_in_by");
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    pub(crate) new_id: Option<NewId>,
    pub(crate) user: UserThen,
    /// The changes of attributes in the same step.
    pub(crate) patch: Patch,
    keeps_deadline: bool,
}

/// The user after the rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum UserThen {
    /// The user that it has.
    #[default]
    Same,
    Named(String),
    Nobody,
}

impl Rotation {
    /// Changes the id, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The new id, or the token whose hash is the id. Defaults to an id that the store makes.
    #[must_use]
    pub fn new_id(mut self, id: impl Into<NewId>) -> Self {
        self.new_id = Some(id.into());
        self
    }

    /// Makes the session this user's: a login. An empty name is invalid. Defaults to the user that it has.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = UserThen::Named(user.into());
        self
    }

    /// Removes the user: a logout that keeps the session's data, such as a cart. Defaults to the user that it has.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.user = UserThen::Nobody;
        self
    }

    /// Gives the session another idle time. Defaults to the one that it has. Either way the idle time
    /// starts again.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.patch = self.patch.ttl(ttl);
        self
    }

    /// How long the session lives at most from now on, however much it is used: "remember me". A login or a
    /// logout defaults to [`Rules::max_lifetime`] from now on; any other rotation keeps the deadline.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.patch = self.patch.lifetime(lifetime);
        self
    }

    /// Keeps the deadline that the session has, also at a login or a logout. Without it, a login or a logout
    /// starts a new deadline.
    #[must_use]
    pub fn keep_deadline(mut self) -> Self {
        self.keeps_deadline = true;
        self
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(mut self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.patch = self.patch.set(key, value)?;
        Ok(self)
    }

    /// Removes an attribute. A missing one is no error.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.patch = self.patch.remove(key);
        self
    }

    /// Also changes the attributes and extensions that a patch changes. The rest of the patch is ignored.
    #[must_use]
    pub fn entries_of(mut self, patch: &Patch) -> Self {
        self.patch.changes.extend_from_slice(&patch.changes);
        self
    }

    /// Checks all fields, and encodes the changes of entries for the script.
    pub(crate) fn check(&self, rules: &Rules) -> Result<Vec<u8>> {
        match &self.user {
            UserThen::Named(user) if user.is_empty() => {
                return Err(Error::invalid("user id", "is empty: use `anonymous` for a logout"));
            }
            UserThen::Named(user) => check_name("user id", user)?,
            UserThen::Same | UserThen::Nobody => {}
        }
        self.patch.check(rules)
    }

    /// The new user's name; empty if the rotation names none.
    pub(crate) fn named_user(&self) -> &str {
        match &self.user {
            UserThen::Named(user) => user,
            UserThen::Same | UserThen::Nobody => "",
        }
    }

    /// How long the session lives at most from now on, in milliseconds, 0 for no limit; `None`: its deadline stays.
    pub(crate) fn lifetime_ms(&self, rules: &Rules) -> Option<u64> {
        match self.patch.lifetime {
            Some(lifetime) => Some(ms(lifetime)),
            None if self.user == UserThen::Same || self.keeps_deadline => None,
            None => Some(rules.max_lifetime.map_or(0, ms)),
        }
    }
}

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotated {
    /// The session under its new id.
    pub session: Session,
    /// The token that the client must hold from now on, if ids are the hashes of tokens. `None` if another rotation
    /// came first: its caller has the token.
    pub token: Option<Token>,
    /// Sessions of the same user that were deleted to stay within the limit. Close their connections.
    pub evicted: Vec<Removed>,
    /// Another rotation came first: the new id and the user are those of that rotation.
    pub by_another: bool,
    /// How many versions the rotation made, if no other change came in between; 0: unknown. A login in steps makes two
    /// if the session has a connection.
    pub(crate) own_changes: u64,
}

impl Rotated {
    /// The result when another rotation came first and made this session.
    pub(crate) fn by_another(session: Session) -> Self {
        Self { session, token: None, evicted: Vec::new(), by_another: true, own_changes: 0 }
    }
}
