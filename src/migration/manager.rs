//! The queue of migrations, and its workers.

use std::fmt;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;

use crate::migration::directions::Directions;
use crate::migration::drain::{Drain, DrainTask};
use crate::migration::reassign::reassign;
use crate::migration::resume;
use crate::migration::resume::Resumed;
use crate::migration::task::{Destination, Job, MigrationTask, Submitted};
use crate::model::{Error, Obstacle, Result};

/// Moves sessions between two stores, or between two nodes of the local store. The stores can be memory and Redis, two
/// Redis servers or clusters, or two namespaces of one server.
///
/// It freezes a session, copies it, removes the original, and thaws the copy. So callers can never change both. A
/// delete wins at both ends, and no acknowledged change is lost. Each step is one script that can be retried. After a
/// crash of this process, [`resume`](Self::resume) finishes the migrations, in any process that has both stores.
///
/// ```
/// use std::sync::Arc;
/// use cloakroom::{MemoryStore, NewSession, SessionStore};
/// use cloakroom::migration::{Destination, MigrationManager, MigrationTask, Outcome};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// let (here, there) = (Arc::new(MemoryStore::builder().build()?), Arc::new(MemoryStore::builder().build()?));
/// let session = here.create(NewSession::new().user("ann")).await?.session;
/// let manager = MigrationManager::builder(here, there.clone()).build()?;
/// let submitted = manager.submit(MigrationTask::new(session.id().clone(), Destination::Remote)).await?;
/// assert_eq!(submitted.await?.outcome?, Outcome::Arrived);
/// assert_eq!(there.get(session.id()).await?, Some(session));
/// manager.close().await;
/// # Ok(())
/// # }
/// ```
///
/// If you drop it, it stops at once and reports all unfinished tasks as failed: as not executed if they had not begun,
/// as ambiguous if they had, because `resume` will finish those.
///
/// A waiting task is only in this process: nothing of it is stored, and its session is unchanged. A crash loses the
/// waiting tasks, at most as many as the [queue](crate::migration::MigrationManagerBuilder::queue) holds, but no
/// session. To get a report despite a crash, keep the [task id](MigrationTask::task_id) and submit the task again under
/// it: that is the same migration. Start a [drain](Self::drain_node) again: the sessions that it has not moved are
/// still in the node's index.
pub struct MigrationManager {
    directions: Arc<Directions>,
    queue: mpsc::Sender<Job>,
    workers: JoinSet<()>,
}

impl fmt::Debug for MigrationManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationManager")
            .field("to_remote", &self.directions.to_remote)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl MigrationManager {
    /// Starts the workers.
    pub(crate) fn start(directions: Directions, queue: usize, workers: usize) -> Self {
        let (directions, (queue, jobs)) = (Arc::new(directions), mpsc::channel(queue));
        let jobs = Arc::new(tokio::sync::Mutex::new(jobs));
        let mut working = JoinSet::new();
        for _ in 0..workers {
            working.spawn(work(directions.clone(), jobs.clone()));
        }
        Self { directions, queue, workers: working }
    }

    /// Accepts a task as soon as the queue has room. Await the returned value for the report.
    ///
    /// # Errors
    /// [`Error::NotExecuted`] if the manager's workers are gone.
    pub async fn submit(&self, task: MigrationTask) -> Result<Submitted> {
        let (job, submitted) = Job::new(task, self.directions.on_report.clone());
        match self.queue.send(job).await {
            Ok(()) => Ok(submitted),
            Err(refused) => {
                drop(refused.0.hand_back());
                Err(Error::obstacle(Obstacle::Closed, None))
            }
        }
    }

    /// Accepts a task if the queue has room.
    ///
    /// # Errors
    /// [`Error::NotExecuted`] when the queue is full ([`Obstacle::QueueFull`]). Then no callback is called.
    pub fn try_submit(&self, task: MigrationTask) -> Result<Submitted> {
        let (job, submitted) = Job::new(task, self.directions.on_report.clone());
        let (job, obstacle) = match self.queue.try_send(job) {
            Ok(()) => return Ok(submitted),
            Err(TrySendError::Full(job)) => (job, Obstacle::QueueFull),
            Err(TrySendError::Closed(job)) => (job, Obstacle::Closed),
        };
        drop(job.hand_back());
        Err(Error::obstacle(obstacle, None))
    }

    /// How many tasks wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How often a callback panicked, including the tasks' own. Panics are logged, and the other callbacks are
    /// still called.
    #[must_use]
    pub fn callback_panics(&self) -> u64 {
        self.directions.on_report.panics().get()
    }

    /// Moves all sessions of a node through the queue, at most `per_second`. It works in the background until the node
    /// has none or the handle is dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad node, a node that would be drained to itself, a rate of zero, or a missing Tokio
    /// runtime.
    pub fn drain_node(&self, node: &str, destination: Destination, per_second: u32) -> Result<Drain> {
        let source = self.directions.transfer(&destination).source.store.clone();
        let on_report = self.directions.on_report.clone();
        DrainTask::start(source, self.queue.downgrade(), node, destination, per_second, on_report)
    }

    /// Finishes all migrations between these two stores that no process works at any more. Call it after a crash, at a
    /// start, or now and then. Migrations that a process works at meanwhile end the same way. Any number of processes
    /// may call it.
    ///
    /// # Errors
    /// Those of [`migrations`](crate::migration::MigrationStore::migrations). The error of a single migration is in its
    /// report.
    pub async fn resume(&self) -> Result<Resumed> {
        resume::resume(&self.directions).await
    }

    /// Finishes all accepted tasks, then stops.
    pub async fn close(self) {
        let Self { queue, mut workers, .. } = self;
        drop(queue);
        while workers.join_next().await.is_some() {}
    }

    /// Finishes the tasks that have begun, and returns the waiting ones. For those no callback is called.
    pub async fn hand_back(self) -> Vec<MigrationTask> {
        let Self { directions, queue, mut workers } = self;
        *directions.handed_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        drop(queue);
        while workers.join_next().await.is_some() {}
        directions.handed_back.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// Works on the queue until it is closed and empty.
async fn work(directions: Arc<Directions>, jobs: Arc<tokio::sync::Mutex<mpsc::Receiver<Job>>>) {
    loop {
        let job = jobs.lock().await.recv().await;
        let Some(job) = job else { return };
        if let Some(job) = directions.keep_back(job) {
            move_one(&directions, job).await;
        }
    }
}

async fn move_one(directions: &Directions, mut job: Job) {
    job.begin();
    let Some(MigrationTask { id, session, destination, from, .. }) = job.task().cloned() else { return };
    if let Err(error) = destination.check() {
        return job.report(session, Err(error));
    }
    let transfer = directions.transfer(&destination);
    if let Destination::Node(to) = &destination {
        return match reassign(&*transfer.source.store, &transfer.retry(), &session, from, to).await {
            Ok((session, outcome)) => job.report(session, Ok(outcome)),
            Err(error) => job.report(session, Err(error)),
        };
    }
    match transfer.carry(&session, id, destination.node()).await {
        Ok(arrival) => {
            // Before the cleanup: if this process ends in between, the process that resumes reports it
            // again.
            job.report(arrival.id.clone(), Ok(arrival.outcome));
            if let Err(error) = transfer.clean_up(&arrival).await {
                tracing::warn!(%error, task = ?id, "a migration was not cleaned up; `resume` will do it");
            }
        }
        Err(error) => job.report(session, Err(error)),
    }
}
