//! Nodes, their leases, and the sessions of a node that another takes.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::model::clock::system_time;
use crate::model::duration::{LONGEST_DURATION, check_count, check_duration};
use crate::model::error::{Error, Result};
use crate::model::index_fields::require_name;
use crate::model::lease_gap::LeaseGap;
use crate::model::listing::Cursor;
use crate::model::node_identity::NodeIdentity;
use crate::model::operation_id::OperationId;
use crate::model::rules::SESSIONS_PER_SCRIPT;
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// The longest lease: a day.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// Whether a lease is held. One that would be for longer than it is long was renewed by a clock that was set back since: it
/// is over.
pub(crate) fn is_held(deadline: u64, length: u64, now: u64) -> bool {
    deadline > now && deadline - now <= length
}

/// What a node has to say about its lease.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub(crate) want: Want,
    pub(crate) lease: Duration,
    pub(crate) keep: Duration,
}

/// What it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Register,
    Renew,
    Release,
}

impl Heartbeat {
    /// How long a node is listed when its lease has run out, unless it says otherwise.
    pub(crate) const KEEP: Duration = Duration::from_secs(24 * 3600);

    /// How many times a lease is renewed in its length, so that some may fail.
    pub(crate) const RENEWALS: u32 = 3;

    /// It begins a lease, if nobody else holds one of this node.
    #[must_use]
    pub fn register() -> Self {
        Self::new(Want::Register)
    }

    /// It goes on holding its lease, if that has not run out.
    #[must_use]
    pub fn renew() -> Self {
        Self::new(Want::Renew)
    }

    /// It holds its lease no longer.
    #[must_use]
    pub fn release() -> Self {
        Self::new(Want::Release)
    }

    fn new(want: Want) -> Self {
        Self { want, lease: Duration::from_secs(15), keep: Self::KEEP }
    }

    /// How long the lease is held from now, 1 ms to a day. Defaults to 15 seconds.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long the node is listed when its lease has run out, for its sessions to be recovered: 1 second to ten years.
    /// Defaults to a day.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_duration("lease", self.lease, Duration::from_millis(1), LONGEST_LEASE)?;
        check_duration("keep", self.keep, Duration::from_secs(1), LONGEST_DURATION)
    }
}

/// How a lease stands, as a heartbeat is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeartbeatReply {
    /// It is held until then, in milliseconds since the epoch; one that was released until that moment, and no longer.
    Held {
        /// By the server's clock.
        until_ms: u64,
    },
    /// In a namespace of several partitions: it is held in some, and not in others, where the next renewal registers it anew.
    HeldInPart {
        /// Until when it is held where it was renewed, by the server's clock.
        until_ms: u64,
        /// For which sessions it is not.
        gap: LeaseGap,
    },
    /// Another lease of this node is held until then, in milliseconds since the epoch.
    HeldByAnother {
        /// By the server's clock.
        until_ms: u64,
    },
    /// It has run out, or was never registered: it cannot be renewed. Register anew, with another [`NodeIdentity`].
    Lost,
}

/// A node that holds a lease, or held one lately.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: String,
    /// When its lease ends or ended, in milliseconds since the epoch.
    pub lease_until_ms: u64,
    /// Whether it holds its lease.
    pub is_live: bool,
    /// How many live sessions it has.
    pub sessions: u64,
}

/// Which nodes to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeFilter {
    All,
    Lapsed,
}

/// A batch of a node's sessions that another node takes.
///
/// ```
/// use cloakroom::nodes::Claim;
///
/// let claim = Claim::new("gateway-1", "gateway-2").batch(100);
/// ```
#[derive(Clone, Debug)]
pub struct Claim {
    pub(crate) node: String,
    pub(crate) to: String,
    pub(crate) batch: usize,
    pub(crate) reconnect: Duration,
    pub(crate) always: bool,
    pub(crate) after: Option<Cursor>,
    pub(crate) only: Option<BTreeSet<SessionId>>,
    pub(crate) identity: Option<NodeIdentity>,
    pub(crate) operation_id: Option<OperationId>,
}

impl Claim {
    /// Sessions of a node whose lease has run out, for another that holds one.
    #[must_use]
    pub fn new(node: impl Into<String>, to: impl Into<String>) -> Self {
        let reconnect = Duration::from_secs(60);
        let (node, to) = (node.into(), to.into());
        Self {
            node,
            to,
            batch: SESSIONS_PER_SCRIPT,
            reconnect,
            always: false,
            after: None,
            only: None,
            identity: None,
            operation_id: None,
        }
    }

    /// How many sessions to look at, 1 to 200. Defaults to 200.
    #[must_use]
    pub fn batch(mut self, sessions: usize) -> Self {
        self.batch = sessions;
        self
    }

    /// How long each has left to live at least, but for its deadline, so that its client may reconnect: 1 ms to ten
    /// years. Defaults to a minute.
    #[must_use]
    pub fn reconnect(mut self, time: Duration) -> Self {
        self.reconnect = time;
        self
    }

    /// Takes the sessions although the node holds its lease. Defaults to being refused.
    #[must_use]
    pub fn even_if_leased(mut self) -> Self {
        self.always = true;
        self
    }

    /// Goes on where another batch ended. Defaults to the node's oldest sessions, which is right too: those that were
    /// taken are no longer there.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Takes these sessions, as far as they are the node's, and looks at no others: at most 200, under the ids that they
    /// have now. `batch` and `after` do not count then. Defaults to the batch.
    #[must_use]
    pub fn only(mut self, ids: impl IntoIterator<Item = SessionId>) -> Self {
        self.only = Some(ids.into_iter().collect());
        self
    }

    /// Takes them as the node of this lease: refused once that is lost, whatever lease the node holds by then. Defaults to
    /// whatever lease the node holds.
    #[must_use]
    pub fn as_node(mut self, identity: &NodeIdentity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Makes the call under this operation id: to repeat a claim that ended in [`Error::Ambiguous`]. Defaults to a new one.
    #[must_use]
    pub fn operation_id(mut self, id: OperationId) -> Self {
        self.operation_id = Some(id);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        require_name("node id", &self.node)?;
        require_name("node id", &self.to)?;
        if self.node == self.to {
            return Err(Error::invalid("node id", "is that of the node itself"));
        }
        if self.identity.as_ref().is_some_and(|identity| identity.node() != self.to) {
            return Err(Error::invalid("node id", "is not that of the node that makes the call"));
        }
        check_count("batch", self.batch, SESSIONS_PER_SCRIPT)?;
        if let Some(ids) = self.only.as_ref().filter(|ids| ids.len() > SESSIONS_PER_SCRIPT) {
            return Err(Error::invalid(
                "only",
                format!("names {} sessions, must be at most {SESSIONS_PER_SCRIPT}", ids.len()),
            ));
        }
        check_duration("reconnect", self.reconnect, Duration::from_millis(1), LONGEST_DURATION)
    }
}

/// A session that went from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveredSession {
    /// Its id.
    pub id: SessionId,
    /// The node that had it.
    pub from: String,
    /// The version that it is at.
    pub version: Version,
    /// Its user.
    pub user: Option<String>,
    /// The connection that it had, which leads to it no longer.
    pub connection: Option<String>,
}

/// What a claim came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed {
    /// The sessions that were taken: by this call, and reported by no other.
    pub sessions: Vec<RecoveredSession>,
    /// Those that stay because they are being migrated.
    pub frozen: Vec<SessionId>,
    /// Those that stay because something under their keys is corrupt.
    pub corrupt: Vec<SessionId>,
    /// Those that kept changing, and, of those that [`Claim::only`] names, those that were left because others were large:
    /// claim again.
    pub stale: Vec<SessionId>,
    /// How many more were met whose ids are no text; those that were sound were taken.
    pub unreadable: u64,
    /// How many partitions of the namespace failed, and keep their sessions for another claim: `tracing` is told why. Where
    /// all do, that is the error of the claim.
    pub failed: u64,
    /// Where to go on; `None`: the node's sessions are through.
    pub next: Option<Cursor>,
}

impl Claimed {
    /// Whether it met no session.
    pub(crate) fn is_empty(&self) -> bool {
        let met = [self.frozen.len(), self.corrupt.len(), self.stale.len(), self.sessions.len()];
        met == [0; 4] && self.unreadable == 0
    }

    /// What another claim came to, besides.
    pub(crate) fn add(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.frozen.extend(other.frozen);
        self.corrupt.extend(other.corrupt);
        self.stale.extend(other.stale);
        self.unreadable += other.unreadable;
        self.failed += other.failed;
    }
}

impl Node {
    /// When its lease ends or ended.
    #[must_use]
    pub fn lease_until(&self) -> SystemTime {
        system_time(self.lease_until_ms)
    }
}
