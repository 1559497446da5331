#![doc = include_str!("../README.md")]

mod background;
mod connect;
mod fallback;
mod memory;
mod migration;
mod model;
mod nodes;
mod redis;
mod store;
mod stored;

pub use crate::model::{
    Binding, Bound, Claim, Claimed, Cleaned, Created, Cursor, Deleted, Departed, Direction, Entries, Error,
    Expired, Export, Freezing, Frozen, Heartbeat, IdScheme, Import, Imported, LeaseStatus, Leftover,
    Migration, Migrations, NewSession, Node, NodeIdentity, Obstacle, OnLimit, OperationId, Origin, Page,
    PageRequest, Patch, Patched, Phase, Reaped, RecoveredSession, Refreshed, Refusal, Removed, Result,
    Rotated, Rotation, Rules, Selector, Session, SessionId, SessionRef, Status, TaskId, TestClock, Thawed,
    Unbound, UserDeleted, Version,
};
pub use crate::store::{modify::SessionStoreExt, session_store::SessionStore};
pub use crate::{
    background::reaper::{OnRemoved, Reaper, ReaperStats},
    connect::connect,
    fallback::breaker::BreakerState,
    fallback::builder::FallbackStoreBuilder,
    fallback::policy::{FallbackPolicy, FallbackStats},
    fallback::reconciliation::{OnReconciled, Reconciled},
    fallback::store::FallbackStore,
    memory::snapshot::Stored,
    memory::{builder::MemoryStoreBuilder, store::MemoryStore},
    migration::builder::MigrationManagerBuilder,
    migration::drain::{Drain, DrainProgress},
    migration::manager::MigrationManager,
    migration::resume::Resumed,
    migration::task::{Destination, MigrationTask, OnReport, Report, Submitted},
    migration::transfer::Outcome,
    nodes::lease::{Lease, LeaseOptions, LeaseState},
    nodes::recoverer::{OnRecovered, Recoverer, RecovererStats},
    redis::{builder::RedisStoreBuilder, store::RedisStore},
};

/// The clients that a service may hand in, in the versions that fit.
pub mod clients {
    pub use {::bb8, ::bb8_redis, ::redis};
}
