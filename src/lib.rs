#![doc = include_str!("../README.md")]

mod batch;
mod clock;
mod declared;
mod engine;
mod entries;
mod error;
mod id;
mod keys;
mod lookup;
mod operation;
mod ops;
mod owner;
mod pool;
mod reaper;
mod record;
mod redis_store;
mod reply;
mod routing;
mod rules;
mod script;
mod session;
mod store;
mod target;

pub use crate::store::{SessionStore, SessionStoreExt};
pub use crate::{
    batch::Removed,
    clock::TestClock,
    entries::Entries,
    error::{Error, Obstacle, Refusal, Result},
    id::{IdScheme, OperationId, SessionId, Version},
    ops::bind::{Binding, Bound},
    ops::create::{Created, NewSession},
    ops::delete::Deleted,
    ops::delete_user::UserDeleted,
    ops::expired::Expired,
    ops::list::{Cursor, Page, PageRequest},
    ops::patch::{Patch, Patched},
    ops::reap::Reaped,
    ops::refresh::Refreshed,
    ops::rotate::{Rotated, Rotation},
    ops::unbind::Unbound,
    owner::Owner,
    reaper::{OnRemoved, Reaper, ReaperStats},
    redis_store::{RedisStore, RedisStoreBuilder},
    rules::{OnLimit, Rules},
    session::{Session, Status},
    target::Target,
};
/// The clients that a service may hand in, in the versions that fit.
pub use {bb8, bb8_redis, redis};
