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

/// Changes to single attributes and extensions of a session, its status, ttl or lifetime. A patch leaves
/// everything else as it is.
///
/// ```
/// use cloakroom::Patch;
///
/// let patch = Patch::new().set("theme", "dark")?.remove("draft");
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// In the order given; the last change of a key wins. `None` removes the key.
    pub(crate) changes: Vec<(EntryKind, String, Option<String>)>,
    pub(crate) status: Option<Status>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) expected: Option<Version>,
}

/// Shows the keys only: the values may be secret.
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
    /// An empty patch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.set_entry(EntryKind::Attribute, key.into(), value)
    }

    /// Removes an attribute. A missing one is no error.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.changes.push((EntryKind::Attribute, key.into(), None));
        self
    }

    /// Sets an extension.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be written as JSON.
    pub fn set_extension<T: Serialize + ?Sized>(self, key: impl Into<String>, value: &T) -> Result<Self> {
        self.set_entry(EntryKind::Extension, key.into(), value)
    }

    /// Removes an extension. A missing one is no error.
    #[must_use]
    pub fn remove_extension(mut self, key: impl Into<String>) -> Self {
        self.changes.push((EntryKind::Extension, key.into(), None));
        self
    }

    /// Suspends the session: it is kept, but has no client connected.
    #[must_use]
    pub fn suspend(mut self) -> Self {
        self.status = Some(Status::Suspended);
        self
    }

    /// Makes the session active.
    #[must_use]
    pub fn activate(mut self) -> Self {
        self.status = Some(Status::Active);
        self
    }

    /// Gives the session another idle time, which starts now.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long the session lives at most from now on, however much it is used. Its idle time starts again. Defaults to
    /// keeping the deadline that it has.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Changes the session only if it is at this version. Defaults to any version.
    #[must_use]
    pub fn expect(mut self, version: Version) -> Self {
        self.expected = Some(version);
        self
    }

    /// Checks all fields, and encodes the changes for the script.
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

/// The result of a patch. [`Session::apply`] brings your copy up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patched {
    /// The session's id: the new one if it was rotated.
    pub id: SessionId,
    /// The session's version after the patch.
    pub version: Version,
    /// When the session expires, in milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// When the session was last used, in milliseconds since the epoch: a patch is a use.
    pub last_active_ms: u64,
    /// False: the patch named no attribute, no extension and no lifetime, its status and its ttl are what the session
    /// had, and the store wrote nothing. Setting a value to what it is already counts as a change.
    pub changed: bool,
    /// The patch itself.
    pub(crate) patch: Patch,
}

/// The result of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// The session's id: the new one if it was rotated.
    pub id: SessionId,
    /// The session's version. A refresh does not change it.
    pub version: Version,
    /// When the session was last used, in milliseconds since the epoch.
    pub last_active_ms: u64,
    /// When the session expires, in milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// False: the session was used within the touch interval, and the store wrote nothing.
    pub changed: bool,
}

impl Refreshed {
    /// When the session was last used.
    #[must_use]
    pub fn last_active(&self) -> SystemTime {
        system_time(self.last_active_ms)
    }

    /// When the session expires.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        system_time(self.expires_at_ms)
    }

    /// As if making a session were a use of it.
    pub(crate) fn of_new(session: &Session) -> Self {
        Self {
            id: session.id().clone(),
            version: session.version(),
            last_active_ms: session.last_active_ms(),
            expires_at_ms: session.expires_at_ms(),
            changed: true,
        }
    }

    /// The result of a use that writes nothing.
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
    /// Applies to this copy a change that [`patch`](crate::SessionStore::patch) made in the store, and returns whether
    /// it did. It does so only in a copy of that session at the version before the patch. Afterwards an
    /// [`update`](crate::SessionStore::update) of the copy does not conflict with that patch.
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
    /// Applies the change to a copy of the version before.
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

    /// The version that a copy must have for that.
    pub(crate) fn version_before(&self) -> Version {
        Version::new(self.version.get().saturating_sub(u64::from(self.changed)))
    }

    /// When the session expires.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        system_time(self.expires_at_ms)
    }
}
