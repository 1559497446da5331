//! The health of a store, for a readiness probe.

use std::time::Duration;

use crate::model::error::Error;

/// The health of a store, as [`health`](crate::SessionStore::health) found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether the store serves calls.
    pub readiness: Readiness,
    /// The servers that have the sessions, in their order in the namespace. A store in memory has none. While a circuit
    /// breaker is open, the store asks no server and lists none.
    pub servers: Vec<ServerHealth>,
    /// The first error found that makes some or all calls fail.
    pub error: Option<Error>,
}

/// Whether a store serves calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Readiness {
    /// The store serves no call.
    NotReady,
    /// The store serves some calls: some servers of a cluster are away, or a
    /// [`FallbackStore`](crate::fallback::FallbackStore) works without its store.
    Degraded,
    /// Every server answers as the master that the store needs. A call may still fail, for example because memory is
    /// full.
    Ready,
}

/// The health of one server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerHealth {
    /// Its host and port.
    pub server: String,
    /// Its role, if it reported one.
    pub role: Option<ServerRole>,
    /// How long it took to answer, once the store had a connection.
    pub latency: Option<Duration>,
    /// The contract number of the scripts that the namespace has recorded, if any.
    pub contract: Option<u64>,
    /// How many of the scripts the server has not loaded. A call that needs one loads it. `None`: the store's
    /// user may not ask (`+script|exists`), or the server did not answer.
    pub scripts_missing: Option<usize>,
    /// How much memory the server uses. `None`: the store's user may not ask (`+info`), or the server did
    /// not answer.
    pub memory: Option<ServerMemory>,
    /// Why the server does not serve.
    pub error: Option<Error>,
}

/// How much memory a server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMemory {
    /// Memory in use for stored data, in bytes.
    pub used: u64,
    /// The limit (`maxmemory`), if there is one.
    pub most: Option<u64>,
}

/// The role of a server in replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerRole {
    /// It accepts writes.
    Master,
    /// It follows a master, and serves nothing here.
    Replica,
}

impl Health {
    /// The health of a store without servers of its own.
    pub(crate) fn of(outcome: Result<(), Error>) -> Self {
        match outcome {
            Ok(()) => Self { readiness: Readiness::Ready, servers: Vec::new(), error: None },
            Err(error) => Self { readiness: Readiness::NotReady, servers: Vec::new(), error: Some(error) },
        }
    }

    /// The health of a store on servers that each have a part of the sessions.
    #[cfg(feature = "redis")]
    pub(crate) fn of_servers(servers: Vec<ServerHealth>) -> Self {
        let serving = servers.iter().filter(|server| server.error.is_none()).count();
        let readiness = match serving {
            0 => Readiness::NotReady,
            some if some < servers.len() => Readiness::Degraded,
            _ => Readiness::Ready,
        };
        let error = servers.iter().find_map(|server| server.error.clone());
        Self { readiness, servers, error }
    }

    /// Whether the store serves at least some calls: the answer of a readiness probe.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness != Readiness::NotReady
    }
}

#[cfg(feature = "redis")]
impl ServerHealth {
    /// A server of which nothing is known yet.
    pub(crate) fn of(server: impl Into<String>) -> Self {
        let server = server.into();
        let (role, latency, contract, scripts_missing, memory, error) = Default::default();
        Self { server, role, latency, contract, scripts_missing, memory, error }
    }
}
