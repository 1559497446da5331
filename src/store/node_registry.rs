//! Nodes, their leases, and the sessions of dead ones, whatever stores them.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::{Claim, Claimed, Heartbeat, HeartbeatReply, Node, NodeIdentity, Result};

/// A registry of the nodes that hold the connections of sessions: which are alive, and who takes over the sessions of
/// those that are not.
///
/// A [`Lease`](crate::nodes::Lease) and a [`Recoverer`](crate::nodes::Recoverer) do all of it in the background.
///
/// # Errors
/// As of [`SessionStore`](crate::SessionStore).
#[async_trait]
pub trait NodeRegistry: Debug + Send + Sync + 'static {
    /// Registers a node under a lease, renews that, or releases it; a [`Lease`](crate::nodes::Lease) does it in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. A lease that another holds, or that was lost, is an answer and no error.
    /// In a namespace of several partitions, what some of them refuse is no error either.
    ///
    /// # Atomicity
    /// `heartbeat.lua`: the lease, and the list of the nodes.
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply>;

    /// Reads which nodes hold a lease, or held one lately, by name, and how many live sessions each has.
    ///
    /// # Errors
    /// Only those of all operations. The deadline is that of all of it: two round trips for 500 nodes, and one for 1,000
    /// sessions of each.
    async fn nodes(&self) -> Result<Vec<Node>>;

    /// Reads the names of the nodes whose leases have run out, to be recovered.
    ///
    /// # Errors
    /// Only those of all operations.
    async fn lapsed_nodes(&self) -> Result<Vec<String>>;

    /// Gives a batch of a node's sessions, the oldest, to another node that holds its lease: sessions of one whose lease
    /// has run out, or of one that is drained. Each gets the new node and a new version, loses its connection, and is
    /// suspended with some time left, so that its client may reconnect. Any number of processes may: each session is
    /// taken by one of them. One that its client bound elsewhere meanwhile stays there; an expired one is left to a
    /// reaper.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) names a bad field. Refused with [`Leased`](crate::Refusal::Leased) when the node holds its
    /// lease and is not to be drained, with [`Fenced`](crate::Refusal::Fenced) when the other does not hold its own.
    /// After any other error some may be taken, and their list is lost: the other node has them.
    ///
    /// # Atomicity
    /// `recover.lua`: each session with its index entries, the batch at one instant.
    async fn recover(&self, claim: Claim) -> Result<Claimed>;
}
