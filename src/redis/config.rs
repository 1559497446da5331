//! What all calls of a store go by.

use std::time::Duration;

use crate::model::{Rules, TestClock};
use crate::stored::keys::Keys;

/// What all calls of a Redis store share.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    pub(crate) keys: Keys,
    pub(crate) rules: Rules,
    pub(crate) clock: Option<TestClock>,
    pub(crate) deadline: Duration,
}
