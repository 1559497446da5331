//! The address of a server.

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads an address as a node of a cluster writes it: `host:port`. Without a host it means the node's
    /// own.
    pub(crate) fn told_by(told: &str, node: &Self) -> Option<Self> {
        let (host, port) = told.rsplit_once(':')?;
        let port = port.parse().ok()?;
        Some(Self { host: if host.is_empty() { node.host.clone() } else { host.to_owned() }, port })
    }

    /// The address as text, for errors and logs.
    pub(crate) fn told(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
