//! The settings that all requests share.

use std::sync::Arc;

use cloakroom::SessionStore;

use crate::cookie::SessionCookie;
use crate::watcher::SessionWatcher;

/// The settings that all requests share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) cookie: SessionCookie,
    pub(crate) watcher: Option<SessionWatcher>,
}
