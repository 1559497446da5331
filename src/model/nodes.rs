//! Nodes, their leases, and the sessions that one node takes from another.

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

/// Whether a lease is held. A lease with more time left than its length was renewed by a clock that was set back since:
/// it is over.
pub(crate) fn is_held(deadline: u64, length: u64, now: u64) -> bool {
    deadline > now && deadline - now <= length
}

/// A node's call about its lease: register, renew or release.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub(crate) want: Want,
    pub(crate) lease: Duration,
    pub(crate) keep: Duration,
}

/// What the heartbeat asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Register,
    Renew,
    Release,
}

impl Heartbeat {
    /// How long a node stays listed after its lease has run out, by default.
    pub(crate) const KEEP: Duration = Duration::from_secs(24 * 3600);

    /// How many times a lease is renewed in its length, so that some may fail.
    pub(crate) const RENEWALS: u32 = 3;

    /// Begins a lease, if no other process holds one of this node.
    #[must_use]
    pub fn register() -> Self {
        Self::new(Want::Register)
    }

    /// Extends the lease, if it has not run out.
    #[must_use]
    pub fn renew() -> Self {
        Self::new(Want::Renew)
    }

    /// Ends the lease.
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

    /// How long the node stays listed after its lease has run out, so that its sessions can be recovered: 1 second to
    /// ten years. Defaults to a day.
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

/// The answer to a heartbeat: the state of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeartbeatReply {
    /// The lease is held until then. A lease that was just released was held until that moment.
    Held {
        /// By the server's clock, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// In a namespace of several partitions: the lease is held in some and not in others, where the next renewal
    /// registers it again.
    HeldInPart {
        /// Until when the renewed leases are held, by the server's clock, in milliseconds since the epoch.
        until_ms: u64,
        /// The sessions that it does not cover.
        gap: LeaseGap,
    },
    /// Another process holds a lease of this node until then.
    HeldByAnother {
        /// By the server's clock, in milliseconds since the epoch.
        until_ms: u64,
    },
    /// The lease has run out, or was never registered, so it cannot be renewed. Register again, with another
    /// [`NodeIdentity`].
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
    /// Takes sessions of a node whose lease has run out, for another node that holds its lease.
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

    /// How much time each session has left at least, so that its client can reconnect: 1 ms to ten years. A
    /// session's deadline still holds. Defaults to a minute.
    #[must_use]
    pub fn reconnect(mut self, time: Duration) -> Self {
        self.reconnect = time;
        self
    }

    /// Takes the sessions even if the node holds its lease. Defaults to a refusal.
    #[must_use]
    pub fn even_if_leased(mut self) -> Self {
        self.always = true;
        self
    }

    /// Continues where another batch ended. Defaults to the node's oldest sessions. That is also right for later
    /// batches: the sessions that were taken are no longer the node's.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Takes only these sessions, if they are the node's: at most 200, under the ids that they have now. `batch` and
    /// `after` are then ignored. Defaults to the batch.
    #[must_use]
    pub fn only(mut self, ids: impl IntoIterator<Item = SessionId>) -> Self {
        self.only = Some(ids.into_iter().collect());
        self
    }

    /// Takes them as the node with this lease. The claim is refused once that lease is lost, even if the node then
    /// holds a newer one. Defaults to the lease that the node holds.
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
    /// The connection that it had. It no longer leads to the session.
    pub connection: Option<String>,
}

/// The result of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claimed {
    /// The sessions that this call took. No other call reports them.
    pub sessions: Vec<RecoveredSession>,
    /// Sessions that stay because a migration moves them.
    pub frozen: Vec<SessionId>,
    /// Sessions that stay because something under their keys is corrupt.
    pub corrupt: Vec<SessionId>,
    /// Sessions that kept changing. For [`Claim::only`] also those that did not fit because others were large. Claim
    /// again.
    pub stale: Vec<SessionId>,
    /// How many more sessions were met whose ids are not valid text. Those that were sound were taken.
    pub unreadable: u64,
    /// How many partitions of the namespace failed, and keep their sessions for another claim. `tracing` logs why. If
    /// all fail, the claim returns the error.
    pub failed: u64,
    /// Where the next batch begins; `None`: there are no more sessions.
    pub next: Option<Cursor>,
}

impl Claimed {
    /// Whether it met no session.
    pub(crate) fn is_empty(&self) -> bool {
        let met = [self.frozen.len(), self.corrupt.len(), self.stale.len(), self.sessions.len()];
        met == [0; 4] && self.unreadable == 0
    }

    /// Adds the result of another claim.
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
