//! A session to move, and the receivers of the report.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::background::callback::Callback;
use crate::migration::transfer::Outcome;
use crate::model::{Error, Obstacle, OperationId, Result, SessionId, TaskId, cause, require_name};
use crate::store::meter::{self, Beginning, Held};
use crate::store::outcome;

/// The destination of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// From the local store to the remote one, where it keeps the name of its node and its connection.
    Remote,
    /// From the local store to a node of the remote one. A session that does not have that node already loses its
    /// connection and is suspended, so that its client can reconnect there. The node need not hold a lease.
    RemoteNode(String),
    /// From the remote store to the local one, as to [`Remote`](Self::Remote).
    Local,
    /// From the remote store to a node of the local one, as to [`RemoteNode`](Self::RemoteNode).
    LocalNode(String),
    /// To another node of the local store, which must hold its lease. One script moves the session, so it is always
    /// exactly one node's. It loses its connection and is suspended with at least a minute left, unless its deadline
    /// comes first, so that its client can reconnect. The local store must act as no node, or as that one.
    Node(String),
}

impl Destination {
    /// The node, if one is named.
    pub(crate) fn node(&self) -> Option<&str> {
        match self {
            Self::Remote | Self::Local => None,
            Self::RemoteNode(node) | Self::LocalNode(node) | Self::Node(node) => Some(node),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.node().map_or(Ok(()), |node| require_name("node id", node))
    }
}

/// A session to move.
#[derive(Clone)]
pub struct MigrationTask {
    pub(crate) id: TaskId,
    pub(crate) session: SessionId,
    pub(crate) destination: Destination,
    /// The node that is drained: the session goes to another node only from there.
    pub(crate) from: Option<String>,
    pub(crate) on_report: Callback<Report>,
}

impl MigrationTask {
    /// Moves a session under a new task id.
    #[must_use]
    pub fn new(session: SessionId, destination: Destination) -> Self {
        Self { id: TaskId::random(), session, destination, from: None, on_report: Callback::default() }
    }

    /// The task id, if the task may have been submitted before: it is then the same migration. Defaults to a
    /// new one.
    #[must_use]
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = id;
        self
    }

    /// Called once with the report of the migration. Defaults to nothing.
    #[must_use]
    pub fn on_report(mut self, on_report: impl Fn(&Report) + Send + Sync + 'static) -> Self {
        self.on_report = Callback::new(on_report);
        self
    }

    /// Its id.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.id
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }
}

impl fmt::Debug for MigrationTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, session, destination, .. } = self;
        f.debug_struct("MigrationTask")
            .field("id", id)
            .field("session", session)
            .field("destination", destination)
            .finish_non_exhaustive()
    }
}

/// How a migration ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The task id. By it a receiver recognises a report that comes twice.
    pub task: TaskId,
    /// The session, under its new id if it was rotated before it moved.
    pub session: SessionId,
    /// The result. If it was [not executed](Error::NotExecuted) because the manager was [closed](Obstacle::Closed), the
    /// task had not begun. After another error the session is where it was, or
    /// [`resume`](crate::migration::MigrationManager::resume) will finish its migration. A session that goes to another
    /// node is there or where it was.
    ///
    /// The errors of a move to another node are [`Fenced`](crate::Refusal::Fenced) when that node does not hold its
    /// lease, [`Frozen`](crate::Refusal::Frozen) when the session is on its way to another store, [`Error::Invalid`]
    /// when it has no node, and [`Error::NotExecuted`] when it kept changing.
    pub outcome: Result<Outcome>,
}

/// An accepted migration: await it for its report.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Report>, TaskId);

impl Submitted {
    /// The id of the task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.1
    }
}

impl Future for Submitted {
    type Output = Result<Report>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let report = std::task::ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(report.map_err(|_| Error::obstacle(Obstacle::Closed, None)))
    }
}

/// A task in the queue. Every receiver gets its report, however the task ends.
pub(crate) struct Job {
    task: Option<MigrationTask>,
    told: Option<oneshot::Sender<Report>>,
    /// Counts it while it waits.
    queued: Option<Held>,
    /// When it began: since then its session may be on its way.
    begun: Option<Beginning>,
    /// The callback for all tasks of a manager.
    on_report: Callback<Report>,
}

impl Job {
    pub(crate) fn new(mut task: MigrationTask, on_report: Callback<Report>) -> (Self, Submitted) {
        task.on_report.count_with(&on_report);
        let (told, submitted) = oneshot::channel();
        let submitted = Submitted(submitted, task.id);
        (
            Self {
                task: Some(task),
                told: Some(told),
                queued: Some(meter::QUEUED.hold()),
                begun: None,
                on_report,
            },
            submitted,
        )
    }

    pub(crate) fn task(&self) -> Option<&MigrationTask> {
        self.task.as_ref()
    }

    /// From here on its session may be on its way.
    pub(crate) fn begin(&mut self) {
        self.queued = None;
        self.begun = Some(Beginning::now());
    }

    /// Gives the task back. Only a caller that awaits it learns that it was not done.
    pub(crate) fn hand_back(mut self) -> Option<MigrationTask> {
        self.task.take()
    }

    /// Sends the report to all receivers.
    pub(crate) fn report(mut self, session: SessionId, outcome: Result<Outcome>) {
        self.tell(session, outcome);
    }

    fn tell(&mut self, session: SessionId, outcome: Result<Outcome>) {
        let Some(task) = self.task.take() else { return };
        if let Some(begun) = &self.begun {
            let outcome = outcome::of(&outcome);
            meter::MIGRATION.record(begun, &[(meter::OUTCOME, outcome.word)]);
        }
        let report = Report { task: task.id, session, outcome };
        task.on_report.call(&report);
        self.on_report.call(&report);
        // The receiver may be gone: then nobody awaits the report.
        let _ = self.told.take().map(|told| told.send(report));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(MigrationTask { session, .. }) = self.task.clone() else { return };
        let error =
            if self.begun.is_some() { interrupted() } else { Error::obstacle(Obstacle::Closed, None) };
        self.tell(session, Err(error));
    }
}

/// The error of a task that was begun and interrupted. It is repeated under its task id, so the operation id means
/// nothing.
fn interrupted() -> Error {
    let source = cause("the migration manager is gone: `resume` will finish the migration");
    Error::ambiguous(OperationId::random(), source)
}
