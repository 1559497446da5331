//! A login: the user, and for how long.

use std::time::Duration;

use cloakroom::{NewSession, Rotation};

/// A login of a user, and how long it lasts. `session.login("ann")` is one without options.
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
    /// A login of a user, for as long as the [rules](cloakroom::Rules) say.
    #[must_use]
    pub fn new(user: impl Into<String>) -> Self {
        Self { user: user.into(), remembered: None }
    }

    /// "Remember me": session and cookie live this long from the login on, used or not, instead of the rules' times.
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

    /// Applies it to a new session.
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
