#![doc = include_str!("../README.md")]

mod batch;
mod breaker;
mod connect;
mod contract;
mod creates;
mod cursor;
mod declared;
mod engine;
mod export;
mod fallback;
mod fallback_store;
mod flat;
mod gather;
mod lease;
mod lookup;
mod many;
mod memory;
mod migration;
mod model;
mod operation;
mod ops;
mod pool;
mod reads;
mod reaper;
mod recoverer;
mod redis_store;
mod redis_store_builder;
mod reply;
mod script;
mod stop;
mod store;
mod stored;
mod touches;

pub use crate::model::{
    Binding, Bound, Claim, Claimed, Cleaned, Created, Cursor, Deleted, Departed, Direction, Entries, Error,
    Expired, Export, Freezing, Frozen, Heartbeat, Holder, IdScheme, Import, Imported, LeaseStatus, Leftover,
    Migration, Migrations, NewSession, Node, Obstacle, OnLimit, OperationId, Origin, Owner, Page,
    PageRequest, Patch, Patched, Phase, Reaped, Recovered, Refreshed, Refusal, Removed, Result, Rotated,
    Rotation, Rules, Session, SessionId, Status, Target, TaskId, TestClock, Thawed, Unbound, UserDeleted,
    Version,
};
pub use crate::store::{modify::SessionStoreExt, session_store::SessionStore};
pub use crate::{
    breaker::BreakerState,
    connect::connect,
    fallback::builder::FallbackStoreBuilder,
    fallback::policy::{FallbackPolicy, FallbackStats},
    fallback::recovery::{OnRecovery, Recovery},
    fallback_store::FallbackStore,
    lease::{Lease, LeaseOptions, LeaseState},
    memory::snapshot::Stored,
    memory::{builder::MemoryStoreBuilder, store::MemoryStore},
    migration::drain::{Drain, DrainProgress},
    migration::manager::{MigrationManager, MigrationManagerBuilder},
    migration::resume::Resumed,
    migration::route::Outcome,
    migration::task::{Destination, MigrationTask, OnReport, Report, Submitted},
    reaper::{OnRemoved, Reaper, ReaperStats},
    recoverer::{OnRecovered, Recoverer, RecovererStats},
    redis_store::RedisStore,
    redis_store_builder::RedisStoreBuilder,
};
/// The clients that a service may hand in, in the versions that fit.
pub use {bb8, bb8_redis, redis};
