//! How a store is: what a readiness probe asks for.

use std::time::Duration;

use crate::model::error::Error;

/// How a store is, as [`health`](crate::SessionStore::health) found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether calls are served.
    pub readiness: Readiness,
    /// The servers that have the sessions, by their order in the namespace. In memory there are none, and nobody is asked
    /// while a circuit breaker is open.
    pub servers: Vec<ServerHealth>,
    /// What keeps calls from being served, all or some of them: the first that was found.
    pub error: Option<Error>,
}

/// Whether a store serves calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Readiness {
    /// No call is served.
    NotReady,
    /// Some calls are served: some servers of a cluster are away, or a [`FallbackStore`](crate::fallback::FallbackStore)
    /// goes on without its store.
    Degraded,
    /// Every server answers as the master that the store needs. A call may fail all the same, where memory is full, say.
    Ready,
}

/// How one of the servers is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerHealth {
    /// Its host and port.
    pub server: String,
    /// What it is, if it told.
    pub role: Option<ServerRole>,
    /// How long it took to answer, once there was a connection.
    pub latency: Option<Duration>,
    /// The contract of the scripts that is noted in the namespace, if one is.
    pub contract: Option<u64>,
    /// How many of the scripts it has not loaded; a call that needs one loads it. `None`: its user may not ask
    /// (`+script|exists`), or it did not answer.
    pub scripts_missing: Option<usize>,
    /// How much memory it uses. `None`: its user may not ask (`+info`), or it did not answer.
    pub memory: Option<ServerMemory>,
    /// Why it does not serve.
    pub error: Option<Error>,
}

/// How much memory a server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMemory {
    /// For all that it stores, in bytes.
    pub used: u64,
    /// How much it may use (`maxmemory`), if that is bounded.
    pub most: Option<u64>,
}

/// What a server is to its replicas or master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerRole {
    /// It takes writes.
    Master,
    /// It follows a master, and serves nothing here.
    Replica,
}

impl Health {
    /// Of a store without servers of its own.
    pub(crate) fn of(outcome: Result<(), Error>) -> Self {
        match outcome {
            Ok(()) => Self { readiness: Readiness::Ready, servers: Vec::new(), error: None },
            Err(error) => Self { readiness: Readiness::NotReady, servers: Vec::new(), error: Some(error) },
        }
    }

    /// Of a store on servers, each with a part of the sessions.
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

    /// Whether at least some calls are served: what a readiness probe answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness != Readiness::NotReady
    }
}

#[cfg(feature = "redis")]
impl ServerHealth {
    /// One of which nothing is known yet.
    pub(crate) fn of(server: impl Into<String>) -> Self {
        let server = server.into();
        let (role, latency, contract, scripts_missing, memory, error) = Default::default();
        Self { server, role, latency, contract, scripts_missing, memory, error }
    }
}
