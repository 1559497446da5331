//! The task that finds out when the store is back, and writes back what was kept meanwhile.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::fallback::breaker::{Access, BreakerState};
use crate::fallback::coordinator::Coordinator;
use crate::fallback::ledger::{Revocation, UserRevocation};
use crate::fallback::local_sessions::LocalSessions;
use crate::fallback::reconciliation::{Fate, Reconciled};
use crate::fallback::upload::Brought;
use crate::model::{Error, IdScheme, NewSession, Obstacle, OperationId, Patch, Refusal, Result, SessionId};

/// How long the session of a probe lives, if the probe cannot delete it.
const PROBE_TTL: Duration = Duration::from_secs(10);

/// Works until the store is back and has everything that was kept, or until no handle is left.
pub(crate) fn spawn(coordinator: &Arc<Coordinator>) {
    tokio::spawn(reconcile(Turn { coordinator: Arc::downgrade(coordinator), is_over: false }));
}

/// The turn of a task, while it works. A task that ends with its runtime leaves the work to another.
struct Turn {
    coordinator: Weak<Coordinator>,
    is_over: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let (false, Some(coordinator)) = (self.is_over, self.coordinator.upgrade()) {
            coordinator.abandon();
        }
    }
}

async fn reconcile(mut turn: Turn) {
    let weak = turn.coordinator.clone();
    let mut summary = Reconciled::default();
    let mut probe = probe_id();
    while let Some(coordinator) = weak.upgrade().filter(|coordinator| !coordinator.is_closed()) {
        if coordinator.breaker.is_closed() {
            let uploaded = coordinator.upload_all(&mut summary).await;
            if uploaded.is_ok() && coordinator.may_rest() {
                turn.is_over = true;
                if !summary.is_empty() {
                    coordinator.options.on_reconciled.call(&summary);
                }
                return;
            }
            if uploaded.is_ok() {
                continue;
            }
        }
        let cool_down = coordinator.options.cool_down;
        drop(coordinator);
        tokio::time::sleep(cool_down).await;
        if let Some(coordinator) = weak.upgrade().filter(|coordinator| !coordinator.breaker.is_closed()) {
            coordinator.half_open(&mut probe, &mut summary).await;
        }
    }
}

/// All probes of one outage use the same id until one works, so they leave at most one session behind.
fn probe_id() -> SessionId {
    let id = IdScheme::default().random().id;
    SessionId::new(format!("cloakroom-probe-{}", id.as_str())).unwrap_or(id)
}

impl Coordinator {
    /// Probes, and closes the breaker when the store is back and has applied all logouts.
    async fn half_open(self: &Arc<Self>, probe: &mut SessionId, summary: &mut Reconciled) {
        self.breaker.set(BreakerState::HalfOpen);
        self.counters.probes.add_one();
        let back = match tokio::time::timeout(self.options.probe_timeout, self.probe(probe)).await {
            Ok(Ok(())) => self.tell_and_close(summary).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::obstacle(Obstacle::Deadline, None)),
        };
        match back {
            Ok(()) => tracing::info!("the store is back: the circuit breaker closes"),
            Err(error) => {
                tracing::debug!(%error, "the store is still away");
                self.breaker.set(BreakerState::Open);
            }
        }
    }

    /// Makes a session and deletes it again, because a server may answer reads and refuse writes.
    async fn probe(&self, id: &mut SessionId) -> Result<()> {
        match self.store.create(NewSession::new().id(id.clone()).ttl(PROBE_TTL)).await {
            Ok(_) => {}
            // An earlier probe left it.
            Err(Error::Refused(Refusal::Exists)) => {
                let nonce = OperationId::random();
                self.store.patch(&*id, Patch::new().set("probe", &format!("{nonce:?}"))?).await?;
            }
            // An earlier probe deleted it. This answer needs no write.
            Err(Error::Refused(Refusal::Gone)) => {
                *id = probe_id();
                self.store.create(NewSession::new().id(id.clone()).ttl(PROBE_TTL)).await?;
            }
            Err(error) => return Err(error),
        }
        self.store.delete(&*id).await.map(drop)
    }

    async fn tell_and_close(&self, summary: &mut Reconciled) -> Result<()> {
        let close = || self.breaker.set(BreakerState::Closed);
        let Some(local) = &self.local else {
            close();
            return Ok(());
        };
        loop {
            self.tell(local, summary).await?;
            if local.unless_pending(close) {
                return Ok(());
            }
        }
    }

    /// Applies logouts to the store until none is left.
    async fn tell(&self, local: &LocalSessions, summary: &mut Reconciled) -> Result<()> {
        while let Some(revocation) = local.next_revocation() {
            match &revocation {
                Revocation::User(UserRevocation { user, keep }) => {
                    ignore_refusals(self.store.delete_user(user, keep.as_ref()).await)?;
                }
                Revocation::Session(id) => ignore_refusals(self.store.delete(id).await)?,
            }
            local.forget(&revocation);
            summary.revoked += 1;
            self.counters.revoked.add_one();
        }
        Ok(())
    }

    /// Writes all sessions that are here back to the store. Calls on a session that is still here go on
    /// here meanwhile.
    async fn upload_all(self: &Arc<Self>, summary: &mut Reconciled) -> Result<()> {
        let Some(local) = &self.local else {
            return Ok(());
        };
        while !local.is_idle() {
            // Without a logout to apply, this proves nothing about the store.
            if local.next_revocation().is_some() {
                self.through(Access::Write, self.tell(local, summary)).await?;
            }
            let mut ids: Vec<SessionId> = local.ids().into_iter().collect();
            // A session that lost a connection here to another must go first, but they come in any order.
            while !ids.is_empty() {
                let (before, mut taken) = (ids.len(), Vec::new());
                for id in ids {
                    match self.bring(local, id).await? {
                        (id, Fate::Conflict(Refusal::Taken)) => taken.push(id),
                        (id, fate) => self.record_fate(local, id, fate, summary),
                    }
                }
                if taken.len() == before && !self.make_way(local, &taken).await? {
                    for id in taken {
                        self.record_fate(local, id, Fate::Conflict(Refusal::Taken), summary);
                    }
                    break;
                }
                ids = taken;
            }
        }
        Ok(())
    }

    fn record_fate(&self, local: &LocalSessions, id: SessionId, fate: Fate, summary: &mut Reconciled) {
        let is_settled = match fate {
            Fate::Imported => true,
            Fate::Expired => local.lapse(&id),
            Fate::Dropped | Fate::Conflict(_) => local.lose(&id),
        };
        // A session that was logged out on its way is handled as a logout; one that has another id now is
        // uploaded under that.
        if is_settled {
            self.note(&fate);
            summary.note(id, fate);
        }
    }

    fn note(&self, fate: &Fate) {
        let tally = match fate {
            Fate::Imported => &self.counters.imported,
            Fate::Dropped | Fate::Expired => &self.counters.dropped,
            Fate::Conflict(_) => &self.counters.conflicts,
        };
        tally.add_one();
    }

    /// If sessions wait for each other's connections, one that was changed twice gives its own back first.
    async fn make_way(self: &Arc<Self>, local: &LocalSessions, waiting: &[SessionId]) -> Result<bool> {
        let mut is_made = false;
        for id in waiting {
            let Some(connection) = local.connection(id) else {
                continue;
            };
            let holder = self.through(Access::Read, self.store.session_by_connection(&connection)).await?;
            let holder = holder.filter(|holder| waiting.contains(holder.id()));
            if let Some(upload) = holder.and_then(|holder| local.step_aside(holder.id())) {
                let brought = self.through(Access::Write, upload.send(&*self.store)).await?;
                is_made |= matches!(brought, Brought::There(_));
                local.answered(&upload, brought);
            }
        }
        Ok(is_made)
    }

    /// Writes one session back to the store, and repeats while it changes here. It may end under another
    /// id.
    async fn bring(self: &Arc<Self>, local: &LocalSessions, mut id: SessionId) -> Result<(SessionId, Fate)> {
        let mut hold = None;
        loop {
            let Some(upload) = local.next_upload(&id) else {
                match local.moved(&id) {
                    Some(to) => id = to,
                    None => return Ok((id, Fate::Expired)),
                }
                continue;
            };
            let brought = self.through(Access::Write, upload.send(&*self.store)).await?;
            if let Some(end) = local.answered(&upload, brought) {
                return Ok(end);
            }
            // It changes faster than it can be sent: from now on, calls on it wait.
            id = local.moved(&id).unwrap_or(id);
            drop(hold.take());
            hold = Some(local.hold(&id));
        }
    }
}

/// A logout that the store refuses must not hold up the others.
fn ignore_refusals<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error @ (Error::Corrupt { .. } | Error::Refused(_) | Error::Invalid(_))) => {
            tracing::warn!(%error, "the store refused a logout");
            Ok(())
        }
        result => result.map(drop),
    }
}
