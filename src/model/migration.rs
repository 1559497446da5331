//! A session on its way from one store to another: the arguments and results of the steps.

use std::time::{Duration, SystemTime};

use crate::model::clock::system_time;
use crate::model::duration::check_duration;
use crate::model::error::Result;
use crate::model::index_fields::check_name;
use crate::model::session::Status;
use crate::model::session_id::SessionId;
use crate::model::task_id::TaskId;
use crate::model::transfer::Export;

/// How a session is frozen by a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Freeze {
    pub(crate) task: TaskId,
    /// When the freeze at the source is over.
    pub(crate) until: u64,
    /// Its length; 0 for an incoming copy.
    pub(crate) span: u64,
    /// The session's status apart from the freeze.
    pub(crate) status: Status,
    pub(crate) direction: Direction,
    /// The other store.
    pub(crate) place: String,
    /// The node that gets it there; empty: it keeps its own node.
    pub(crate) node: String,
}

impl Freeze {
    /// Whether the freeze has ended by itself. That of an incoming copy never does. A freeze with more time left than
    /// its length began by a clock that was set back since.
    pub(crate) fn has_lapsed(&self, now: u64) -> bool {
        self.direction == Direction::Outgoing && (self.until <= now || self.until - now > self.span)
    }
}

/// Which way a frozen session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From this store to another.
    Outgoing,
    /// To this store from another.
    Incoming,
}

impl Direction {
    /// The word that the scripts take.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
        }
    }
}

/// A session that is on its way, as one of the two stores has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The session.
    pub id: SessionId,
    /// The task that moves it.
    pub task: TaskId,
    /// The other store.
    pub place: String,
    /// The node that gets an outgoing session there; `None`: it keeps its node's name.
    pub node: Option<String>,
    /// How far it is.
    pub phase: Phase,
}

/// A page of the sessions that are on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrations {
    /// Ordered by the end of their freeze, without those that have expired.
    pub migrations: Vec<Migration>,
    /// How many to skip for the next page, if these stay on their way; `None` after the last page.
    pub next: Option<usize>,
}

/// How far a session is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It is frozen here, and goes to another store.
    Outgoing {
        /// When the freeze is over, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// A frozen copy of it is here. It becomes the session when the original departs.
    Incoming {
        /// When the freeze at its source is over, by the clock there.
        until_ms: u64,
    },
    /// It has gone to another store, where the copy may be frozen still.
    Departed,
    /// The copy that was here was deleted.
    Deleted,
}

impl Migration {
    pub(crate) fn frozen(id: SessionId, freeze: Freeze, is_deleted: bool) -> Self {
        let until_ms = freeze.until;
        let phase = match freeze.direction {
            _ if is_deleted => Phase::Deleted,
            Direction::Outgoing => Phase::Outgoing { until_ms },
            Direction::Incoming => Phase::Incoming { until_ms },
        };
        let node = Some(freeze.node).filter(|node| !node.is_empty());
        Self { id, task: freeze.task, place: freeze.place, node, phase }
    }
}

/// A remainder of a migration: a copy or a note, not the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// At the target, a copy that must not become the session. Remove it only once the session can no longer
    /// depart from its source under that freeze.
    Copy {
        /// The end of the freeze at its source under which it was made.
        until_ms: u64,
    },
    /// At the source, the note of where the session went. Remove it only once its copy was thawed.
    Departed,
    /// At the target, the note that the copy was deleted. Remove it only once the session is deleted at the
    /// source too.
    Deleted,
}

impl Leftover {
    /// As the script takes it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Copy { .. } => "copy",
            Self::Departed => "departed",
            Self::Deleted => "deleted",
        }
    }
}

/// The longest that a session may be frozen.
const LONGEST_FREEZE: Duration = Duration::from_secs(3600);

/// How to freeze a session that will move to another store.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use cloakroom::migration::{Freezing, TaskId};
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
    /// Freezes for a task that moves the session to a place. The place is the migration's name for the
    /// other store.
    #[must_use]
    pub fn new(task: TaskId, place: impl Into<String>) -> Self {
        Self { task, place: place.into(), node: String::new(), span: Duration::from_secs(30) }
    }

    /// The node that gets the session there. The freeze records it for the process that continues the
    /// migration: pass it to [`Import::node`](crate::migration::Import::node). Defaults to none: the
    /// session keeps its node.
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

/// A frozen session, whose copy cannot become outdated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frozen {
    /// The session as it was before.
    pub export: Export,
    /// When the freeze is over, unless a call ends it earlier, in milliseconds since the epoch.
    pub until_ms: u64,
}

pub(crate) fn check_span(span: Duration) -> Result<()> {
    check_duration("freeze", span, Duration::from_millis(1), LONGEST_FREEZE)
}

impl Frozen {
    /// When the freeze is over, unless a call ends it earlier.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        system_time(self.until_ms)
    }
}
