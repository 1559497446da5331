//! Moves many sessions between two stores, or to another node of one store.

pub(crate) mod builder;
pub(crate) mod directions;
pub(crate) mod drain;
pub(crate) mod manager;
pub(crate) mod reassign;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod task;
pub(crate) mod transfer;

pub use crate::model::{
    Direction, Export, Fate, Freezing, Frozen, Import, Leaving, Leftover, Migration, Migrations, Phase,
    TaskId,
};
pub use crate::store::migration_store::MigrationStore;
pub use builder::MigrationManagerBuilder;
pub use drain::{Drain, DrainProgress};
pub use manager::MigrationManager;
pub use resume::Resumed;
pub use task::{Destination, MigrationTask, Report, Submitted};
pub use transfer::{LostSource, Outcome};
