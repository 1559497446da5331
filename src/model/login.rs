//! A new id for a session, and the login that goes with it.

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
    /// What is changed besides, in the same step.
    pub(crate) patch: Patch,
    keeps_deadline: bool,
}

/// Whose the session is then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum UserThen {
    /// Whose it is.
    #[default]
    Same,
    Named(String),
    Nobody,
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

    /// Makes the session this user's: a login. An empty one is refused as invalid. Defaults to the user it has.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = UserThen::Named(user.into());
        self
    }

    /// Makes the session nobody's: a logout that keeps what is in it, such as a cart. Defaults to the user it has.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.user = UserThen::Nobody;
        self
    }

    /// Gives it another idle time. Defaults to the one it has, which begins anew.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.patch = self.patch.ttl(ttl);
        self
    }

    /// How long it lives at most from now on, however much it is used: "remember me". Defaults to
    /// [`Rules::max_lifetime`] from a login or a logout on, and else to the deadline that it has.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.patch = self.patch.lifetime(lifetime);
        self
    }

    /// Keeps the deadline that the session has, at a login and a logout too. Defaults to a new one from then on.
    #[must_use]
    pub fn keep_deadline(mut self) -> Self {
        self.keeps_deadline = true;
        self
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be told in JSON.
    pub fn set<T: Serialize + ?Sized>(mut self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.patch = self.patch.set(key, value)?;
        Ok(self)
    }

    /// Removes an attribute; one that is not there is no error.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.patch = self.patch.remove(key);
        self
    }

    /// Changes the attributes and extensions that a patch changes, too. Nothing else of the patch counts.
    #[must_use]
    pub fn entries_of(mut self, patch: &Patch) -> Self {
        self.patch.changes.extend_from_slice(&patch.changes);
        self
    }

    /// The changes of entries as the script takes them, once all fields are checked.
    pub(crate) fn check(&self, rules: &Rules) -> Result<Vec<u8>> {
        match &self.user {
            UserThen::Named(user) if user.is_empty() => {
                return Err(Error::invalid("user id", "is empty: a logout is `anonymous`"));
            }
            UserThen::Named(user) => check_name("user id", user)?,
            UserThen::Same | UserThen::Nobody => {}
        }
        self.patch.check(rules)
    }

    /// The user who is named; empty where none is.
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
