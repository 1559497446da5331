//! The configuration of a migration manager.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::background::callback::Callback;
use crate::migration::directions::Directions;
use crate::migration::manager::MigrationManager;
use crate::migration::task::Report;
use crate::migration::transfer::{End, LostSource, Transfer};
use crate::model::{Error, Result, check_count, check_span, require_name, require_runtime};
use crate::store::Store;

/// Configures a [`MigrationManager`].
#[must_use]
pub struct MigrationManagerBuilder {
    local: End,
    remote: End,
    queue: usize,
    workers: usize,
    freeze: Duration,
    lost_source: LostSource,
    on_report: Callback<Report>,
}

impl fmt::Debug for MigrationManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { local, remote, queue, workers, freeze, lost_source, .. } = self;
        f.debug_struct("MigrationManagerBuilder")
            .field("local", local)
            .field("remote", remote)
            .field("queue", queue)
            .field("workers", workers)
            .field("freeze", freeze)
            .field("lost_source", lost_source)
            .finish_non_exhaustive()
    }
}

impl MigrationManagerBuilder {
    /// The names of the two stores. A store records them: it gives them to late callers that ask where a session went,
    /// and [`resume`](MigrationManager::resume) finds by them the sessions that are on their way between these two
    /// stores. All processes that move sessions between two stores must use the same names, and different stores must
    /// have different names. In particular, each process's own [`MemoryStore`](crate::MemoryStore) needs its own name;
    /// otherwise a process would take another's migrations for its own. Defaults to `local` and `remote`.
    pub fn places(mut self, local: impl Into<String>, remote: impl Into<String>) -> Self {
        self.local.place = local.into();
        self.remote.place = remote.into();
        self
    }

    /// How many tasks may wait, 1 to 10,000. Defaults to 100.
    pub fn queue(mut self, tasks: usize) -> Self {
        self.queue = tasks;
        self
    }

    /// How many sessions it moves at once, 1 to 256. Defaults to 8.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How long a session may be frozen, and how long a step is retried while a store is away: 1 ms to an hour.
    /// Defaults to 30 seconds.
    pub fn freeze(mut self, longest: Duration) -> Self {
        self.freeze = longest;
        self
    }

    /// What to do with a copy whose source has lost its data. Defaults to [`LostSource::Keep`]: when a session ends,
    /// its source keeps a trace for as long as a copy could be stored, so without a trace the copy is all that is left.
    pub fn lost_source(mut self, policy: LostSource) -> Self {
        self.lost_source = policy;
        self
    }

    /// Called with the report of each migration that ends, also of those that [`resume`](MigrationManager::resume)
    /// finishes. It is called at least once per session that moved to the other store; after a crash perhaps more than
    /// once, with the same task id. After a crash, migrations to another node are not reported: submit them again.
    /// Defaults to nothing.
    pub fn on_report(mut self, on_report: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.on_report = Callback::new(on_report);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration, or that there is no Tokio runtime here.
    pub fn build(self) -> Result<MigrationManager> {
        require_runtime()?;
        let Self { local, remote, queue, workers, freeze, lost_source, on_report } = self;
        for place in [&local.place, &remote.place] {
            require_name("place", place)?;
        }
        check_span(freeze)?;
        if local.place == remote.place {
            return Err(Error::invalid("place", "is the same for both stores"));
        }
        check_count("queue", queue, 10_000)?;
        check_count("workers", workers, 256)?;
        let to_remote = Transfer { source: local.clone(), target: remote.clone(), freeze, lost_source };
        let to_local = Transfer { source: remote, target: local, freeze, lost_source };
        let directions = Directions { to_remote, to_local, on_report, handed_back: Mutex::default() };
        Ok(MigrationManager::start(directions, queue, workers))
    }
}

impl MigrationManager {
    /// Configures a manager of two stores.
    pub fn builder(local: Arc<dyn Store>, remote: Arc<dyn Store>) -> MigrationManagerBuilder {
        let end = |store, place: &str| End { store, place: place.to_owned() };
        MigrationManagerBuilder {
            local: end(local, "local"),
            remote: end(remote, "remote"),
            queue: 100,
            workers: 8,
            freeze: Duration::from_secs(30),
            lost_source: LostSource::default(),
            on_report: Callback::default(),
        }
    }
}
