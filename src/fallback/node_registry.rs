//! Nodes and their leases: only the store knows them, so these calls fail without it.

use async_trait::async_trait;

use crate::fallback::breaker::Access;
use crate::fallback::store::FallbackStore;
use crate::model::{Claim, Claimed, Heartbeat, HeartbeatReply, Node, NodeIdentity, Result};
use crate::store::node_registry::NodeRegistry;

#[async_trait]
impl NodeRegistry for FallbackStore {
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply> {
        self.coordinator.through(Access::Write, self.coordinator.store.heartbeat(identity, beat)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.coordinator.through(Access::Read, self.coordinator.store.nodes()).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        self.coordinator.through(Access::Read, self.coordinator.store.lapsed_nodes()).await
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        let id = claim.operation_id;
        let claimed = self.coordinator.through(Access::Write, self.coordinator.store.recover(claim)).await;
        let claimed = claimed.map_err(|error| error.under_given(id))?;
        for session in &claimed.sessions {
            self.stale_cache(|cache| cache.forget(&session.id));
        }
        Ok(claimed)
    }
}
