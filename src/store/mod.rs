//! The traits that every store implements, and what builds on them.

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

/// Everything that a store can do. Pass an `Arc<dyn Store>` wherever an `Arc<dyn SessionStore>` is
/// expected.
pub trait Store: SessionStore + NodeRegistry + MigrationStore {}

impl<T: SessionStore + NodeRegistry + MigrationStore + ?Sized> Store for T {}
