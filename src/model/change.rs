//! Changes of a live session.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::model::clock::system_time;
use crate::model::duration::{check_lifetime, check_ttl, ms};
use crate::model::entry_codec::{EntryKind, EntryWriter};
use crate::model::error::{Error, Result};
use crate::model::rules::Rules;
use crate::model::session::{Session, Status};
use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// Changes to single attributes and extensions of a session, its status, its ttl. What it does not name stays.
///
/// ```
/// use cloakroom::Patch;
///
/// let patch = Patch::new().set("theme", "dark")?.remove("draft");
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// In the order given; the last change of a key counts. No value removes.
    pub(crate) changes: Vec<(EntryKind, String, Option<String>)>,
    pub(crate) status: Option<Status>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) expected: Option<Version>,
}

/// The keys only: the values may be secret.
impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("keys", &self.changes.iter().map(|(_, key, _)| key).collect::<Vec<_>>())
            .field("status", &self.status)
            .field("ttl", &self.ttl)
            .field("lifetime", &self.lifetime)
            .field("expected", &self.expected)
            .finish()
    }
}

impl Patch {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be told in JSON.
    pub fn set<T: Serialize + ?Sized>(self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.set_entry(EntryKind::Attribute, key.into(), value)
    }

    /// Removes an attribute; one that is not there is no error.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.changes.push((EntryKind::Attribute, key.into(), None));
        self
    }

    /// Sets an extension.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be told in JSON.
    pub fn set_extension<T: Serialize + ?Sized>(self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.set_entry(EntryKind::Extension, key.into(), value)
    }

    /// Removes an extension; one that is not there is no error.
    #[must_use]
    pub fn remove_extension(mut self, key: impl Into<String>) -> Self {
        self.changes.push((EntryKind::Extension, key.into(), None));
        self
    }

    /// Makes it suspended: kept, not connected.
    #[must_use]
    pub fn suspend(mut self) -> Self {
        self.status = Some(Status::Suspended);
        self
    }

    /// Makes it active.
    #[must_use]
    pub fn activate(mut self) -> Self {
        self.status = Some(Status::Active);
        self
    }

    /// Gives it another idle time, which begins anew.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long it lives at most from now on, however much it is used: its idle time begins anew. Defaults to the deadline
    /// that it has.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Changes only a session at this version. Defaults to any.
    #[must_use]
    pub fn expect(mut self, version: Version) -> Self {
        self.expected = Some(version);
        self
    }

    /// The changes as the script takes them, once all fields are checked.
    pub(crate) fn check(&self, rules: &Rules) -> Result<Vec<u8>> {
        if let Some(ttl) = self.ttl {
            check_ttl("ttl", ttl)?;
        }
        if let Some(lifetime) = self.lifetime {
            check_lifetime(lifetime)?;
        }
        let mut changes = EntryWriter::new(rules);
        for (kind, key, json) in &self.changes {
            changes.add(*kind, key, json.as_deref())?;
        }
        changes.finish_changes()
    }

    fn set_entry<T: Serialize + ?Sized>(mut self, kind: EntryKind, key: String, value: &T) -> Result<Self> {
        match serde_json::to_string(value) {
            Ok(json) => {
                self.changes.push((kind, key, Some(json)));
                Ok(self)
            }
            Err(source) => Err(Error::value(key, source)),
        }
    }
}

/// What a patch came to. [`Session::apply`] brings a copy in hand up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patched {
    /// The session's id, a new one if it was rotated.
    pub id: SessionId,
    /// The version that it is at.
    pub version: Version,
    /// When it expires, in milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// When it was last used, in milliseconds since the epoch: a patch is a use.
    pub last_active_ms: u64,
    /// False: the patch named no attribute, no extension and no lifetime, its status and its ttl are what they were, and nothing
    /// was written. One that sets a value to what it is counts as a change.
    pub changed: bool,
    /// What was changed.
    pub(crate) patch: Patch,
}

/// What a refresh came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// The session's id, a new one if it was rotated.
    pub id: SessionId,
    /// The version that it is at. A refresh does not count.
    pub version: Version,
    /// When it was last used, in milliseconds since the epoch.
    pub last_active_ms: u64,
    /// When it expires, in milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// False: it was used within the touch interval, and nothing was written.
    pub changed: bool,
}

impl Refreshed {
    /// When it was last used.
    #[must_use]
    pub fn last_active(&self) -> SystemTime {
        system_time(self.last_active_ms)
    }

    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        system_time(self.expires_at_ms)
    }

    /// As if it were a use of a session to make it.
    pub(crate) fn of_new(session: &Session) -> Self {
        Self {
            id: session.id().clone(),
            version: session.version(),
            last_active_ms: session.last_active_ms(),
            expires_at_ms: session.expires_at_ms(),
            changed: true,
        }
    }

    /// Of a use that has nothing to write.
    #[cfg(feature = "redis")]
    pub(crate) fn of_untouched(session: &Session) -> Self {
        Self { changed: false, ..Self::of_new(session) }
    }
}

impl Patch {
    /// Changes the entries of a copy.
    pub(crate) fn apply_entries(&self, session: &mut Session) {
        for (kind, key, json) in &self.changes {
            let entries = match kind {
                EntryKind::Attribute => session.attributes_mut(),
                EntryKind::Extension => session.extensions_mut(),
            };
            match json {
                Some(json) => entries.insert_json(key, json),
                None => {
                    entries.remove(key);
                }
            }
        }
    }
}

impl Session {
    /// Makes a change in this copy too that [`patch`](crate::SessionStore::patch) made in the store, and tells whether it did:
    /// only in a copy of that session at the version before, for in any other there is something else. Then an
    /// [`update`](crate::SessionStore::update) of the copy does not conflict with its own patch.
    ///
    /// ```
    /// # use cloakroom::{Error, MemoryStore, NewSession, Patch, SessionStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let store = MemoryStore::builder().build()?;
    /// let mut session = store.create(NewSession::new()).await?.session;
    /// let patched = store.patch(&session, Patch::new().set("theme", "dark")?).await?;
    /// assert!(session.apply(&patched));
    /// session.set("cart", &[3])?;
    /// store.update(&mut session).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply(&mut self, patched: &Patched) -> bool {
        let is_next = self.id == patched.id && self.version == patched.version_before();
        if is_next {
            patched.apply(self);
        }
        is_next
    }
}

impl Patched {
    /// Makes the change in a copy of the version before.
    pub(crate) fn apply(&self, session: &mut Session) {
        self.patch.apply_entries(session);
        session.id.clone_from(&self.id);
        session.version = self.version;
        session.status = self.patch.status.unwrap_or(session.status);
        session.ttl = self.patch.ttl.unwrap_or(session.ttl);
        session.times.last_active = self.last_active_ms;
        session.times.expires_at = self.expires_at_ms;
        if let Some(lifetime) = self.patch.lifetime {
            session.times.deadline = self.last_active_ms + ms(lifetime);
        }
    }

    /// Of which version a copy has to be for that.
    pub(crate) fn version_before(&self) -> Version {
        Version::new(self.version.get().saturating_sub(u64::from(self.changed)))
    }

    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        system_time(self.expires_at_ms)
    }
}
