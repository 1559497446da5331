//! create: a session with all its index entries, or nothing.

use std::time::Duration;

use serde::Serialize;

use crate::batch::Removed;
use crate::declared::{Declared, Moved};
use crate::entries::{Entries, EntryKind, EntryWriter};
use crate::error::Result;
use crate::id::SessionId;
use crate::operation::Operation;
use crate::routing::Routing;
use crate::rules::{check_ttl, ms};
use crate::script;
use crate::session::{Session, Status, Times};

/// A session to be made.
///
/// ```
/// use cloakroom::NewSession;
///
/// let new = NewSession::new().user("ann").set("theme", "dark")?;
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    id: Option<SessionId>,
    routing: Routing,
    status: Status,
    ttl: Option<Duration>,
    attributes: Entries,
    extensions: Entries,
}

impl NewSession {
    /// An anonymous session without data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its id. Defaults to one that the engine makes.
    #[must_use]
    pub fn id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }

    /// Its user, at most 256 bytes; empty means none. Defaults to none.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.routing.user = user.into();
        self
    }

    /// Its connection, at most 256 bytes; empty means none. Defaults to none.
    #[must_use]
    pub fn connection(mut self, connection: impl Into<String>) -> Self {
        self.routing.connection = connection.into();
        self
    }

    /// The node that holds its connection, at most 256 bytes; empty means none. Defaults to none.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.routing.node = node.into();
        self
    }

    /// Makes it suspended: kept, not connected. Defaults to active.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.status = Status::Suspended;
        self
    }

    /// How long it lives without being used. Defaults to [`Rules::ttl`](crate::Rules::ttl).
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) when the value cannot be told in JSON.
    pub fn set<T: Serialize + ?Sized>(mut self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.attributes.set(key, value)?;
        Ok(self)
    }

    /// All attributes at once. Defaults to none.
    #[must_use]
    pub fn attributes(mut self, attributes: Entries) -> Self {
        self.attributes = attributes;
        self
    }

    /// All extensions at once. Defaults to none.
    #[must_use]
    pub fn extensions(mut self, extensions: Entries) -> Self {
        self.extensions = extensions;
        self
    }
}

/// What `create` made, and whom it made go.
#[derive(Debug)]
#[non_exhaustive]
pub struct Created {
    /// The new session.
    pub session: Session,
    /// Sessions of the same user that were deleted to stay within the limit. Close their connections.
    pub evicted: Vec<Removed>,
    /// Expired sessions that were in the way, reaped by this call: no reaper will report them.
    pub reaped: Vec<Session>,
}

pub(crate) async fn run(operation: &Operation<'_>, new: NewSession) -> Result<Created> {
    let rules = operation.rules();
    let NewSession { id, routing, status, ttl, attributes, extensions } = new;
    routing.validate()?;
    let ttl = ttl.unwrap_or(rules.ttl);
    check_ttl("ttl", ttl)?;
    let mut entries = EntryWriter::new(rules);
    entries.add_all(EntryKind::Attribute, &attributes)?;
    entries.add_all(EntryKind::Extension, &extensions)?;
    let entries = entries.finish_whole()?;

    let id = id.unwrap_or_else(|| rules.id_scheme.generate(&operation.id()));
    let mut declared = Declared::new(id, routing, Moved::Answer);
    let reply = declared
        .settle(operation, &script::CREATE, |declared| call(operation, declared, status, ttl, &entries));
    let mut reply = reply.await?.expect_ok()?;
    let (version, created_at, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    let evicted = declared.evicted(&mut reply)?;
    let deadline = rules.max_lifetime.map_or(0, |lifetime| created_at + ms(lifetime));
    let Declared { id, routing, reaped, .. } = declared;
    let session = Session {
        id,
        status,
        version,
        ttl,
        times: Times { created_at, last_active: created_at, expires_at, deadline },
        stored: routing.clone(),
        routing,
        attributes,
        extensions,
    };
    Ok(Created { session, evicted, reaped })
}

fn call(
    operation: &Operation<'_>,
    declared: &Declared,
    status: Status,
    ttl: Duration,
    entries: &[u8],
) -> redis::Cmd {
    let rules = operation.rules();
    let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
    let (holder_key, victim_keys) = (declared.holder_key(operation), declared.victim_keys(operation));
    let keys = keys.iter().chain([&holder_key]).chain(&victim_keys).map(String::as_str);
    let (limit, policy) = rules.limit_arguments();
    let mut call = operation.call(&script::CREATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
    call.arg(declared.holder_id()).arg(status.word()).arg(ms(ttl)).arg(rules.max_lifetime.map_or(0, ms));
    call.arg(ms(rules.grace)).arg(ms(rules.tombstone)).arg(limit).arg(policy).arg(entries);
    declared.victim_arguments(&mut call);
    call
}
