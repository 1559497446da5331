//! The queue of migrations, and those who work at it.

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

/// Moves sessions between two stores, memory and Redis, two Redis servers or clusters, two namespaces of one; or between
/// two nodes of the local one.
///
/// A session is frozen where it is, copied, let go of, and then its copy can be changed: at no moment two of them can. A
/// delete wins at both ends, and no change that was answered is lost. Each step is one script that may be sent again, so a
/// crash of this process leaves nothing that [`resume`](Self::resume) does not bring to an end, in any process that has
/// both stores.
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
/// Dropped, it stops at once, and reports all that it had accepted and not finished as failed: those that were not begun as
/// not executed, and those that were at work as ambiguous, for they are brought to an end by `resume`.
///
/// A task that waits is kept in this process alone: nothing of it is stored, and its session is where it was and as it was.
/// So a process that crashes loses the wishes that waited, at most as many as the [queue](crate::migration::MigrationManagerBuilder::queue)
/// holds, and no session. Whoever waits for a report over a crash keeps the [task id](MigrationTask::task_id) and submits
/// it again, which is the same migration; a [drain](Self::drain_node) is begun again, for what it has not moved is still in
/// the node's index.
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

    /// Accepts a task, once there is room in the queue. Await what it returns for the end.
    ///
    /// # Errors
    /// None while the manager is there; [`Error::NotExecuted`] if its workers are gone.
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

    /// Accepts a task if there is room in the queue.
    ///
    /// # Errors
    /// [`Error::NotExecuted`] when as many tasks wait as may ([`Obstacle::QueueFull`]), and nobody is called back.
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

    /// How often a callback panicked, a task's own included. It is logged, and the others are told all the same.
    #[must_use]
    pub fn callback_panics(&self) -> u64 {
        self.directions.on_report.panics().get()
    }

    /// Moves all sessions of a node, through the queue, at most so many a second. It goes on in the background, until the
    /// node has none or the handle is dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a bad node, one that is to be drained to itself, a rate of zero, or that there is no Tokio
    /// runtime here.
    pub fn drain_node(&self, node: &str, destination: Destination, per_second: u32) -> Result<Drain> {
        let source = self.directions.transfer(&destination).source.store.clone();
        let on_report = self.directions.on_report.clone();
        DrainTask::start(source, self.queue.downgrade(), node, destination, per_second, on_report)
    }

    /// Brings all migrations to their end that are on their way between these two stores and that nobody works at any
    /// more: after a crash, at a start, every now and then. What is worked at meanwhile comes to the same end. Any number
    /// of processes may.
    ///
    /// # Errors
    /// Those of [`migrations`](crate::migration::MigrationStore::migrations): what is wrong with a single one stands in its report.
    pub async fn resume(&self) -> Result<Resumed> {
        resume::resume(&self.directions).await
    }

    /// Lets all that was accepted come to its end.
    pub async fn close(self) {
        let Self { queue, mut workers, .. } = self;
        drop(queue);
        while workers.join_next().await.is_some() {}
    }

    /// Lets those come to their end that are at work, and hands back the tasks that wait, which nobody is called back for.
    pub async fn hand_back(self) -> Vec<MigrationTask> {
        let Self { directions, queue, mut workers } = self;
        *directions.handed_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        drop(queue);
        while workers.join_next().await.is_some() {}
        directions.handed_back.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

/// Works at the queue until it is closed and empty.
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
            // Before it is cleaned up: if this process ends in between, who resumes tells again.
            job.report(arrival.id.clone(), Ok(arrival.outcome));
            if let Err(error) = transfer.clean_up(&arrival).await {
                tracing::warn!(%error, task = ?id, "a migration is not cleaned up: resuming does that");
            }
        }
        Err(error) => job.report(session, Err(error)),
    }
}
