//! One session of a user, for a page "your devices".

use std::time::SystemTime;

use cloakroom::{Entries, Session, SessionId};

/// A session of the same user. Its id is a handle and no secret: a page may show it, and end the session by it
/// ([`kick`](crate::Session::kick)).
#[derive(Clone, Debug)]
pub struct Device {
    session: Session,
    is_current: bool,
}

impl Device {
    pub(crate) fn new(session: Session, current: &SessionId) -> Self {
        let is_current = session.id() == current;
        Self { session, is_current }
    }

    /// The id that [`kick`](crate::Session::kick) takes.
    #[must_use]
    pub fn id(&self) -> &str {
        self.session.id().as_str()
    }

    /// Whether it is the session of this request.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// When it was created: when its user logged in, or came as a visitor.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        self.session.created_at()
    }

    /// When it was last used, as exact as the [touch interval](cloakroom::Rules::touch_interval).
    #[must_use]
    pub fn last_active(&self) -> SystemTime {
        self.session.last_active()
    }

    /// Its attributes: for example the name of the browser, if the service sets it at login.
    #[must_use]
    pub fn attributes(&self) -> &Entries {
        self.session.attributes()
    }
}
