//! Whose sessions to list or count.

use crate::error::Result;
use crate::keys::Keys;
use crate::routing::require_name;

/// Whose sessions: a user's, or those that a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    User(String),
    Node(String),
}

impl Owner {
    /// A user's sessions.
    #[must_use]
    pub fn user(user: impl Into<String>) -> Self {
        Self(Kind::User(user.into()))
    }

    /// The sessions whose connections a node holds.
    #[must_use]
    pub fn node(node: impl Into<String>) -> Self {
        Self(Kind::Node(node.into()))
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match &self.0 {
            Kind::User(user) => require_name("user id", user),
            Kind::Node(node) => require_name("node id", node),
        }
    }

    pub(crate) fn key(&self, keys: &Keys) -> String {
        match &self.0 {
            Kind::User(user) => keys.user(user),
            Kind::Node(node) => keys.node(node),
        }
    }

    /// As the scripts take it.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match &self.0 {
            Kind::User(user) => ("user", user),
            Kind::Node(node) => ("node", node),
        }
    }
}
