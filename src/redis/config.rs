//! What all calls of a store go by.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Rules, TestClock};
use crate::redis::near_cache::NearCache;
use crate::redis::startup::Startup;
use crate::stored::keys::Keys;

/// What all calls of a Redis store share.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    /// The server, as errors name it.
    pub(crate) server: Arc<str>,
    pub(crate) keys: Keys,
    pub(crate) rules: Rules,
    pub(crate) clock: Option<TestClock>,
    pub(crate) deadline: Duration,
    pub(crate) near_cache: Option<Arc<NearCache>>,
    pub(crate) startup: Arc<Startup>,
}
