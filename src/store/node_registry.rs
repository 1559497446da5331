//! The trait for nodes, their leases, and the recovery of dead nodes' sessions.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::{Claim, Claimed, Heartbeat, HeartbeatReply, Node, NodeIdentity, Result};

/// A registry of the nodes that hold the connections of sessions. It knows which nodes are alive, and gives the
/// sessions of dead ones to others.
///
/// A [`Lease`](crate::nodes::Lease) and a [`Recoverer`](crate::nodes::Recoverer) make these calls in the
/// background.
///
/// # Errors
/// As with [`SessionStore`](crate::SessionStore).
#[async_trait]
pub trait NodeRegistry: Debug + Send + Sync + 'static {
    /// Registers a node under a lease, renews the lease, or releases it. A [`Lease`](crate::nodes::Lease) does so in
    /// the background.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. If another process holds the lease, or
    /// the lease was lost, the reply says so and is no error. In a namespace of several partitions, a refusal
    /// by some of them is no error either.
    ///
    /// # Atomicity
    /// `heartbeat.lua`: the lease, and the list of the nodes.
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply>;

    /// Lists the nodes that hold a lease or held one lately, ordered by name, and how many live sessions
    /// each has.
    ///
    /// # Errors
    /// Only those of all operations. One deadline covers the whole call: two round trips per 500 nodes, and one per
    /// 1,000 sessions of each node.
    async fn nodes(&self) -> Result<Vec<Node>>;

    /// Lists the names of the nodes whose leases have run out, so that their sessions can be recovered.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn lapsed_nodes(&self) -> Result<Vec<String>>;

    /// Gives the oldest sessions of a node to another node that holds its own lease. The first node's lease has run
    /// out, or the node is being drained. Each session gets the new node and a new version, loses its connection, and
    /// is suspended with some time left for its client to reconnect. Any number of processes may call this at once:
    /// exactly one of them takes each session. A session whose client bound it elsewhere meanwhile stays there. Expired
    /// sessions are left to a reaper.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Leased`](crate::Refusal::Leased)
    /// when the first node holds its lease and the claim does not drain it, with [`Fenced`](crate::Refusal::Fenced)
    /// when the other node does not hold its own lease. After any other error some sessions may have moved to the other
    /// node, and the list of them is lost.
    ///
    /// # Atomicity
    /// `recover.lua`: each session with its index entries, the batch at one instant.
    async fn recover(&self, claim: Claim) -> Result<Claimed>;
}
