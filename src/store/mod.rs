//! The traits that every store implements, and what is built on them.

pub(crate) mod call_span;
pub(crate) mod event_store;
pub(crate) mod join;
pub(crate) mod meter;
pub(crate) mod migration_store;
pub(crate) mod modify;
pub(crate) mod node_registry;
pub(crate) mod outcome;
pub(crate) mod session_store;

use migration_store::MigrationStore;
use node_registry::NodeRegistry;
use session_store::SessionStore;

/// All that a store can do. An `Arc<dyn Store>` is an `Arc<dyn SessionStore>` wherever that is asked for.
pub trait Store: SessionStore + NodeRegistry + MigrationStore {}

impl<T: SessionStore + NodeRegistry + MigrationStore + ?Sized> Store for T {}
