//! What is stored: the names of the keys and the layout of the record. It knows no store.

#[cfg(any(test, feature = "redis", feature = "test-util"))]
pub(crate) mod keys;
#[cfg(any(test, feature = "redis"))]
pub(crate) mod record;
