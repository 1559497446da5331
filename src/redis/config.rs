//! The settings of all calls of a store.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Rules, TestClock};
use crate::redis::near_cache::NearCache;
use crate::redis::startup::Startup;
use crate::stored::partitions::Partitions;

/// The settings that all calls of a Redis store share.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    /// The server's name in errors.
    pub(crate) server: Arc<str>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) rules: Rules,
    pub(crate) clock: Option<TestClock>,
    pub(crate) deadline: Duration,
    pub(crate) near_cache: Option<Arc<NearCache>>,
    pub(crate) startup: Arc<Startup>,
}
