//! Export and import of a session.

use std::fmt;

use crate::model::error::{Error, Result};
use crate::model::index_fields::{IndexFields, check_name, require_name};
use crate::model::operation_id::OperationId;
use crate::model::recent_changes::RecentChanges;
use crate::model::rules::Rules;
use crate::model::session::{Session, Times};
use crate::model::task_id::TaskId;
use crate::model::version::Version;

/// An exported session, with the operation ids of its last changes.
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

    /// The session, without those operation ids.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }
}

/// Shows as little as a session does.
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

/// How to import a session.
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

/// The migration that brings a session.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) task: TaskId,
    pub(crate) until_ms: u64,
    pub(crate) place: String,
}

impl Import {
    /// Imports an exported session. Defaults to replacing an older version of the same session.
    #[must_use]
    pub fn new(export: Export) -> Self {
        Self { export, replaces: Replaces::Older, migration: None, operation_id: None, node: None }
    }

    /// Imports the session only if the store does not have it, and replaces nothing. Defaults to replacing
    /// an older version.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.replaces = Replaces::Nothing;
        self
    }

    /// Imports the session only in the place of this version, which must be older. Defaults to replacing any older
    /// version.
    #[must_use]
    pub fn if_at(mut self, version: Version) -> Self {
        self.replaces = Replaces::At(version);
        self
    }

    /// Imports the session as a step of a migration, only if the store does not have it. The copy is frozen
    /// until it is [thawed](crate::migration::MigrationStore::thaw). `place` is the store that it comes from,
    /// where it is [frozen](crate::migration::MigrationStore::freeze) until `until_ms`. A retry by the same
    /// task has no further effect. Defaults to a session that can be changed at once.
    #[must_use]
    pub fn incoming(mut self, task: TaskId, until_ms: u64, place: impl Into<String>) -> Self {
        self.replaces = Replaces::Nothing;
        self.migration = Some(Incoming { task, until_ms, place: place.into() });
        self
    }

    /// Gives an incoming session to a node here: without its connection, suspended, and one version higher, so that no
    /// older copy can be saved over it. A session that has this node already stays as it is. Defaults to leaving the
    /// session as it is.
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

    /// The index fields for the session, and whether they give it to another node.
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

    /// Checks all that a caller may have set, and encodes the entries.
    pub(crate) fn check(&self, rules: &Rules) -> Result<Vec<u8>> {
        self.migration.as_ref().map_or(Ok(()), |coming| check_name("place", &coming.place))?;
        if let Some(node) = &self.node {
            require_name("node id", node)?;
            if self.migration.is_none() {
                return Err(Error::invalid("node id", "applies to an incoming session only"));
            }
        }
        let Times { expires_at, deadline, .. } = self.export.session.times;
        if deadline > 0 && expires_at > deadline {
            return Err(Error::invalid("session", "expires after its deadline"));
        }
        self.export.session().check(rules)
    }
}
