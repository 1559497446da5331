//! Moves all sessions of a node at a limited rate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::background::callback::Callback;
use crate::migration::task::{Destination, Job, MigrationTask, Report, Submitted};
use crate::migration::transfer::Outcome;
use crate::model::{Cursor, Error, Obstacle, PageRequest, Result, Selector, SessionId, require_runtime};
use crate::store::Store;

/// How many to read at once.
const SESSIONS_PER_PAGE: usize = 100;

/// How many passes in a row may move no session, because all that are left fail.
const IDLE_PASSES: u32 = 3;

/// The pause between two passes, so that a node whose sessions all fail is not hammered.
const PASS_PAUSE: Duration = Duration::from_millis(100);

/// The progress of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainProgress {
    /// How many sessions were submitted. A failed one is submitted again.
    pub submitted: u64,
    /// How many are in the other store, or at the other node.
    pub moved: u64,
    /// How many were deleted or expired before they moved, or had gone to a third node.
    pub missing: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// Whether the drain has ended: the node has no sessions left, or the ones that it has do not move.
    pub is_done: bool,
}

/// The drain of a node. It ends when this handle is dropped; submitted migrations go on.
#[must_use = "the drain ends when its handle is dropped"]
pub struct Drain {
    progress: watch::Receiver<DrainProgress>,
    _task: JoinSet<()>,
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("progress", &self.progress()).finish_non_exhaustive()
    }
}

impl Drain {
    /// Its progress so far.
    #[must_use]
    pub fn progress(&self) -> DrainProgress {
        *self.progress.borrow()
    }

    /// Waits until it has ended, and returns the result.
    ///
    /// # Errors
    /// [`Error::NotExecuted`] when the manager was closed first.
    pub async fn done(&mut self) -> Result<DrainProgress> {
        let done = self.progress.wait_for(|progress| progress.is_done).await;
        done.map(|progress| *progress).map_err(|_| Error::obstacle(Obstacle::Closed, None))
    }
}

/// The task's own side.
pub(crate) struct DrainTask {
    source: Arc<dyn Store>,
    queue: mpsc::WeakSender<Job>,
    node: String,
    destination: Destination,
    on_report: Callback<Report>,
    every: Duration,
    progress: watch::Sender<DrainProgress>,
}

impl DrainTask {
    pub(crate) fn start(
        source: Arc<dyn Store>,
        queue: mpsc::WeakSender<Job>,
        node: &str,
        destination: Destination,
        per_second: u32,
        on_report: Callback<Report>,
    ) -> Result<Drain> {
        require_runtime()?;
        Selector::node(node).validate()?;
        destination.check()?;
        if matches!(&destination, Destination::Node(to) if to == node) {
            return Err(Error::invalid("node id", "is that of the node itself"));
        }
        if per_second == 0 {
            return Err(Error::invalid("per_second", "is 0, must be at least 1"));
        }
        let every = Duration::from_secs(1) / per_second;
        let (progress, watched) = watch::channel(DrainProgress::default());
        let node = node.to_owned();
        let drain = Self { source, queue, node, destination, on_report, every, progress };
        let mut task = JoinSet::new();
        task.spawn(drain.run());
        Ok(Drain { progress: watched, _task: task })
    }

    async fn run(self) {
        let mut ticks = tokio::time::interval_at(Instant::now(), self.every.max(Duration::from_micros(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle = 0;
        while idle < IDLE_PASSES {
            let before = *self.progress.borrow();
            let Some(found) = self.pass(&mut ticks).await else { return };
            if found == Some(0) {
                break;
            }
            let after = *self.progress.borrow();
            let went = after.moved + after.missing > before.moved + before.missing;
            idle = if went { 0 } else { idle + 1 };
            tokio::time::sleep(PASS_PAUSE).await;
        }
        self.progress.send_modify(|progress| progress.is_done = true);
    }

    /// Moves the node's sessions, and returns how many: `Some(None)` if the node could not be read to the end, `None`
    /// if the manager was closed.
    async fn pass(&self, ticks: &mut tokio::time::Interval) -> Option<Option<usize>> {
        let (mut found, mut after) = (0, None::<Cursor>);
        let owner = Selector::node(&self.node);
        let mut waiting = JoinSet::new();
        loop {
            let request = after.map_or_else(
                || PageRequest::first(SESSIONS_PER_PAGE),
                |cursor| PageRequest::after(cursor, SESSIONS_PER_PAGE),
            );
            let page = match self.source.list(&owner, &request).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "a node that is being drained cannot be read");
                    return Some(None);
                }
            };
            for session in &page.sessions {
                ticks.tick().await;
                let submitted = self.submit(session.id().clone()).await?;
                self.progress.send_modify(|progress| progress.submitted += 1);
                found += 1;
                waiting.spawn(submitted);
                while let Some(Ok(report)) = waiting.try_join_next() {
                    self.note(report.map(|report| report.outcome).unwrap_or_else(Err));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        while let Some(Ok(report)) = waiting.join_next().await {
            self.note(report.map(|report| report.outcome).unwrap_or_else(Err));
        }
        Some(Some(found))
    }

    fn note(&self, outcome: Result<Outcome>) {
        self.progress.send_modify(|progress| match outcome {
            Ok(Outcome::Arrived) => progress.moved += 1,
            Ok(Outcome::Missing | Outcome::Elsewhere) => progress.missing += 1,
            Ok(Outcome::Stayed | Outcome::Unclaimed) | Err(_) => progress.failed += 1,
        });
    }

    /// Waits for room in the queue. `None`: the manager was closed.
    async fn submit(&self, session: SessionId) -> Option<Submitted> {
        let mut task = MigrationTask::new(session, self.destination.clone());
        task.from = Some(self.node.clone());
        let (job, submitted) = Job::new(task, self.on_report.clone());
        match self.queue.upgrade()?.send(job).await {
            Ok(()) => Some(submitted),
            Err(refused) => {
                drop(refused.0.hand_back());
                None
            }
        }
    }
}
