//! A session as the application sees it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::clock::system_time;
use crate::model::duration::check_ttl;
use crate::model::entries::Entries;
use crate::model::entry_codec::{EntryKind, EntryWriter};
use crate::model::error::{Error, Result};
use crate::model::index_fields::{IndexFields, some};
use crate::model::refusal::Refusal;
use crate::model::rules::Rules;
use crate::model::session_id::SessionId;
use crate::model::session_ref::{Hint, Known, SessionRef};
use crate::model::version::Version;

/// Whether a session is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// In use.
    #[default]
    Active,
    /// Kept, not connected.
    Suspended,
    /// Frozen by a migration: callers can read and delete it, but not change it.
    Migrating,
}

impl Status {
    /// The word that the scripts take. A migration freezes and thaws by scripts of its own.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Migrating => "migrating",
        }
    }
}

/// Where a copy of a session came from. Only a [`FallbackStore`](crate::fallback::FallbackStore) whose
/// store is away returns copies that are not from the [`Store`](Self::Store).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// From the store: this is what the store had at the read.
    #[default]
    Store,
    /// From what this process saw a while ago. The session may have been changed or deleted since.
    Stale {
        /// How long ago.
        age: Duration,
    },
    /// From this process's memory: the session was created or changed while the store was away, and no
    /// other process knows.
    Local,
}

/// A copy of one session, as it was at the read.
///
/// Changes to the copy are local until [`SessionStore::update`](crate::SessionStore::update) saves them.
/// Times are milliseconds since the epoch, from the server's clock.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) status: Status,
    pub(crate) version: Version,
    pub(crate) ttl: Duration,
    pub(crate) times: Times,
    /// The index fields in the store, where the application changed them in this copy. Operations pass them
    /// to the script.
    pub(crate) stored: Option<Box<IndexFields>>,
    /// The index fields as the application set them.
    pub(crate) index_fields: IndexFields,
    // Shared, because a near cache hands out copies of the sessions that it keeps.
    pub(crate) attributes: Arc<Entries>,
    pub(crate) extensions: Arc<Entries>,
    pub(crate) origin: Origin,
}

/// The instants of a session, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) created_at: u64,
    pub(crate) last_active: u64,
    pub(crate) expires_at: u64,
    /// 0 for none.
    pub(crate) deadline: u64,
}

impl Session {
    /// Checks all that a caller may have set, and encodes the entries.
    pub(crate) fn check(&self, rules: &Rules) -> Result<Vec<u8>> {
        self.index_fields.validate()?;
        check_ttl("ttl", self.ttl)?;
        if self.status == Status::Migrating {
            return Err(Error::Refused(Refusal::Frozen));
        }
        let mut entries = EntryWriter::new(rules);
        entries.add_all(EntryKind::Attribute, &self.attributes)?;
        entries.add_all(EntryKind::Extension, &self.extensions)?;
        entries.finish_whole()
    }

    /// The index fields in the store.
    pub(crate) fn stored(&self) -> &IndexFields {
        self.stored.as_deref().unwrap_or(&self.index_fields)
    }

    /// Records that this copy was saved.
    pub(crate) fn note_saved(&mut self, id: SessionId, version: Version, last_active: u64, expires_at: u64) {
        (self.id, self.version) = (id, version);
        (self.times.last_active, self.times.expires_at) = (last_active, expires_at);
        self.note_stored();
    }

    /// Records that the store has the index fields of this copy.
    pub(crate) fn note_stored(&mut self) {
        self.stored = None;
    }

    fn reroute(&mut self, change: impl FnOnce(&mut IndexFields)) {
        let stored = self.stored.take().unwrap_or_else(|| Box::new(self.index_fields.clone()));
        change(&mut self.index_fields);
        self.stored = (*stored != self.index_fields).then_some(stored);
    }

    /// The session's id: a secret, unless ids are the hashes of [tokens](crate::Token).
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The user; `None` if the session is anonymous.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        some(&self.index_fields.user)
    }

    /// The connection, if it has one.
    #[must_use]
    pub fn connection(&self) -> Option<&str> {
        some(&self.index_fields.connection)
    }

    /// The node that holds the connection, if it has one.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        some(&self.index_fields.node)
    }

    /// Where this copy came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether it is in use.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The version that this copy was read at.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How long it lives without being used.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// When it was created, in milliseconds since the epoch.
    #[must_use]
    pub fn created_at_ms(&self) -> u64 {
        self.times.created_at
    }

    /// When it was created.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        system_time(self.times.created_at)
    }

    /// When it was last used, in milliseconds since the epoch.
    #[must_use]
    pub fn last_active_ms(&self) -> u64 {
        self.times.last_active
    }

    /// When it was last used.
    #[must_use]
    pub fn last_active(&self) -> SystemTime {
        system_time(self.times.last_active)
    }

    /// When it expires, if it is not used before, in milliseconds since the epoch.
    #[must_use]
    pub fn expires_at_ms(&self) -> u64 {
        self.times.expires_at
    }

    /// When it expires, if it is not used before.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        system_time(self.times.expires_at)
    }

    /// When it expires at the latest, if it has a lifetime.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        (self.times.deadline > 0).then_some(self.times.deadline)
    }

    /// When it expires at the latest, if it has a lifetime.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.deadline_ms().map(system_time)
    }

    /// The attribute of a key.
    ///
    /// # Errors
    /// [`Error::Value`] when the value has another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.attributes.get(key)
    }

    /// Sets an attribute in this copy.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: impl Into<String>, value: &T) -> Result<()> {
        self.attributes_mut().set(key, value)
    }

    /// Removes an attribute from this copy, and returns whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.attributes_mut().remove(key)
    }

    /// The application's data.
    #[must_use]
    pub fn attributes(&self) -> &Entries {
        &self.attributes
    }

    /// The application's data, to change in this copy.
    pub fn attributes_mut(&mut self) -> &mut Entries {
        Arc::make_mut(&mut self.attributes)
    }

    /// The data of layers around the application.
    #[must_use]
    pub fn extensions(&self) -> &Entries {
        &self.extensions
    }

    /// The data of layers around the application, to change in this copy.
    pub fn extensions_mut(&mut self) -> &mut Entries {
        Arc::make_mut(&mut self.extensions)
    }

    /// Sets the user in this copy; an empty text removes the user.
    pub fn set_user(&mut self, user: impl Into<String>) {
        self.reroute(|index_fields| index_fields.user = user.into());
    }

    /// Sets the connection in this copy; an empty text removes it.
    pub fn set_connection(&mut self, connection: impl Into<String>) {
        self.reroute(|index_fields| index_fields.connection = connection.into());
    }

    /// Sets the node in this copy; an empty text removes it.
    pub fn set_node(&mut self, node: impl Into<String>) {
        self.reroute(|index_fields| index_fields.node = node.into());
    }

    /// Suspends it, in this copy.
    pub fn suspend(&mut self) {
        self.status = Status::Suspended;
    }

    /// Makes it active, in this copy.
    pub fn activate(&mut self) {
        self.status = Status::Active;
    }

    /// Sets the idle time in this copy. It starts when the copy is saved.
    pub fn set_ttl(&mut self, ttl: Duration) {
        self.ttl = ttl;
    }
}

/// Shows neither the id nor the data: both may be secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("version", &self.version.get())
            .field("ttl", &self.ttl)
            .field("times", &self.times)
            .field("index_fields", &self.index_fields)
            .field("attributes", &self.attributes.len())
            .field("extensions", &self.extensions.len())
            .field("origin", &self.origin)
            .finish()
    }
}

impl SessionRef for Session {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn hint(&self) -> Hint<'_> {
        let Times { last_active, expires_at, .. } = self.times;
        Hint(Some(Known { index_fields: self.stored(), last_active, expires_at }))
    }
}
