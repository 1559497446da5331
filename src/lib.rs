#![doc = include_str!("../README.md")]

pub mod background;
mod connect;
pub mod fallback;
mod memory;
pub mod migration;
mod model;
pub mod nodes;
mod redis;
mod store;
mod stored;
pub mod testing;

pub use crate::connect::connect;
pub use crate::memory::{builder::MemoryStoreBuilder, store::MemoryStore};
pub use crate::model::{
    Binding, Bound, Created, Cursor, Entries, Error, IdScheme, Invalid, NewSession, Obstacle, OnLimit,
    OperationId, Page, PageRequest, Patch, Patched, Refreshed, Refusal, Removed, Result, Rotated, Rotation,
    Rules, Selector, Session, SessionId, SessionRef, Status, UserDeleted, Version,
};
pub use crate::redis::{builder::RedisStoreBuilder, store::RedisStore};
pub use crate::store::{Store, modify::SessionStoreExt, session_store::SessionStore};

/// The clients that a service may hand in: redis 1.8, bb8 0.9, bb8-redis 0.26.
pub mod clients {
    pub use {::bb8, ::bb8_redis, ::redis};
}
