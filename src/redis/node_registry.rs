//! Nodes and their leases, in Redis.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{
    Claim, Claimed, Heartbeat, HeartbeatReply, Node, NodeFilter, NodeIdentity, Result, Selector,
};
use crate::redis::call::Call;
use crate::redis::commands;
use crate::redis::store::RedisStore;
use crate::store::node_registry::NodeRegistry;

#[async_trait]
impl NodeRegistry for RedisStore {
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply> {
        if !self.partitions().is_one() {
            return self.heartbeat_everywhere(identity, &beat).await;
        }
        self.call("heartbeat", |call| async move { commands::heartbeat::run(&call, identity, &beat).await })
            .await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let body = |call: Arc<Call>| async move {
            let mut nodes = commands::nodes::run(&call, NodeFilter::All).await?;
            let selectors: Vec<Selector> = nodes.iter().map(|node| Selector::node(&node.name)).collect();
            let counts = commands::count::run_each(&call, &selectors).await?;
            nodes.iter_mut().zip(counts).for_each(|(node, count)| node.sessions = count);
            Ok(nodes)
        };
        self.call("nodes", body).await
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        let body = |call: Arc<Call>| async move { commands::nodes::run(&call, NodeFilter::Lapsed).await };
        let nodes = self.call("nodes", body).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        self.recover_everywhere(claim).await
    }
}
