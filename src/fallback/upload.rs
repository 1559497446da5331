//! One step that writes a kept session back to the store.

use crate::fallback::base::Base;
use crate::fallback::reconciliation::Fate;
use crate::memory::record::Record;
use crate::model::{
    Error, Export, Import, OperationId, Refusal, Result, Rotation, Session, SessionId, Version,
};
use crate::store::Store;

/// One step that writes a kept session back to the store. If it is retried, it happens once.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The session's id in the store after this step.
    pub(crate) id: SessionId,
    /// The session here when the step was made.
    export: Export,
    pub(crate) step: Step,
    operation: OperationId,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// Imports a session that was made or changed here.
    Import(Option<Base>),
    /// Refreshes a session that was only used here.
    Use,
    /// Rotates a session that was rotated here.
    Rotation(Base),
}

/// The result of an upload.
#[derive(Debug)]
pub(crate) enum Brought {
    /// The store has the session as it was sent, at this version.
    There(Version),
    /// The session is at this version by changes of this process that were unsure until now.
    Ours(Version),
    /// The store has the session under its new id, with another's changes.
    Changed(Version),
    /// The store has no such session.
    Missing,
    /// The store refused.
    Refused(Refusal),
}

impl Upload {
    /// The next step for a session as it is here.
    pub(crate) fn next(export: Export, base: Option<&Base>) -> Self {
        let session = export.session();
        let step = match base {
            Some(base) if base.id != *session.id() => Step::Rotation(base.clone()),
            Some(base) if base.version == session.version() => Step::Use,
            base => Step::Import(base.cloned()),
        };
        Self::new(export, step)
    }

    /// The session without its connection, one version below its present one; `None` if the store has no lower
    /// version.
    pub(crate) fn aside(export: Export, base: &Base) -> Option<Self> {
        let Export { mut session, mut changes } = export;
        let version = session.version().get() - 1;
        if base.id != *session.id() || version <= base.version.get() {
            return None;
        }
        session.version = Version::new(version);
        session.set_connection("");
        session.set_node("");
        changes.rotate_left(1);
        changes[3] = Default::default();
        Some(Self::new(Export::new(session, changes), Step::Import(Some(base.clone()))))
    }

    fn new(export: Export, step: Step) -> Self {
        Self { id: export.session().id().clone(), export, step, operation: OperationId::random() }
    }

    pub(crate) fn session(&self) -> &Session {
        self.export.session()
    }

    /// Whether a session here is still as it was sent.
    pub(crate) fn is_of(&self, record: &Record) -> bool {
        let session = self.session();
        record.version == session.version().get() && record.last_active == session.last_active_ms()
    }

    pub(crate) fn is_rotation(&self) -> bool {
        matches!(self.step, Step::Rotation(_))
    }

    /// Sends it. An error means that the store is away, or was.
    pub(crate) async fn send(&self, store: &dyn Store) -> Result<Brought> {
        match &self.step {
            Step::Import(base) => self.import(store, base.as_ref()).await,
            Step::Use => match store.with_operation_id(self.operation).refresh(&self.id).await {
                Ok(Some(refreshed)) => Ok(Brought::There(refreshed.version)),
                Ok(None) => Ok(Brought::Missing),
                Err(error) => refused(error),
            },
            Step::Rotation(base) => self.rotate(store, base).await,
        }
    }

    async fn import(&self, store: &dyn Store, base: Option<&Base>) -> Result<Brought> {
        let import = Import::new(self.export.clone()).operation_id(self.operation);
        let import = match base {
            None => import.if_absent(),
            Some(base) => import.if_at(base.version),
        };
        match store.import(import).await {
            Ok(_) => Ok(Brought::There(self.session().version())),
            Err(error) if error.is_conflict() => match base {
                Some(base) => {
                    let ours = self.ours(store, base, base.version.get(), &[]).await?;
                    ours.map_or_else(|| refused(error), |version| Ok(Brought::Ours(version)))
                }
                None => refused(error),
            },
            Err(error) => refused(error),
        }
    }

    /// If the session was changed in the store, the store's version wins, under the new id, because the
    /// client has that.
    async fn rotate(&self, store: &dyn Store, base: &Base) -> Result<Brought> {
        let rotation = Rotation::new().new_id(self.id.clone()).keep_deadline();
        let rotation = match self.session().user() {
            Some(user) => rotation.user(user),
            None => rotation.anonymous(),
        };
        let (found, own_changes) =
            match store.with_operation_id(self.operation).rotate(&base.id, rotation).await {
                Ok(rotated) if !rotated.by_another => (Some(rotated.session), rotated.own_changes),
                // This very rotation may have happened long ago.
                Ok(_) | Err(Error::Refused(Refusal::Missing | Refusal::Rotated { .. })) => {
                    (store.get_fresh(&self.id).await?, 1)
                }
                Err(error) => return refused(error),
            };
        let Some(found) = found else {
            return Ok(Brought::Missing);
        };
        let version = found.version();
        if version.get() == base.version.get() + own_changes {
            // After any other change in the store, the session here would be older. The attributes that the rotation
            // changed here are not changed there.
            let is_as_here = own_changes == 1 && self.is_as_here(&found);
            return Ok(if is_as_here { Brought::There(version) } else { Brought::Ours(version) });
        }
        let ours = self.ours(store, base, base.version.get(), &[self.operation]).await?;
        Ok(ours.map_or(Brought::Changed(version), Brought::Ours))
    }

    /// Whether the session in the store, after the rotation there, is as the one here; otherwise it needs an import.
    fn is_as_here(&self, there: &Session) -> bool {
        let here = self.session();
        here.version > there.version
            || (here.ttl == there.ttl
                && here.times.deadline == there.times.deadline
                && here.attributes == there.attributes
                && here.extensions == there.extensions)
    }

    /// The session's version in the store, if this process made all changes above a given version.
    async fn ours(
        &self,
        store: &dyn Store,
        base: &Base,
        above: u64,
        known: &[OperationId],
    ) -> Result<Option<Version>> {
        if base.unsure.is_empty() {
            return Ok(None);
        }
        let Some(export) = store.export(&self.id).await? else {
            return Ok(None);
        };
        let version = export.session().version();
        let since = usize::try_from(version.get().saturating_sub(above)).unwrap_or(usize::MAX);
        let is_ours =
            |noted: &[u8; 8]| base.unsure.iter().chain(known).any(|operation| operation.as_bytes() == noted);
        let changes = export.changes.get(..since);
        Ok(changes.filter(|changes| since > 0 && changes.iter().all(is_ours)).map(|_| version))
    }
}

/// Turns an error of the store into a result. An error that means that the store is away ends the work for
/// now.
fn refused(error: Error) -> Result<Brought> {
    match error {
        Error::Refused(Refusal::Missing | Refusal::Gone | Refusal::Rotated { to: None }) => {
            Ok(Brought::Missing)
        }
        Error::Refused(refusal) => Ok(Brought::Refused(refusal)),
        error @ (Error::Corrupt { .. } | Error::Invalid(_) | Error::Value { .. }) => {
            tracing::warn!(%error, "the store refused a session that was kept during the outage");
            Ok(Brought::Missing)
        }
        error => Err(error),
    }
}

impl Brought {
    /// The fate of the session, if this was the end of it here.
    pub(crate) fn fate(self) -> Option<Fate> {
        match self {
            Self::There(_) | Self::Ours(_) => None,
            Self::Changed(current) => Some(Fate::Conflict(Refusal::Conflict { current })),
            Self::Missing => Some(Fate::Dropped),
            Self::Refused(refusal) => Some(Fate::Conflict(refusal)),
        }
    }
}
