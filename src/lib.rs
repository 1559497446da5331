#![doc = include_str!("../README.md")]

mod batch;
mod breaker;
mod clock;
mod connect;
mod contract;
mod creates;
mod cursor;
mod declared;
mod draft;
mod engine;
mod entries;
mod error;
mod export;
mod fallback;
mod fallback_store;
mod flat;
mod gather;
mod holder;
mod id;
mod keys;
mod lease;
mod lookup;
mod many;
mod memory;
mod migration;
mod operation;
mod ops;
mod owner;
mod pool;
mod reads;
mod reaper;
mod record;
mod recoverer;
mod redis_store;
mod redis_store_builder;
mod reply;
mod routing;
mod rules;
mod script;
mod session;
mod span;
mod stop;
mod store;
mod target;
mod together;
mod touches;

pub use crate::store::{SessionStore, SessionStoreExt};
pub use crate::{
    batch::Removed,
    breaker::BreakerState,
    clock::TestClock,
    connect::connect,
    cursor::Cursor,
    entries::Entries,
    error::{Error, Obstacle, Refusal, Result},
    export::Export,
    fallback::builder::FallbackStoreBuilder,
    fallback::policy::{FallbackPolicy, FallbackStats},
    fallback::recovery::{OnRecovery, Recovery},
    fallback_store::FallbackStore,
    holder::Holder,
    id::{IdScheme, OperationId, SessionId, TaskId, Version},
    lease::{Lease, LeaseOptions, LeaseState},
    memory::snapshot::Stored,
    memory::{builder::MemoryStoreBuilder, store::MemoryStore},
    migration::drain::{Drain, DrainProgress},
    migration::manager::{MigrationManager, MigrationManagerBuilder},
    migration::resume::Resumed,
    migration::route::Outcome,
    migration::task::{Destination, MigrationTask, OnReport, Report, Submitted},
    ops::bind::{Binding, Bound},
    ops::clean::{Cleaned, Leftover},
    ops::create::{Created, NewSession},
    ops::delete::Deleted,
    ops::delete_user::UserDeleted,
    ops::depart::Departed,
    ops::expired::Expired,
    ops::freeze::{Freezing, Frozen},
    ops::heartbeat::{Heartbeat, LeaseStatus},
    ops::import::{Import, Imported},
    ops::list::{Page, PageRequest},
    ops::migrations::{Migration, Migrations, Phase},
    ops::nodes::Node,
    ops::patch::{Patch, Patched},
    ops::reap::Reaped,
    ops::recover::{Claim, Claimed, Recovered},
    ops::refresh::Refreshed,
    ops::rotate::{Rotated, Rotation},
    ops::thaw::Thawed,
    ops::unbind::Unbound,
    owner::Owner,
    reaper::{OnRemoved, Reaper, ReaperStats},
    record::Direction,
    recoverer::{OnRecovered, Recoverer, RecovererStats},
    redis_store::RedisStore,
    redis_store_builder::RedisStoreBuilder,
    rules::{OnLimit, Rules},
    session::{Origin, Session, Status},
    target::Target,
};
/// The clients that a service may hand in, in the versions that fit.
pub use {bb8, bb8_redis, redis};
