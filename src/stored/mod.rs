//! The stored data: the names of the keys, and the layouts of the record and of a lease. It knows no store.

#[cfg(feature = "redis")]
pub(crate) mod key_kind;
#[cfg(any(test, feature = "redis", feature = "test-util"))]
pub(crate) mod keys;
#[cfg(any(test, feature = "redis"))]
pub(crate) mod lease;
#[cfg(feature = "redis")]
pub(crate) mod partitions;
#[cfg(any(test, feature = "redis"))]
pub(crate) mod record;
#[cfg(feature = "redis")]
pub(crate) mod slot;
