//! A session to be moved, and whoever waits for the end of that.

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

/// Where a session is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// From the local store to the remote one, where it keeps the name of its node and its connection.
    Remote,
    /// From the local store to a node of the remote one. Unless it has that node already it loses its connection and is
    /// suspended, so that its client may reconnect there. That the node holds a lease is not asked.
    RemoteNode(String),
    /// From the remote store to the local one, as to [`Remote`](Self::Remote).
    Local,
    /// From the remote store to a node of the local one, as to [`RemoteNode`](Self::RemoteNode).
    LocalNode(String),
    /// To another node of the local store, which holds its lease: by one script, so it is the one node's or the other's.
    /// It loses its connection and is suspended, with a minute left at least but for its deadline, so that its client may
    /// reconnect. The local store writes as no node, or as that one.
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

/// A session to be moved.
#[derive(Clone)]
pub struct MigrationTask {
    pub(crate) id: TaskId,
    pub(crate) session: SessionId,
    pub(crate) destination: Destination,
    /// The node that is drained: to another node the session goes only from there.
    pub(crate) from: Option<String>,
    pub(crate) on_report: Callback<Report>,
}

impl MigrationTask {
    /// Moves a session, by a task with a new id.
    #[must_use]
    pub fn new(session: SessionId, destination: Destination) -> Self {
        Self { id: TaskId::random(), session, destination, from: None, on_report: Callback::default() }
    }

    /// The id of a task that may have been submitted before: it is the same migration. Defaults to a new one.
    #[must_use]
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = id;
        self
    }

    /// Is called with the end of the migration, once. Defaults to none.
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

/// The end of a migration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Of the task; whoever is told more than once knows it by this.
    pub task: TaskId,
    /// The session, under its new id if it was rotated before it moved.
    pub session: SessionId,
    /// What became of it. After an error that says that it was [not executed](Error::NotExecuted) because the manager was
    /// [closed](Obstacle::Closed), the task was not begun. After another it is where it was, or [`resume`](crate::migration::MigrationManager::resume) brings it to
    /// an end. One that goes to another node is there or where it was.
    ///
    /// For another node that is [`Fenced`](crate::Refusal::Fenced) when that node does not hold its lease,
    /// [`Frozen`](crate::Refusal::Frozen) when the session is on its way to another store, [`Error::Invalid`] when it is
    /// at no node, and [`Error::NotExecuted`] when it kept changing.
    pub outcome: Result<Outcome>,
}

/// A migration that was accepted: await it for its end.
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

/// A task in the queue. Whatever becomes of it, whoever waits is told.
pub(crate) struct Job {
    task: Option<MigrationTask>,
    told: Option<oneshot::Sender<Report>>,
    /// While it waits.
    queued: Option<Held>,
    /// Since when its session may be on its way.
    begun: Option<Beginning>,
    /// Of all tasks of a manager.
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

    /// Gives the task back, and tells nobody but who awaits it, who sees that it was not done.
    pub(crate) fn hand_back(mut self) -> Option<MigrationTask> {
        self.task.take()
    }

    /// Tells whoever waits.
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
        // Who no longer waits has seen the callbacks, or wants to know nothing.
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

/// Nobody goes on with a task that was begun. It is repeated under the id of the task, so that of an operation says nothing.
fn interrupted() -> Error {
    let source = cause("the migration manager is gone: resume brings the session to its end");
    Error::ambiguous(OperationId::random(), source)
}
