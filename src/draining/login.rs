//! A login goes to the new store. If the session is in the old store, the login is three calls, because no script
//! reaches two stores. Each can be repeated under the operation id of the login.
//!
//! 1. A copy is imported into the new store under a new id, with the user. It lives a minute at most, and nobody knows
//!    its id. No connection leads to it yet.
//! 2. The old store gives up the old id, at the version that was copied. This is the moment of the login: before it the
//!    old session is as it was, after it the copy is the session.
//! 3. The session gets its connection, if it had one, and its whole idle time.
//!
//! `redis/login.rs` does the same between two partitions. There the first step applies the limit.

use std::time::Instant;

use crate::draining::store::DrainingStore;
use crate::model::login_steps::{COPY_LIVES, LoginSteps, ROUNDS, TIME_TO_LEAVE, copy_of, require_copy};
use crate::model::{
    Binding, Error, Export, Fate, Import, IndexFields, Leaving, NewId, Obstacle, OperationId, Refusal,
    Result, Rotated, Rotation, Session, SessionId, SessionRef, Status, Token, Version,
};
use crate::store::session_store::SessionStore;

impl DrainingStore {
    pub(crate) async fn log_in(&self, session: &dyn SessionRef, rotation: Rotation) -> Result<Rotated> {
        rotation.check(self.new.rules())?;
        let operation = self.operation_id.unwrap_or_else(OperationId::random);
        let (store, user) = (self.under(operation), rotation.named_user().to_owned());
        if store.has_limit() {
            let now = store.get(session.id()).await?;
            if now.is_some_and(|now| now.user() != Some(&*user)) {
                store.require_room(&user).await?;
            }
        }
        let here = store.new_calls.rotate(session, rotation.clone()).await;
        let is_elsewhere = match &here {
            Err(Error::Refused(Refusal::Missing)) => true,
            // A login that happened left a trace under the old id.
            unsure if store.proves_nothing(unsure) => {
                matches!(store.new.fate(session.id()).await, Ok(Fate::Unknown))
            }
            _ => false,
        };
        let mut rotated = match here {
            Err(_) if is_elsewhere => {
                let new_id = rotation.new_id.clone().unwrap_or_else(|| store.new_calls.new_id(&user));
                let NewId { id: new_id, token } = new_id;
                let login = Login { store: &store, old: session, new_id, token, rotation, operation };
                login.run().await.map_err(|error| error.under(operation).under_given(Some(operation)))?
            }
            here => here?,
        };
        if !rotated.by_another {
            let evicted = store.evict(&user, rotated.session.id()).await;
            rotated.evicted.extend(
                evicted.map_err(|error| LoginSteps { login: operation }.happened(error).under(operation))?,
            );
        }
        Ok(rotated)
    }
}

struct Login<'a> {
    store: &'a DrainingStore,
    old: &'a dyn SessionRef,
    new_id: SessionId,
    token: Option<Token>,
    rotation: Rotation,
    operation: OperationId,
}

impl Login<'_> {
    async fn run(&self) -> Result<Rotated> {
        for _ in 0..ROUNDS {
            let (mut copy, mut was) = (None, self.old.hint().index_fields());
            let exported = match self.store.old.export(self.old.id()).await {
                Err(Error::Refused(Refusal::Rotated { .. })) => None,
                exported => exported?,
            };
            let left = match exported {
                Some(export) if export.session.status == Status::Migrating => {
                    return Err(Error::Refused(Refusal::Frozen));
                }
                // This is no login but a new id for the same user, so it needs no other store.
                Some(export) if export.session.index_fields.user == self.rotation.named_user() => {
                    return self.rotate_there().await;
                }
                Some(export) if export.session.id != *self.old.id() => return self.rotate_there().await,
                Some(export) => {
                    let (session, began) = (export.session.clone(), Instant::now());
                    was = session.index_fields.clone();
                    copy = Some(self.bring(export).await?);
                    self.require_copy(began).await?;
                    self.leave(&session, session.version).await
                }
                // This very login may have given up the session. No session is at version 0.
                None => self.leave(self.old, Version::new(0)).await,
            };
            match left {
                Ok(()) => {
                    let completed = self.complete(copy, was).await;
                    let (session, own_changes) = completed.map_err(|error| self.steps().happened(error))?;
                    let (token, evicted) = (self.token.clone(), Vec::new());
                    return Ok(Rotated { session, token, evicted, by_another: false, own_changes });
                }
                // It changed since it was copied.
                Err(Error::Refused(Refusal::Conflict { .. })) => {}
                Err(Error::Refused(Refusal::Rotated { to: Some(_) })) => return self.rotate_there().await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::obstacle(Obstacle::Contended, None))
    }

    async fn rotate_there(&self) -> Result<Rotated> {
        self.store.old_calls.rotate(self.old, self.rotation.clone()).await
    }

    /// Imports the copy of a version. It replaces only an earlier copy of this login.
    async fn bring(&self, export: Export) -> Result<Session> {
        let Export { session: copied, changes } = export;
        let now = self.store.new.now().await?;
        let session = copy_of(&copied, &self.new_id, &self.rotation, self.store.new.rules(), now)?;
        let import = Import::new(Export::new(session.clone(), changes))
            .operation_id(self.steps().copy(copied.version));
        let mut brought = self.store.new.import(import.clone().if_absent()).await;
        if let Err(Error::Refused(Refusal::Conflict { current })) = brought
            && self.is_own_copy(current).await?
        {
            brought = self.store.new.import(import.if_at(current)).await;
        }
        match brought {
            Ok(_) => Ok(session),
            // Another session has the new id.
            Err(Error::Refused(Refusal::Conflict { .. } | Refusal::Rotated { .. })) => {
                Err(Error::Refused(Refusal::Exists))
            }
            Err(error) => Err(self.steps().unless_in_doubt(error)),
        }
    }

    fn steps(&self) -> LoginSteps {
        LoginSteps { login: self.operation }
    }

    /// Whether the session under the new id is a copy that this login imported, at that version.
    async fn is_own_copy(&self, version: Version) -> Result<bool> {
        let found = self.store.new.export(&self.new_id).await?;
        Ok(found.is_some_and(|found| {
            found.session.version == version && self.steps().is_copy(version, &found.changes)
        }))
    }

    /// Requires that the copy still lives before the login gives up the old id. The copy of an earlier attempt,
    /// or of a process that stood still, may have expired.
    async fn require_copy(&self, began: Instant) -> Result<()> {
        if self.store.is_repeat() {
            let copy = self.store.new.get(&self.new_id).await?;
            let now = self.store.new.now().await?;
            require_copy(copy.map(|copy| copy.times.expires_at), now)?;
        }
        if began.elapsed() > COPY_LIVES - TIME_TO_LEAVE {
            return Err(Error::obstacle(Obstacle::Deadline, None));
        }
        Ok(())
    }

    async fn leave(&self, old: &dyn SessionRef, version: Version) -> Result<()> {
        let mut leaving = Leaving::new(version, self.new_id.clone()).operation_id(self.operation);
        leaving.identity.clone_from(&self.store.identity);
        self.store.old.leave(old, leaving).await
    }

    /// Gives the session the connection that it had, if that is known, and its full idle time; returns it with the
    /// number of versions that the login made. A repeated login may have come this far before: it does not bind a
    /// session that was changed since the import.
    async fn complete(&self, copy: Option<Session>, was: IndexFields) -> Result<(Session, u64)> {
        let mut own_changes = match copy {
            Some(_) => 1,
            None => {
                let found = self.store.new.export(&self.new_id).await?;
                let found = found.ok_or(Error::Refused(Refusal::Missing))?;
                self.steps().own_changes(found.session.version, &found.changes)
            }
        };
        if !was.connection.is_empty() && own_changes == 1 {
            let binding = Binding::new(&*was.connection).node(was.node);
            let bind = self.store.new_calls.with_operation_id(self.steps().binding());
            match bind.bind(&self.new_id, binding).await {
                Ok(_) => own_changes += 1,
                // Another session of the new store has the connection by now, and keeps it.
                Err(Error::Refused(Refusal::Taken)) => {}
                Err(error) => return Err(error),
            }
        }
        let session = self.store.new.extend(&self.new_id).await?;
        session.map(|session| (session, own_changes)).ok_or(Error::Refused(Refusal::Missing))
    }
}
