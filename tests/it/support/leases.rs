//! Nodes that hold leases, by a clock that a test moves.

use std::time::Duration;

use cloakroom::nodes::{Heartbeat, HeartbeatReply, NodeIdentity};
use cloakroom::{NewSession, Session};

use super::context::{Context, Store};
use super::expect::session_id;

/// How long the leases of these nodes are.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Registers a node, which nobody may hold.
pub(crate) async fn register(store: &Store, node: &str) -> NodeIdentity {
    let holder = NodeIdentity::new(node).unwrap();
    let status = store.heartbeat(&holder, Heartbeat::register().lease(LEASE)).await.unwrap();
    assert!(matches!(status, HeartbeatReply::Held { .. }), "{status:?}");
    holder
}

/// A session of a node, named by its id, with a user and a connection of its own.
pub(crate) async fn session_at(store: &Store, node: &str, name: &str) -> Session {
    let new = NewSession::new()
        .id(session_id(name))
        .user(format!("user-{name}"))
        .connection(format!("connection-{name}"))
        .node(node);
    store.create(new).await.unwrap().session
}

impl Context {
    /// Lets all leases run out.
    pub(crate) fn lapse(&self) {
        self.clock.advance(LEASE);
    }

    pub(crate) fn lease_key(&self, node: &str) -> String {
        self.key(format!("node:{node}:lease"))
    }

    /// The ends of the leases, by node.
    pub(crate) async fn leases(&self) -> Vec<(String, u64)> {
        self.members(&self.key("nodes")).await.into_iter().collect()
    }
}
