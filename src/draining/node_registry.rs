//! Nodes, with a lease in each of the two stores.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::draining::store::DrainingStore;
use crate::model::{
    Claim, Claimed, Cursor, Error, Heartbeat, HeartbeatReply, Node, NodeIdentity, Refusal, Result, Want,
};
use crate::store::node_registry::NodeRegistry;

#[async_trait]
impl NodeRegistry for DrainingStore {
    /// A node holds its lease only if it holds it in both stores. If it does not get or keep it in one, it releases
    /// the other.
    async fn heartbeat(&self, identity: &NodeIdentity, beat: Heartbeat) -> Result<HeartbeatReply> {
        let new = self.new.heartbeat(identity, beat.clone()).await?;
        let old = self.old.heartbeat(identity, beat.clone()).await?;
        let is_held = |reply: &HeartbeatReply| {
            matches!(reply, HeartbeatReply::Held { .. } | HeartbeatReply::HeldInPart { .. })
        };
        if beat.want != Want::Release && is_held(&new) != is_held(&old) {
            let held = if is_held(&new) { &self.new } else { &self.old };
            held.heartbeat(identity, Heartbeat { want: Want::Release, ..beat }).await?;
        }
        Ok(weaker(new, old))
    }

    /// A node is live if it is live in both stores, or in the only one that knows it.
    async fn nodes(&self) -> Result<Vec<Node>> {
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for node in self.new.nodes().await?.into_iter().chain(self.old.nodes().await?) {
            match nodes.get_mut(&node.name) {
                Some(known) => {
                    known.is_live &= node.is_live;
                    known.lease_until_ms = known.lease_until_ms.min(node.lease_until_ms);
                    known.sessions += node.sessions;
                }
                None => drop(nodes.insert(node.name.clone(), node)),
            }
        }
        Ok(nodes.into_values().collect())
    }

    async fn lapsed_nodes(&self) -> Result<Vec<String>> {
        let mut names = self.new.lapsed_nodes().await?;
        names.extend(self.old.lapsed_nodes().await?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Recovers a batch of each store. It returns the sessions of one store even if the other fails.
    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        let old = self.old.recover(claim.clone()).await;
        let new = match &old {
            Err(error) if !is_leased(error) => return old,
            _ => self.new.recover(claim.clone()).await,
        };
        match (old, new) {
            (Ok(mut all), Ok(new)) => {
                all.next = further(all.next.take(), new.next.clone());
                all.add(new);
                Ok(all)
            }
            (Ok(some), Err(error)) | (Err(error), Ok(some)) if is_leased(&error) => Ok(some),
            (Ok(mut some), Err(error)) if !some.sessions.is_empty() => {
                tracing::debug!(%error, "the new store's sessions of a node are not recovered this time");
                some.next = claim.after.or_else(|| Some(self.beginning()));
                Ok(some)
            }
            (_, Err(error)) | (Err(error), _) => Err(error),
        }
    }
}

impl DrainingStore {
    /// A cursor before all sessions.
    fn beginning(&self) -> Cursor {
        Cursor { created_at: 0, id: self.new.new_id("").id, ties: 0 }
    }
}

fn is_leased(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::Leased { .. }))
}

/// If both leases are held in part, the new store's gap counts: the old store's sessions become fewer each
/// day.
fn weaker(one: HeartbeatReply, other: HeartbeatReply) -> HeartbeatReply {
    let strength = |reply: &HeartbeatReply| match reply {
        HeartbeatReply::Lost => (0, 0),
        HeartbeatReply::HeldByAnother { until_ms } => (1, u64::MAX - until_ms),
        HeartbeatReply::HeldInPart { .. } => (2, 0),
        HeartbeatReply::Held { until_ms } => (3, *until_ms),
    };
    if strength(&other) < strength(&one) { other } else { one }
}

/// Where to continue in both stores: the cursor that is less far.
fn further(one: Option<Cursor>, other: Option<Cursor>) -> Option<Cursor> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let is_before = (one.created_at, &one.id) <= (other.created_at, &other.id);
            Some(if is_before { one } else { other })
        }
        (one, other) => one.or(other),
    }
}
