//! A login of a user who is in another partition than the session. It is three calls, because no script reaches two
//! partitions. Each can be repeated under the operation id of the login.
//!
//! 1. A copy is imported under a new id, with the user. It lives a minute at most, and nobody knows its id. Its
//!    connection does not lead to it yet.
//! 2. The old id is given up, at the version that was copied. This is the moment of the login: before it the old
//!    session is as it was, after it the copy is the session.
//! 3. The session gets its connection, if it had one, and its full idle time.
//!
//! Whatever dies between two of the calls, the old id never gets the user's rights, and a copy that nobody knows is
//! gone after a minute.

use std::sync::Arc;

use tokio::time::Instant;

use crate::model::login_steps::{LoginSteps, ROUNDS, copy_of, require_copy};
use crate::model::{
    Binding, Error, Export, IdScheme, Import, IndexFields, NewId, Obstacle, OperationId, RecentChanges,
    Refusal, Removed, Result, Rotated, Rotation, Session, SessionId, SessionRef, Token, Version,
};
use crate::redis::call::Call;
use crate::redis::store::RedisStore;
use crate::redis::{commands, lookup};
use crate::stored::partitions::Partition;
use crate::stored::record::Record;

impl RedisStore {
    /// Whether a rotation moves a session to another partition.
    pub(crate) fn is_login_elsewhere(&self, session: &dyn SessionRef, rotation: &Rotation) -> bool {
        let of = |text| self.partitions().of(text);
        !rotation.named_user().is_empty() && of(rotation.named_user()) != of(session.id().as_str())
    }

    pub(crate) async fn log_in_elsewhere(
        &self,
        session: &dyn SessionRef,
        rotation: Rotation,
    ) -> Result<Rotated> {
        rotation.check(&self.config().rules)?;
        let user = rotation.named_user();
        let (partitions, operation) =
            (self.partitions(), self.operation_id.unwrap_or_else(OperationId::random));
        let make_id = || partitions.new_id(&operation, user);
        let NewId { id: new_id, token } = rotation.new_id.clone().unwrap_or_else(make_id);
        partitions.check(&new_id, user)?;
        let login = Login {
            store: self,
            old: session,
            from: partitions.of(session.id().as_str()),
            to: partitions.of(user),
            new_id,
            token,
            rotation,
            operation,
            steps: LoginSteps { login: operation },
            deadline: Instant::now() + self.config().deadline,
        };
        login.run().await.map_err(|error| error.under(operation))
    }
}

struct Login<'a> {
    store: &'a RedisStore,
    old: &'a dyn SessionRef,
    from: Partition,
    to: Partition,
    new_id: SessionId,
    token: Option<Token>,
    rotation: Rotation,
    operation: OperationId,
    steps: LoginSteps,
    deadline: Instant,
}

impl Login<'_> {
    async fn run(&self) -> Result<Rotated> {
        let mut evicted = Vec::new();
        for _ in 0..ROUNDS {
            let old = self.old.id();
            let read = |call: Arc<Call>| async move { lookup::current(&call, old).await };
            let (mut copy, mut was) = (None, self.old.hint().index_fields());
            let left = match self.step(self.from, self.operation, read).await? {
                Some((_, Record::Session { freeze: Some(_), .. })) => {
                    return Err(Error::Refused(Refusal::Frozen));
                }
                Some((now, Record::Session { session, changes, .. })) => {
                    was = session.index_fields.clone();
                    let rules = &self.store.config().rules;
                    let copied = copy_of(&session, &self.new_id, &self.rotation, rules, now)?;
                    let copy = copy.insert(copied);
                    evicted.extend(self.bring(copy.clone(), changes, session.version).await?);
                    if self.store.operation_id.is_some() {
                        self.require_copy().await?;
                    }
                    self.leave(&*session, session.version).await
                }
                Some((_, Record::Rotated { to, .. })) => return self.rotated_by_another(to).await,
                Some((_, Record::Departed { place, .. })) => {
                    return Err(Error::Refused(Refusal::Departed { place }));
                }
                // This very login may have given up the session. No session is at version 0.
                Some((_, Record::Deleted { .. })) | None => self.leave(self.old, Version::new(0)).await,
            };
            match left {
                Ok(()) => {
                    let completed = self.complete(copy, was).await;
                    let (session, own_changes) = completed.map_err(|error| self.steps.happened(error))?;
                    let token = self.token.clone();
                    return Ok(Rotated { session, token, evicted, by_another: false, own_changes });
                }
                // It changed since it was copied.
                Err(Error::Refused(Refusal::Conflict { .. })) => {}
                Err(Error::Refused(Refusal::Rotated { to: Some(to) })) => {
                    return self.rotated_by_another(to).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::obstacle(Obstacle::Contended, None))
    }

    /// A call of the login.
    async fn step<T, F>(
        &self,
        partition: Partition,
        id: OperationId,
        body: impl FnOnce(Arc<Call>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let call = self.store.begin("rotate", Some(id))?.by(self.deadline);
        call.enter(partition);
        // This applies to its reads too: if the login may have happened before, a server that does not answer
        // proves nothing.
        call.changes();
        self.store.observe(call, body).await
    }

    /// Imports the copy of a version, and returns the evicted sessions of the user. It replaces only an earlier copy of
    /// this login.
    async fn bring(&self, copy: Session, changes: RecentChanges, of: Version) -> Result<Vec<Removed>> {
        let import = Import::new(Export::new(copy, changes));
        let mut brought = self.import(import.clone().if_absent(), of).await;
        if let Err(Error::Refused(Refusal::Conflict { current })) = brought
            && self.is_own_copy(current).await?
        {
            brought = self.import(import.if_at(current), of).await;
        }
        brought.map_err(|error| match error {
            // Another session has the new id.
            Error::Refused(Refusal::Conflict { .. } | Refusal::Rotated { .. }) => {
                Error::Refused(Refusal::Exists)
            }
            error => error,
        })
    }

    async fn import(&self, import: Import, of: Version) -> Result<Vec<Removed>> {
        let body = |call: Arc<Call>| async move { commands::import::admit(&call, import).await };
        let imported = self.step(self.to, self.steps.copy(of), body).await;
        imported.map_err(|error| self.steps.unless_in_doubt(error))
    }

    /// Whether the session under the new id is a copy that this login imported, at that version.
    async fn is_own_copy(&self, version: Version) -> Result<bool> {
        let id = &self.new_id;
        let body = |call: Arc<Call>| async move { lookup::with_changes(&call, id).await };
        let found = self.step(self.to, self.operation, body).await?;
        Ok(found.is_some_and(|(session, changes)| {
            session.version == version && self.steps.is_copy(version, &changes)
        }))
    }

    async fn require_copy(&self) -> Result<()> {
        let id = &self.new_id;
        let read = |call: Arc<Call>| async move { lookup::current(&call, id).await };
        match self.step(self.to, self.operation, read).await? {
            Some((now, Record::Session { session, .. })) => require_copy(Some(session.times.expires_at), now),
            _ => require_copy(None, 0),
        }
    }

    async fn leave(&self, old: &dyn SessionRef, version: Version) -> Result<()> {
        let new_id = &self.new_id;
        let body =
            |call: Arc<Call>| async move { commands::delete::leave(&call, old, version, new_id).await };
        self.step(self.from, self.operation, body).await
    }

    /// Gives the session the connection that it had, if that is known, and its full idle time; returns it with the
    /// number of versions that the login made. A repeated login may have come this far before: it does not bind a
    /// session that was changed since the import.
    async fn complete(&self, copy: Option<Session>, was: IndexFields) -> Result<(Session, u64)> {
        let id = &self.new_id;
        let read = |call: Arc<Call>| async move { lookup::with_changes(&call, id).await };
        let (mut session, mut own_changes) = match copy {
            Some(copy) => (copy, 1),
            None => {
                let found = self.step(self.to, self.operation, read).await?;
                let (session, changes) = found.ok_or(Error::Refused(Refusal::Missing))?;
                let own_changes = self.steps.own_changes(session.version, &changes);
                (session, own_changes)
            }
        };
        if !was.connection.is_empty() && own_changes == 1 {
            let (binding, session_ref) = (Binding::new(&*was.connection).node(was.node), &session);
            let body =
                |call: Arc<Call>| async move { commands::bind::run(&call, session_ref, binding).await };
            match self.step(self.to, self.steps.binding(), body).await {
                Ok(_) => {
                    session.index_fields.connection = was.connection;
                    own_changes += 1;
                }
                // Another session of this partition has the connection by now, and keeps it.
                Err(Error::Refused(Refusal::Taken)) => {}
                Err(error) => return Err(error),
            }
        }
        let session = &session;
        let body = |call: Arc<Call>| async move { commands::refresh::extend(&call, session).await };
        let session = self.step(self.to, self.operation, body).await?;
        session.map(|session| (session, own_changes)).ok_or(Error::Refused(Refusal::Missing))
    }

    async fn rotated_by_another(&self, to: SessionId) -> Result<Rotated> {
        if self.store.config().rules.id_scheme == IdScheme::Token {
            return Err(Error::Refused(Refusal::Rotated { to: None }));
        }
        let body = |call: Arc<Call>| async move { lookup::session(&call, &to).await };
        let session = self.step(self.from, self.operation, body).await?;
        let session = session.ok_or(Error::Refused(Refusal::Missing))?;
        Ok(Rotated::by_another(session))
    }
}
