//! Sessions that live in this process while the store is away, and the logouts that the store must still
//! learn of.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::fallback::base::Base;
use crate::fallback::breaker::Breaker;
use crate::fallback::ledger::{Known, Ledger, Revocation, UserRevocation};
use crate::fallback::place::{Place, open};
use crate::fallback::reconciliation::Fate;
use crate::fallback::stale_cache::StaleCache;
use crate::fallback::upload::{Brought, Upload};
use crate::memory::ops::{create, delete_user, get, import, rotate, unbind};
use crate::memory::record::Record;
use crate::memory::store::MemoryStore;
use crate::model::{
    Created, Error, Explanation, Export, Import, NewSession, OperationId, Refusal, Removed, Result, Rotated,
    Rotation, SessionId, SessionRef, UserDeleted, ms,
};
use crate::store::session_store::SessionStore;

/// Sessions that live in this process while the store is away.
#[derive(Debug)]
pub(crate) struct LocalSessions {
    pub(crate) memory: MemoryStore,
    ttl: Duration,
    most_revocations: usize,
    stale_cache: Arc<StaleCache>,
    /// It is closed only with the ledger locked. Code that depends on it reads it with the ledger locked.
    breaker: Arc<Breaker>,
    /// Lock order: the ledger first, then shards of the memory. No lock is held across an await.
    ledger: Mutex<Ledger>,
    /// The session that calls wait for, because it changes faster than it can be written back.
    held: watch::Sender<Option<SessionId>>,
}

impl LocalSessions {
    pub(crate) fn new(
        memory: MemoryStore,
        ttl: Duration,
        most_revocations: usize,
        stale_cache: Arc<StaleCache>,
        breaker: Arc<Breaker>,
    ) -> Self {
        let (ledger, held) = (Mutex::default(), watch::Sender::default());
        Self { memory, ttl, most_revocations, stale_cache, breaker, ledger, held }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store has everything that is here.
    pub(crate) fn is_idle(&self) -> bool {
        self.memory.stored() == 0 && self.ledger().is_empty()
    }

    pub(crate) fn pending_revocations(&self) -> usize {
        self.ledger().pending_revocations()
    }

    /// Where an id leads here: to a session, or nowhere because the session was logged out here or rotated here, which
    /// the store may not know yet. `None`: ask the store.
    pub(crate) fn place(&self, id: &SessionId) -> Option<Place> {
        // The ledger stays locked for both questions. Otherwise a session that comes here and is rotated in between
        // would be nowhere.
        let ledger = self.ledger();
        if self.memory.holds(id) {
            return Some(Place::Local);
        }
        if !ledger.is_revoked(id) && self.memory.was_left(id) {
            return Some(Place::Left);
        }
        self.is_gone(&ledger, id).then_some(Place::Nowhere)
    }

    /// What became of an id here; `None`: ask the store.
    pub(crate) fn explain(&self, id: &SessionId) -> Option<Explanation> {
        let ledger = self.ledger();
        if ledger.is_revoked(id) {
            return Some(Explanation::Deleted);
        }
        match get::explain(&self.memory.call(None), id) {
            Explanation::Unknown => None,
            known => Some(known),
        }
    }

    fn is_gone(&self, ledger: &Ledger, id: &SessionId) -> bool {
        ledger.is_revoked(id) || self.memory.has_deleted(id)
    }

    /// Whether a session of the store has a connection here too; `None` if it is not here and was not logged out
    /// here.
    pub(crate) fn still_has(&self, id: &SessionId, connection: &str) -> Option<bool> {
        let ledger = self.ledger();
        let here = self.memory.led_to(ledger.here(id));
        let has_it = self.memory.look(&here, |record| record.connection.as_str() == connection);
        has_it.or_else(|| self.is_gone(&ledger, id).then_some(false))
    }

    /// Whether an id leads to a session that is here, if only for a delete.
    pub(crate) fn leads_here(&self, id: &SessionId) -> bool {
        let ledger = self.ledger();
        self.memory.holds(&self.memory.led_to(ledger.here(id)))
    }

    /// Takes in a session that was seen lately, and returns whether it is here now. It does not once the breaker is
    /// closed: the session may have been here and gone to the store.
    pub(crate) fn adopt(&self, id: &SessionId) -> Result<bool> {
        self.adopt_in(&mut self.ledger(), id)
    }

    fn adopt_in(&self, ledger: &mut Ledger, id: &SessionId) -> Result<bool> {
        if self.memory.holds(id) {
            return Ok(true);
        }
        // A session that was here before has expired here. It must not start again from an old copy.
        if self.breaker.is_closed() || ledger.is_revoked(id) || ledger.known.contains_key(id) {
            return Ok(false);
        }
        let Some((mut session, unsure)) = self.stale_cache.find_with_unsure(id) else {
            return Ok(false);
        };
        let is_revoked = ledger.revoked_users.iter().any(|revoked| {
            session.user() == Some(revoked.user.as_str()) && revoked.keep.as_ref() != Some(id)
        });
        if is_revoked {
            return Ok(false);
        }
        let base = Base { id: id.clone(), version: session.version(), unsure };
        let cap = self.memory.now_ms() + ms(self.ttl);
        session.times.expires_at = session.times.expires_at.min(cap);
        let import = Import::new(Export::new(session, Default::default())).if_absent();
        match self.memory.run_now("import", |call| import::run(call, &import)) {
            Ok(_) => {
                ledger.note(id, Known { base: Some(base), sent: None });
                // From here on the copy becomes outdated.
                self.stale_cache.forget(id);
                Ok(true)
            }
            Err(error @ Error::Refused(Refusal::Full { .. })) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Records that a change of a session may have happened in the store.
    pub(crate) fn note_unsure(&self, id: &SessionId, operation: OperationId) {
        let mut ledger = self.ledger();
        let here = ledger.here(id).clone();
        match ledger.known.get_mut(&here).and_then(|known| known.base.as_mut()) {
            Some(base) => base.unsure.push(operation),
            None => self.stale_cache.note_unsure(id, operation),
        }
    }

    /// Takes in the session that has a connection, as far as this process knows, before another session here
    /// gets the connection.
    pub(crate) fn adopt_holder(&self, connection: &str) -> Result<()> {
        let holder = self.stale_cache.find_by_connection(connection).filter(|_| !connection.is_empty());
        holder.map_or(Ok(()), |holder| self.adopt(holder.id()).map(drop))
    }

    /// Deletes a session here, by the ids that it has or had, and remembers to delete it in the store under all of
    /// them. Returns what it had, if it was here.
    pub(crate) fn revoke(&self, ids: &[SessionId]) -> Result<Option<Removed>> {
        let mut ledger = self.ledger();
        let (mut gone, mut had) = (HashSet::new(), None);
        for id in ids {
            let local = self.memory.led_to(ledger.here(id));
            let removed = |record: &Record| Removed::of(local.clone(), &record.index_fields());
            had = had.or_else(|| self.memory.look(&local, removed));
            gone.extend(ledger.known.get(&local).into_iter().flat_map(Known::ids).cloned());
            gone.extend([id.clone(), local]);
        }
        gone.retain(|id| !ledger.revoked.contains(id));
        self.make_room(&ledger, gone.len())?;
        for id in &gone {
            ledger.strike(id);
            self.memory.forget(id, |_| true);
        }
        ledger.revoked.extend(gone);
        Ok(had)
    }

    /// Deletes a user's sessions here, and remembers to delete those in the store.
    pub(crate) fn revoke_user(&self, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
        let mut ledger = self.ledger();
        self.make_room(&ledger, 1)?;
        // Sessions that were only seen lately are taken in first, so that they are deleted with the rest. If there is
        // no room, they are forgotten.
        for id in self.stale_cache.of_user(user, keep) {
            if self.adopt_in(&mut ledger, &id).is_err() {
                break;
            }
        }
        let kept = keep.map(|keep| self.memory.led_to(ledger.here(keep)));
        let done = self.memory.run_now("delete_user", |call| delete_user::run(&call, user, kept.as_ref()))?;
        // Before a login here, a session may have had no user in the store.
        ledger.revoke_all(&done.removed);
        let base = |id: &SessionId| Some(ledger.known.get(id)?.base.as_ref()?.id.clone());
        let keep = kept.map(|kept| base(&kept).unwrap_or(kept));
        ledger.revoked_users.push(UserRevocation { user: user.to_owned(), keep });
        Ok(done)
    }

    fn make_room(&self, ledger: &Ledger, more: usize) -> Result<()> {
        if ledger.pending_revocations() + more > self.most_revocations {
            return Err(open());
        }
        Ok(())
    }

    /// Makes a session here, under an id that its store accepts, through that store's handle for the
    /// operation.
    pub(crate) fn create(
        &self,
        mut new: NewSession,
        operation: Option<OperationId>,
        store: &dyn SessionStore,
    ) -> Result<Created> {
        let id = new.settle_id(|user| store.new_id(user)).clone();
        store.check_id(&id, new.wanted_user(), None)?;
        self.adopt(&id)?;
        self.adopt_holder(new.wanted_connection())?;
        let mut ledger = self.ledger();
        if ledger.is_revoked(&id) {
            return Err(Error::Refused(Refusal::Gone));
        }
        let was_here = self.memory.holds(&id);
        let created = self.memory.run_as("create", operation, |call| create::run(call, new))?;
        // An expired session that had this id here is not this one's past.
        if !was_here {
            ledger.give_up(&id);
        }
        ledger.revoke_all(&created.evicted);
        Ok(created)
    }

    /// Makes many sessions, as if each were made alone.
    pub(crate) fn create_many(
        &self,
        new: Vec<NewSession>,
        operation: Option<OperationId>,
        store: &dyn SessionStore,
    ) -> Vec<Result<Created>> {
        let create = |(place, new)| match operation.map(|operation| operation.nth(place)) {
            Some(nth) => self.create(new, Some(nth), &*store.with_operation_id(nth)),
            None => self.create(new, None, store),
        };
        new.into_iter().enumerate().map(create).collect()
    }

    /// Rotates a session here. From then on the id that the store knows leads to it only through the
    /// ledger.
    pub(crate) fn rotate(
        &self,
        session: &dyn SessionRef,
        mut rotation: Rotation,
        operation: Option<OperationId>,
        store: &dyn SessionStore,
    ) -> Result<Rotated> {
        // A rotation that keeps the user keeps the partition too.
        let user = rotation.named_user().to_owned();
        let near = if user.is_empty() { session.id().as_str() } else { &user };
        let new_id = rotation.new_id.get_or_insert_with(|| store.new_id(near));
        store.check_id(&new_id.id, &user, Some(session.id()))?;
        let mut ledger = self.ledger();
        let old = self.memory.led_to(session.id());
        let rotated = self.memory.run_as("rotate", operation, |call| rotate::run(call, session, rotation))?;
        ledger.rotated(&old, rotated.session.id());
        ledger.revoke_all(&rotated.evicted);
        Ok(rotated)
    }

    /// Detaches a connection here; `None`: the session is not here.
    pub(crate) fn unbind(
        &self,
        session: &dyn SessionRef,
        connection: &str,
        operation: Option<OperationId>,
    ) -> Result<Option<bool>> {
        self.memory.run_as("unbind", operation, |call| unbind::run(call, session, connection))
    }

    pub(crate) fn next_revocation(&self) -> Option<Revocation> {
        self.ledger().next_revocation()
    }

    pub(crate) fn forget(&self, revocation: &Revocation) {
        self.ledger().forget(revocation);
    }

    /// Runs a function if no logout is left to apply, and lets none come in between.
    pub(crate) fn unless_pending(&self, then: impl FnOnce()) -> bool {
        let ledger = self.ledger();
        let none = ledger.pending_revocations() == 0;
        if none {
            then();
        }
        none
    }

    /// The ids of all sessions that the store does not have, or may not have.
    pub(crate) fn ids(&self) -> HashSet<SessionId> {
        let ledger = self.ledger();
        self.memory.ids().into_iter().chain(ledger.known.keys().cloned()).collect()
    }

    /// The next upload of a session: the one that was sent before and not answered, or its present state. None: it is
    /// not here, or has another id now.
    pub(crate) fn next_upload(&self, id: &SessionId) -> Option<Arc<Upload>> {
        let mut ledger = self.ledger();
        let export = self.export(id).filter(|export| export.session().id() == id)?;
        let known = ledger.strike(id).unwrap_or_default();
        let next = || Arc::new(Upload::next(export, known.base.as_ref()));
        let upload = known.sent.clone().unwrap_or_else(next);
        ledger.note(id, Known { sent: Some(upload.clone()), ..known });
        Some(upload)
    }

    pub(crate) fn connection(&self, id: &SessionId) -> Option<String> {
        self.memory.record(id)?.connection.get().map(|connection| connection.to_string())
    }

    /// A step that takes the connection from a session in the store, for another to get it there.
    pub(crate) fn step_aside(&self, id: &SessionId) -> Option<Arc<Upload>> {
        let mut ledger = self.ledger();
        let export = self.export(id).filter(|export| export.session().id() == id)?;
        let known = ledger.known.get(id).filter(|known| known.sent.is_none())?;
        let upload = Arc::new(Upload::aside(export, known.base.as_ref()?)?);
        let base = known.base.clone();
        ledger.note(id, Known { base, sent: Some(upload.clone()) });
        Some(upload)
    }

    /// The id that a session has here now, if it was rotated on its way to the store.
    pub(crate) fn moved(&self, id: &SessionId) -> Option<SessionId> {
        let ledger = self.ledger();
        Some(ledger.here(id)).filter(|here| *here != id).cloned()
    }

    /// Records the store's answer. Returns the fate of the session and its id, if that was the end of it; otherwise
    /// there is more to send.
    pub(crate) fn answered(&self, upload: &Arc<Upload>, brought: Brought) -> Option<(SessionId, Fate)> {
        let mut ledger = self.ledger();
        let id = ledger.here(&upload.id).clone();
        let is_answered = |known: &Known| known.sent.as_ref().is_some_and(|sent| Arc::ptr_eq(sent, upload));
        // Otherwise it was logged out meanwhile, and the store learns of that next.
        ledger.known.get(&id).filter(|known| is_answered(known))?;
        let known = ledger.strike(&id).unwrap_or_default().after(upload, &brought);
        ledger.note(&id, known);
        let is_as_sent = |record: &Record| id == upload.id && upload.is_of(record);
        match brought {
            Brought::Ours(version) => {
                self.memory.raise(&id, version);
                None
            }
            Brought::There(_) if upload.is_rotation() => None,
            Brought::There(version) => self.memory.forget(&id, is_as_sent).then(|| {
                ledger.strike(&id);
                self.stale_cache.replace(upload.session(), version);
                (id, Fate::Imported)
            }),
            // The refused state may no longer be the one here.
            _ if upload.is_rotation()
                || self.memory.record(&id).is_some_and(|record| is_as_sent(&record)) =>
            {
                brought.fate().map(|fate| (id, fate))
            }
            _ => None,
        }
    }

    /// Gives up a session that the store refuses.
    pub(crate) fn lose(&self, id: &SessionId) -> bool {
        self.let_go(id, |_| true)
    }

    /// Gives up a session that has expired here.
    pub(crate) fn lapse(&self, id: &SessionId) -> bool {
        let now = self.memory.now_ms();
        self.let_go(id, |record| record.expires_at <= now)
    }

    fn let_go(&self, id: &SessionId, is_due: impl Fn(&Record) -> bool) -> bool {
        let mut ledger = self.ledger();
        let was_here = self.memory.forget(id, is_due);
        if !was_here && self.memory.holds(id) {
            return false;
        }
        ledger.give_up(id) || was_here
    }

    /// The session as the store should have it: with the time that its own ttl gives it.
    fn export(&self, id: &SessionId) -> Option<Export> {
        let export = self.memory.run_now("export", |call| import::export(&call, id)).ok().flatten()?;
        let Export { mut session, changes } = export;
        let times = &mut session.times;
        times.expires_at = times.last_active + ms(session.ttl);
        if times.deadline > 0 {
            times.expires_at = times.expires_at.min(times.deadline);
        }
        Some(Export::new(session, changes))
    }

    /// Makes calls on a session wait until the returned value is dropped.
    pub(crate) fn hold(&self, id: &SessionId) -> Hold<'_> {
        self.held.send_replace(Some(id.clone()));
        Hold(&self.held)
    }

    /// Waits if calls on this session must wait. Returns whether it waited: then the session may be
    /// elsewhere now.
    pub(crate) async fn wait(&self, id: &SessionId) -> bool {
        let mut held = self.held.subscribe();
        let is_free = |held: &Option<SessionId>| {
            held.as_ref().is_none_or(|held| held != id && *held != self.memory.led_to(id))
        };
        if is_free(&held.borrow()) {
            return false;
        }
        // The sender lives here.
        held.wait_for(is_free).await.is_ok()
    }
}

/// Calls on a session wait while this value lives.
#[must_use]
pub(crate) struct Hold<'a>(&'a watch::Sender<Option<SessionId>>);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}
