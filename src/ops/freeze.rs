//! freeze: a live session that goes over to another store is read and deleted, and not changed.

use std::time::Duration;

use crate::declared::{Declared, Moved};
use crate::error::Result;
use crate::export::Export;
use crate::id::TaskId;
use crate::operation::Operation;
use crate::routing::check_name;
use crate::rules::{check_duration, ms};
use crate::script;
use crate::target::Target;

/// The longest that a session may be frozen.
const LONGEST: Duration = Duration::from_secs(3600);

/// How to freeze a session that is to go over to another store.
///
/// ```
/// use std::time::Duration;
/// use cloakroom::{Freezing, TaskId};
///
/// let freezing = Freezing::new(TaskId::random(), "elsewhere").span(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct Freezing {
    pub(crate) task: TaskId,
    pub(crate) place: String,
    pub(crate) node: String,
    pub(crate) span: Duration,
}

impl Freezing {
    /// By a task, to go to a place: what the other store is called.
    #[must_use]
    pub fn new(task: TaskId, place: impl Into<String>) -> Self {
        Self { task, place: place.into(), node: String::new(), span: Duration::from_secs(30) }
    }

    /// The node that it goes to there, noted for whoever goes on with the migration: give it to
    /// [`Import::node`](crate::Import::node). Defaults to none: it keeps its own.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// After how long the freeze ends by itself, 1 ms to an hour. Defaults to 30 seconds.
    #[must_use]
    pub fn span(mut self, longest: Duration) -> Self {
        self.span = longest;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_name("place", &self.place)?;
        check_name("node id", &self.node)?;
        check_span(self.span)
    }
}

/// A session that is frozen, so that its copy cannot grow old.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frozen {
    /// The session as it was before.
    pub export: Export,
    /// When the freeze is over, if nothing ends it before, in milliseconds since the epoch.
    pub until_ms: u64,
}

pub(crate) fn check_span(span: Duration) -> Result<()> {
    check_duration("freeze", span, Duration::from_millis(1), LONGEST)
}

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    freezing: &Freezing,
) -> Result<Option<Frozen>> {
    freezing.check()?;
    let Freezing { task, place, node, span } = freezing;
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| {
        let keys = [operation.keys().session(declared.id.as_str()), operation.keys().migrations()];
        let mut call = operation.call(&script::FREEZE, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(declared.id.as_str()).arg(place).arg(node);
        call.arg(ms(*span)).arg(ms(operation.rules().grace));
        call
    };
    let mut reply = declared.settle(operation, &script::FREEZE, call).await?;
    match reply.word.as_str() {
        "ok" => {
            let until_ms = reply.number()?;
            let (session, operations) = reply.export(&declared.id)?;
            Ok(Some(Frozen { export: Export::new(session, operations), until_ms }))
        }
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}
