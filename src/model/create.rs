//! A session to create, and the result.

use std::time::Duration;

use serde::Serialize;

use crate::model::deletion::Removed;
use crate::model::duration::{check_lifetime, check_ttl, ms};
use crate::model::entries::Entries;
use crate::model::entry_codec::{EntryKind, EntryWriter};
use crate::model::error::Result;
use crate::model::index_fields::IndexFields;
use crate::model::new_id::NewId;
use crate::model::rules::Rules;
use crate::model::session::{Origin, Session, Status, Times};
use crate::model::session_id::SessionId;
use crate::model::token::Token;
use crate::model::version::Version;

/// A new session whose fields are checked, with its entries as they are stored.
#[derive(Debug)]
pub(crate) struct ValidatedSession {
    pub(crate) id: SessionId,
    pub(crate) token: Option<Token>,
    pub(crate) index_fields: IndexFields,
    pub(crate) status: Status,
    pub(crate) ttl: Duration,
    /// How long the session lives at most.
    pub(crate) lifetime: Option<Duration>,
    pub(crate) entries: Vec<u8>,
    pub(crate) attributes: Entries,
    pub(crate) extensions: Entries,
}

impl ValidatedSession {
    /// When the session expires at the latest if it is created at a given time; 0 for never.
    pub(crate) fn deadline(&self, created_at: u64) -> u64 {
        self.lifetime.map_or(0, |lifetime| created_at + ms(lifetime))
    }

    /// The session as it was created.
    pub(crate) fn into_session(self, version: Version, times: Times) -> Session {
        Session {
            id: self.id,
            status: self.status,
            version,
            ttl: self.ttl,
            times,
            stored: None,
            index_fields: self.index_fields,
            attributes: self.attributes.into(),
            extensions: self.extensions.into(),
            origin: Origin::Store,
        }
    }
}

/// A session to create.
///
/// ```
/// use cloakroom::NewSession;
///
/// let new = NewSession::new().user("ann").set("theme", "dark")?;
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    pub(crate) id: Option<NewId>,
    index_fields: IndexFields,
    status: Status,
    ttl: Option<Duration>,
    lifetime: Option<Duration>,
    attributes: Entries,
    extensions: Entries,
}

impl NewSession {
    /// An anonymous session without data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its id, or the token whose hash is the id. Defaults to an id that the store makes.
    #[must_use]
    pub fn id(mut self, id: impl Into<NewId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its user, at most 256 bytes; empty means none. Defaults to none.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.index_fields.user = user.into();
        self
    }

    /// Its connection, at most 256 bytes; empty means none. Defaults to none.
    #[must_use]
    pub fn connection(mut self, connection: impl Into<String>) -> Self {
        self.index_fields.connection = connection.into();
        self
    }

    /// The node that holds its connection, at most 256 bytes; empty means none. Defaults to none.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.index_fields.node = node.into();
        self
    }

    /// Creates it suspended: it is kept, but has no client connected. Defaults to active.
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

    /// How long it lives at most, however much it is used: "remember me". Defaults to
    /// [`Rules::max_lifetime`](crate::Rules::max_lifetime).
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) when the value cannot be written as JSON.
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
    /// Its id. If the caller gave none, `make` makes one for its user.
    pub(crate) fn settle_id(&mut self, make: impl FnOnce(&str) -> NewId) -> &SessionId {
        &self.id.get_or_insert_with(|| make(&self.index_fields.user)).id
    }

    pub(crate) fn wanted_user(&self) -> &str {
        &self.index_fields.user
    }

    pub(crate) fn wanted_connection(&self) -> &str {
        &self.index_fields.connection
    }

    /// `made_id` makes an id for the user, if the caller gave none.
    pub(crate) fn check(
        self,
        rules: &Rules,
        made_id: impl FnOnce(&str) -> NewId,
    ) -> Result<ValidatedSession> {
        let Self { id, index_fields, status, ttl, lifetime, attributes, extensions } = self;
        index_fields.validate()?;
        let ttl = ttl.unwrap_or(rules.ttl);
        check_ttl("ttl", ttl)?;
        if let Some(lifetime) = lifetime {
            check_lifetime(lifetime)?;
        }
        let lifetime = lifetime.or(rules.max_lifetime);
        let mut entries = EntryWriter::new(rules);
        entries.add_all(EntryKind::Attribute, &attributes)?;
        entries.add_all(EntryKind::Extension, &extensions)?;
        let entries = entries.finish_whole()?;
        let NewId { id, token } = id.unwrap_or_else(|| made_id(&index_fields.user));
        Ok(ValidatedSession {
            id,
            token,
            index_fields,
            status,
            ttl,
            lifetime,
            entries,
            attributes,
            extensions,
        })
    }
}

/// The result of `create`: the new session, and the sessions that it evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Created {
    /// The new session.
    pub session: Session,
    /// The token that the client must hold, if ids are the hashes of tokens.
    pub token: Option<Token>,
    /// Sessions of the same user that were deleted to stay within the limit. Close their connections.
    pub evicted: Vec<Removed>,
    /// Expired sessions that were in the way. This call reaped them, so no reaper will report them.
    pub reaped: Vec<Session>,
}
