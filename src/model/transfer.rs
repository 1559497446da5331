//! A session out of one store and into another.

use std::fmt;

use crate::model::error::{Error, Result};
use crate::model::index_fields::{IndexFields, check_name, require_name};
use crate::model::operation_id::OperationId;
use crate::model::recent_changes::RecentChanges;
use crate::model::rules::Rules;
use crate::model::session::{Session, Times};
use crate::model::task_id::TaskId;
use crate::model::version::Version;

/// A session as it was when it was exported, with what it remembers of its last changes.
#[derive(Clone, PartialEq, Eq)]
pub struct Export {
    pub(crate) session: Session,
    pub(crate) changes: RecentChanges,
}

impl Export {
    pub(crate) fn new(session: Session, changes: RecentChanges) -> Self {
        Self { session, changes }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, without what it remembers.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }
}

/// As little as a session shows.
impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What an import may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// Any older version of the same session.
    Older,
    /// Just this version of the same session.
    At(Version),
    /// Nothing.
    Nothing,
}

/// How to bring in a session.
///
/// ```
/// # use cloakroom::{Result, SessionId};
/// # use cloakroom::migration::{Import, MigrationStore};
/// # async fn copy(from: &dyn MigrationStore, to: &dyn MigrationStore, id: &SessionId) -> Result<()> {
/// if let Some(export) = from.export(id).await? {
///     to.import(Import::new(export).if_absent()).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Import {
    pub(crate) export: Export,
    pub(crate) replaces: Replaces,
    pub(crate) migration: Option<Incoming>,
    pub(crate) operation_id: Option<OperationId>,
    node: Option<String>,
}

/// By which migration a session comes.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) task: TaskId,
    pub(crate) until_ms: u64,
    pub(crate) place: String,
}

impl Import {
    /// Brings in what was exported. Defaults to replacing an older version of the same session.
    #[must_use]
    pub fn new(export: Export) -> Self {
        Self { export, replaces: Replaces::Older, migration: None, operation_id: None, node: None }
    }

    /// Brings it in only where it is not, and replaces nothing. Defaults to replacing an older version.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.replaces = Replaces::Nothing;
        self
    }

    /// Brings it in only in the place of this version, which has to be older. Defaults to replacing any older version.
    #[must_use]
    pub fn if_at(mut self, version: Version) -> Self {
        self.replaces = Replaces::At(version);
        self
    }

    /// Brings it in by a migration, where it is not: a copy that is frozen until it is [thawed](crate::migration::MigrationStore::thaw),
    /// from a `place` where it is [frozen](crate::migration::MigrationStore::freeze) until `until_ms`. Again by the same task it
    /// happens once. Defaults to a session that can be changed at once.
    #[must_use]
    pub fn incoming(mut self, task: TaskId, until_ms: u64, place: impl Into<String>) -> Self {
        self.replaces = Replaces::Nothing;
        self.migration = Some(Incoming { task, until_ms, place: place.into() });
        self
    }

    /// Hands an incoming session over to a node here: without its connection, suspended, and at one version more, so that
    /// no copy in hand is saved over that. If it has that node already it comes as it is. Defaults to that.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// Makes the call under this operation id: to repeat an import that ended in
    /// [`Error::Ambiguous`], which then happens once. Defaults to a new one.
    #[must_use]
    pub fn operation_id(mut self, id: OperationId) -> Self {
        self.operation_id = Some(id);
        self
    }

    /// Where the session is to be indexed, and whether it is handed over to another node by that.
    pub(crate) fn index_fields(&self) -> (IndexFields, bool) {
        let own = &self.export.session.index_fields;
        match &self.node {
            Some(node) if *node != own.node => {
                let (user, node) = (own.user.clone(), node.clone());
                (IndexFields { user, connection: String::new(), node }, true)
            }
            _ => (own.clone(), false),
        }
    }

    /// The entries as they are stored, once all that a caller may have set is checked.
    pub(crate) fn check(&self, rules: &Rules) -> Result<Vec<u8>> {
        self.migration.as_ref().map_or(Ok(()), |coming| check_name("place", &coming.place))?;
        if let Some(node) = &self.node {
            require_name("node id", node)?;
            if self.migration.is_none() {
                return Err(Error::invalid("node id", "is of an incoming session only"));
            }
        }
        let Times { expires_at, deadline, .. } = self.export.session.times;
        if deadline > 0 && expires_at > deadline {
            return Err(Error::invalid("session", "expires after its deadline"));
        }
        self.export.session().check(rules)
    }
}
