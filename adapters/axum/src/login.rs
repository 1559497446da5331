//! Who logs in, and for how long.

use std::time::Duration;

use cloakroom::{NewSession, Rotation};

/// A login: of a user, and for how long. `session.login("ann")` is one with nothing more to say.
///
/// ```
/// use cloakroom_axum::Login;
/// use std::time::Duration;
///
/// let login = Login::new("ann").remember(Duration::from_secs(30 * 86_400));
/// ```
#[derive(Clone, Debug)]
pub struct Login {
    user: String,
    remembered: Option<Duration>,
}

impl Login {
    /// Of a user, for as long as the [rules](cloakroom::Rules) say.
    #[must_use]
    pub fn new(user: impl Into<String>) -> Self {
        Self { user: user.into(), remembered: None }
    }

    /// "Remember me": session and cookie live for so long from the login on, used or not, in the place of what the rules say.
    #[must_use]
    pub fn remember(mut self, time: Duration) -> Self {
        self.remembered = Some(time);
        self
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn remembered(&self) -> Option<Duration> {
        self.remembered
    }

    /// Of a session that is there.
    pub(crate) fn rotation(&self) -> Rotation {
        let rotation = Rotation::new().user(&self.user);
        match self.remembered {
            Some(time) => rotation.ttl(time).lifetime(time),
            None => rotation,
        }
    }

    /// Of one that is made.
    pub(crate) fn of_new(&self, new: NewSession) -> NewSession {
        let new = new.user(&self.user);
        match self.remembered {
            Some(time) => new.ttl(time).lifetime(time),
            None => new,
        }
    }
}

impl<T: Into<String>> From<T> for Login {
    fn from(user: T) -> Self {
        Self::new(user)
    }
}
