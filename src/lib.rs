// Where the links of README.md lead in rustdoc.
#![cfg_attr(not(doctest), doc = include_str!("docs/links.md"))]
#![doc = include_str!("../README.md")]
// docs.rs tells of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without the feature `redis` no code calls the helpers that make arguments of scripts.
#![cfg_attr(not(feature = "redis"), allow(dead_code, unused_imports))]
// Without the feature `test-util` the clock of tests is compiled but not exported.
#![cfg_attr(not(feature = "test-util"), allow(unreachable_pub, unnameable_types))]

pub mod background;
mod connect;
#[cfg(doc)]
pub mod docs;
pub mod draining;
pub mod fallback;
mod memory;
pub mod migration;
mod model;
pub mod nodes;
#[cfg(feature = "redis")]
mod redis;
mod store;
mod stored;
#[cfg(feature = "test-util")]
pub mod testing;

pub use crate::connect::connect;
pub use crate::memory::{builder::MemoryStoreBuilder, store::MemoryStore};
pub use crate::model::{
    Binding, Bound, Created, Cursor, Entries, Error, Explanation, Health, IdScheme, Invalid, NewId,
    NewSession, Obstacle, OnLimit, OperationId, Page, PageRequest, Patch, Patched, Readiness, Refreshed,
    Refusal, Removed, Result, Rotated, Rotation, Rules, Selector, ServerHealth, ServerMemory, ServerRole,
    Session, SessionId, SessionRef, Status, Token, UserDeleted, Version,
};
#[cfg(feature = "redis")]
pub use crate::redis::{
    builder::RedisStoreBuilder,
    credentials::Credentials,
    durability::{Applied, Durability},
    store::RedisStore,
};
#[cfg(feature = "metrics")]
pub use crate::store::meter::describe_metrics;
pub use crate::store::{Store, modify::SessionStoreExt, session_store::SessionStore};

/// Events: what happens to sessions. docs/events.md explains them.
pub mod events {
    pub use crate::model::{Ending, Event, EventKind, EventsFrom, EventsPosition, Told};
    pub use crate::store::event_store::{EventStore, EventStream};
}

/// Types for operators of a namespace: the results of [`RedisStore::walk`], [`RedisStore::users`] and
/// [`RedisStore::inspect`].
#[cfg(feature = "redis")]
pub mod operating {
    pub use crate::redis::inspect::PartitionContents;
    pub use crate::redis::walk::{Passed, Position, Scan, Stretch, Users};
}

/// Checks and repairs the stored data: [`RedisStore::verifier`] and [`RedisStore::repair`].
#[cfg(feature = "redis")]
pub mod verify {
    pub use crate::redis::verify::kind::ViolationKind;
    pub use crate::redis::verify::repair::Repaired;
    pub use crate::redis::verify::verifier::{Verified, Verifier};
    pub use crate::redis::verify::violation::Violation;
}

/// The crates whose types the constructors take: redis 1.8, bb8 0.9.
#[cfg(feature = "redis")]
pub mod clients {
    pub use {::bb8, ::redis};
}
