//! Nodes and their leases, in memory.

use async_trait::async_trait;

use crate::memory::ops::{heartbeat, nodes, recover};
use crate::memory::store::MemoryStore;
use crate::model::{Claim, Claimed, Heartbeat, HeartbeatReply, Node, NodeFilter, NodeIdentity, Result};
use crate::store::node_registry::NodeRegistry;

#[async_trait]
impl NodeRegistry for MemoryStore {
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply> {
        self.run("heartbeat", |call| heartbeat::run(call, identity, &beat)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.run("nodes", |call| nodes::counted(&call)).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        let nodes = self.run("nodes", |call| nodes::run(&call, NodeFilter::Lapsed)).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        let id = claim.operation_id;
        self.run_as("recover", id, |call| recover::run(call, &claim))
    }
}
