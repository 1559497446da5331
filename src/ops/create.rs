//! create: a session with all its index entries, or nothing.

use std::time::Duration;

use serde::Serialize;

use crate::batch::Removed;
use crate::declared::{Declared, Moved};
use crate::draft::Draft;
use crate::entries::{Entries, EntryKind, EntryWriter};
use crate::error::Result;
use crate::holder::Holder;
use crate::id::SessionId;
use crate::operation::Operation;
use crate::routing::Routing;
use crate::rules::{Rules, check_ttl, ms};
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
    pub(crate) id: Option<SessionId>,
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

impl NewSession {
    pub(crate) fn wanted_connection(&self) -> &str {
        &self.routing.connection
    }

    /// `made_id` is for one that was given none.
    pub(crate) fn check(self, rules: &Rules, made_id: impl FnOnce() -> SessionId) -> Result<Draft> {
        let Self { id, routing, status, ttl, attributes, extensions } = self;
        routing.validate()?;
        let ttl = ttl.unwrap_or(rules.ttl);
        check_ttl("ttl", ttl)?;
        let mut entries = EntryWriter::new(rules);
        entries.add_all(EntryKind::Attribute, &attributes)?;
        entries.add_all(EntryKind::Extension, &extensions)?;
        let entries = entries.finish_whole()?;
        let id = id.unwrap_or_else(made_id);
        Ok(Draft { id, routing, status, ttl, entries, attributes, extensions })
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

pub(crate) async fn run(operation: &Operation<'_>, mut draft: Draft) -> Result<Created> {
    Holder::name_node(operation.holder(), &mut draft.routing.node)?;
    let mut declared = Declared::new(draft.id.clone(), draft.routing.clone(), Moved::Answer);
    let reply =
        declared.settle(operation, &script::CREATE, |declared| call(operation, declared, &draft)).await?;
    let mut reply = reply.expect_ok()?;
    let (version, created_at, expires_at) = (reply.version()?, reply.number()?, reply.number()?);
    let evicted = declared.evicted(&mut reply)?;
    let deadline = operation.rules().max_lifetime.map_or(0, |lifetime| created_at + ms(lifetime));
    let times = Times { created_at, last_active: created_at, expires_at, deadline };
    Ok(Created { session: draft.into_session(version, times), evicted, reaped: declared.reaped })
}

fn call(operation: &Operation<'_>, declared: &Declared, draft: &Draft) -> redis::Cmd {
    let rules = operation.rules();
    let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
    let (holder_key, victim_keys) = (declared.holder_key(operation), declared.victim_keys(operation));
    let lease = operation.fence_key();
    let keys = keys.iter().chain([&holder_key, &lease]).chain(&victim_keys).map(String::as_str);
    let (limit, policy) = rules.limit_arguments();
    let mut call = operation.call(&script::CREATE, keys);
    call.arg(operation.id().as_bytes()).arg(declared.id.as_str());
    call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
    call.arg(declared.holder_id()).arg(draft.status.word()).arg(ms(draft.ttl));
    call.arg(rules.max_lifetime.map_or(0, ms)).arg(ms(rules.grace)).arg(ms(rules.tombstone));
    call.arg(limit).arg(policy);
    operation.fence_arguments(&mut call);
    call.arg(&draft.entries);
    declared.victim_arguments(&mut call);
    call
}
