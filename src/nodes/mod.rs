//! Nodes: the lease of a node, and the task that recovers the sessions of dead nodes.

pub(crate) mod lease;
pub(crate) mod recoverer;

pub use crate::model::{
    Claim, Claimed, Heartbeat, HeartbeatReply, LeaseGap, Node, NodeIdentity, RecoveredSession,
};
pub use crate::store::node_registry::NodeRegistry;
pub use lease::{Lease, LeaseOptions, LeaseState};
pub use recoverer::{Recoverer, RecovererBuilder, RecovererStats};
