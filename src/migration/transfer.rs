//! One session on its way from one store to the other.
//!
//! Each step is one script, which may run again, by whomever: what a step answers tells where the session is, never what
//! this process remembers. `depart` decides. Before it the session may be thawed or go on; after it, it only goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::migration::retry::Retry;
use crate::model::{
    Direction, Error, Freezing, Frozen, Import, Leftover, Migration, Phase, Refusal, Result, Session,
    SessionId, Status, TaskId,
};
use crate::store::Store;

/// One of the two stores, and what it is called in the other.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) place: String,
}

/// The way of sessions from one store to the other.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) source: End,
    pub(crate) target: End,
    /// How long a session is frozen at most.
    pub(crate) freeze: Duration,
    pub(crate) lost_source: LostSource,
}

/// What becomes of a copy that waits at its target when its source has lost what it knew: a server that restarted without
/// persistence or was flushed, a [`MemoryStore`](crate::MemoryStore) whose process has ended.
///
/// A source that ended the session leaves word for as long as a copy could be stored. One that knows nothing of it has lost
/// it, and the copy may be all that is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostSource {
    /// The copy becomes the session. A store that loses what it acknowledged loses deletes with it, as a failover does: one
    /// that was deleted at its source just before lives on.
    #[default]
    Keep,
    /// The copy stays as it is, frozen: it can be read and deleted, and goes when it expires. Each resumption reports it as
    /// [`Unclaimed`](Outcome::Unclaimed), until one keeps it.
    Report,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in the other store now, or at the other node.
    Arrived,
    /// It is where it was, and can be changed there again.
    Stayed,
    /// There is no such session: it was deleted or has expired, before or meanwhile.
    Missing,
    /// It went from its node to a third one meanwhile, or to none, for its client did; there it was left.
    Elsewhere,
    /// Its source has lost what it knew of it, and a frozen copy waits in the other store, as
    /// [`LostSource::Report`] wants it.
    Unclaimed,
}

/// A session at the end of its way. What the migration left there is cleared away once somebody was told: until then
/// whoever resumes finds it, and tells again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Arrival {
    pub(crate) id: SessionId,
    pub(crate) outcome: Outcome,
    /// By which it came here, if not by the one that was submitted.
    task: TaskId,
    left: Vec<Leftover>,
}

impl Arrival {
    fn new(id: &SessionId, task: TaskId, outcome: Outcome, left: impl Into<Vec<Leftover>>) -> Self {
        Self { id: id.clone(), outcome, task, left: left.into() }
    }
}

impl Transfer {
    /// A session is frozen meanwhile, so a step is not tried for as long as that lasts.
    pub(crate) fn retry(&self) -> Retry {
        Retry::of(self.freeze / 3)
    }

    /// Takes a session from the source to the target, and to a node there if one is named. Where it cannot, it stays, and
    /// the error says why.
    pub(crate) async fn carry(&self, id: &SessionId, task: TaskId, node: Option<&str>) -> Result<Arrival> {
        let retry = self.retry();
        let source = &self.source.store;
        let freezing =
            Freezing::new(task, &self.target.place).span(self.freeze).node(node.unwrap_or_default());
        let frozen = match retry.with(|| source.freeze(id, freezing.clone())).await {
            Ok(frozen) => frozen,
            Err(Error::Refused(Refusal::Missing | Refusal::Rotated { to: None })) => {
                return self.absent(&retry, id, task).await;
            }
            Err(Error::Refused(Refusal::Departed { place })) => return self.gone(id, task, place).await,
            Err(error) => return Err(error),
        };
        let Frozen { export, until_ms } = frozen;
        let session = export.session().clone();
        let import = Import::new(export).incoming(task, until_ms, self.source.place.as_str());
        let import = if let Some(node) = node { import.node(node) } else { import };
        match self.cross(&retry, import, &session, task, until_ms).await {
            Ok(true) => self.arrive(session.id(), task).await,
            Ok(false) => self.turn_back(session.id(), task, Some(until_ms)).await,
            Err(error) => {
                let arrival = self.turn_back(session.id(), task, Some(until_ms)).await?;
                if arrival.outcome == Outcome::Stayed {
                    self.clean_up(&arrival).await?;
                    return Err(error);
                }
                Ok(arrival)
            }
        }
    }

    /// The copy comes in, and the session departs.
    async fn cross(
        &self,
        retry: &Retry,
        import: Import,
        session: &Session,
        task: TaskId,
        until_ms: u64,
    ) -> Result<bool> {
        // Missing: by the clock there it has expired.
        retry.with(|| self.target.store.import(import.clone())).await?;
        retry.with(|| self.source.store.depart(session, task, until_ms)).await
    }

    /// It is not at its source: nowhere, or moved so long ago that nothing says so, or the source lost it.
    async fn absent(&self, retry: &Retry, id: &SessionId, task: TaskId) -> Result<Arrival> {
        match retry.with(|| self.target.store.migration(id)).await {
            Ok(Some(Migration { task, place, phase: Phase::Incoming { until_ms }, .. }))
                if place == self.source.place =>
            {
                self.turn_back(id, task, Some(until_ms)).await
            }
            Ok(_) | Err(Error::Refused(_)) => self.is_there(retry, id, task).await,
            Err(error) => Err(error),
        }
    }

    /// It is in the other store, for all that it is not here; or nowhere.
    async fn is_there(&self, retry: &Retry, id: &SessionId, task: TaskId) -> Result<Arrival> {
        let outcome = match retry.with(|| self.target.store.get_fresh(id)).await {
            Ok(Some(session)) if session.status() != Status::Migrating => Outcome::Arrived,
            Ok(_) | Err(Error::Refused(_)) => Outcome::Missing,
            Err(error) => return Err(error),
        };
        Ok(Arrival::new(id, task, outcome, []))
    }

    /// It was gone before it could be frozen: by this task, which then goes on, or by another.
    async fn gone(&self, id: &SessionId, task: TaskId, place: String) -> Result<Arrival> {
        if self.has_departed(id, task).await? {
            return self.arrive(id, task).await;
        }
        if place == self.target.place {
            return Ok(Arrival::new(id, task, Outcome::Arrived, []));
        }
        Err(Error::Refused(Refusal::Departed { place }))
    }

    async fn has_departed(&self, id: &SessionId, task: TaskId) -> Result<bool> {
        let retry = self.retry();
        let migration = retry.with(|| self.source.store.migration(id)).await?;
        Ok(migration.is_some_and(|it| it.task == task && it.phase == Phase::Departed))
    }

    /// The session has departed, so the copy becomes the session.
    pub(crate) async fn arrive(&self, id: &SessionId, task: TaskId) -> Result<Arrival> {
        let retry = self.retry();
        match retry.with(|| self.target.store.thaw(id, task, Direction::Incoming)).await {
            Ok(_) => {}
            Err(Error::Refused(Refusal::Missing)) => {
                return Ok(Arrival::new(id, task, Outcome::Missing, [Leftover::Departed, Leftover::Deleted]));
            }
            // It was thawed before, and has gone on since: to another id, or to another store.
            Err(Error::Refused(Refusal::Rotated { .. } | Refusal::Departed { .. } | Refusal::Frozen)) => {}
            Err(error) => return Err(error),
        }
        Ok(Arrival::new(id, task, Outcome::Arrived, [Leftover::Departed]))
    }

    /// The session stays, unless it has departed by now. `until_ms` is the freeze under which a copy of it may be there.
    pub(crate) async fn turn_back(
        &self,
        id: &SessionId,
        task: TaskId,
        until_ms: Option<u64>,
    ) -> Result<Arrival> {
        let retry = self.retry();
        let thawed = retry.with(|| self.source.store.thaw(id, task, Direction::Outgoing)).await;
        let outcome = match thawed {
            Err(Error::Refused(Refusal::Departed { .. })) if self.has_departed(id, task).await? => {
                return self.arrive(id, task).await;
            }
            Err(Error::Refused(Refusal::Missing)) => Outcome::Missing,
            Ok(_) | Err(Error::Refused(_)) => Outcome::Stayed,
            Err(error) => return Err(error),
        };
        // From here on nobody departs under that freeze.
        let there = retry.with(|| self.target.store.migration(id)).await;
        let there = match there {
            Ok(there) => there.filter(|it| it.task == task),
            // What is there is not of this task.
            Err(Error::Refused(_) | Error::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        if there.as_ref().is_some_and(|it| it.phase == Phase::Deleted) {
            return self.delete(id, task).await;
        }
        if outcome == Outcome::Missing && !retry.with(|| self.source.store.knows(id)).await? {
            return match there {
                Some(_) => self.claim(id, task).await,
                None => self.is_there(&retry, id, task).await,
            };
        }
        let left = until_ms.map(|until_ms| Leftover::Copy { until_ms });
        Ok(Arrival::new(id, task, outcome, left.as_slice()))
    }

    /// A copy whose source has lost what it knew: nobody departs there any more.
    async fn claim(&self, id: &SessionId, task: TaskId) -> Result<Arrival> {
        match self.lost_source {
            LostSource::Keep => self.arrive(id, task).await,
            LostSource::Report => Ok(Arrival::new(id, task, Outcome::Unclaimed, [])),
        }
    }

    /// The copy was deleted before it became the session: a delete wins, so the session goes too.
    pub(crate) async fn delete(&self, id: &SessionId, task: TaskId) -> Result<Arrival> {
        let retry = self.retry();
        match retry.with(|| self.source.store.delete(id)).await {
            Err(Error::Refused(Refusal::Departed { .. })) if self.has_departed(id, task).await? => {
                return self.arrive(id, task).await;
            }
            Ok(_) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(Arrival::new(id, task, Outcome::Missing, [Leftover::Deleted]))
    }

    /// Clears away what is left at the end of a way.
    pub(crate) async fn clean_up(&self, arrival: &Arrival) -> Result<()> {
        let retry = self.retry();
        let (id, task) = (&arrival.id, arrival.task);
        for left in &arrival.left {
            let end = match left {
                Leftover::Departed => &self.source,
                Leftover::Deleted | Leftover::Copy { .. } => &self.target,
            };
            let cleaned = retry.with(|| end.store.clean(id, task, *left)).await?;
            // It was deleted since somebody looked: then that wins.
            if !cleaned && matches!(left, Leftover::Copy { .. }) {
                self.heed_delete(id, task).await?;
            }
        }
        Ok(())
    }

    async fn heed_delete(&self, id: &SessionId, task: TaskId) -> Result<()> {
        let retry = self.retry();
        let there = retry.with(|| self.target.store.migration(id)).await?;
        if there.is_some_and(|it| it.task == task && it.phase == Phase::Deleted) {
            match retry.with(|| self.source.store.delete(id)).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            retry.with(|| self.target.store.clean(id, task, Leftover::Deleted)).await?;
        }
        Ok(())
    }

    /// Brings a session to its end that is on its way by the word of its source.
    pub(crate) async fn resume_outgoing(&self, migration: &Migration) -> Result<Arrival> {
        let (id, task) = (&migration.id, migration.task);
        match migration.phase {
            Phase::Departed => self.arrive(id, task).await,
            Phase::Outgoing { until_ms } => match self.source.store.migration(id).await? {
                Some(now) if now.task == task && now.phase == migration.phase => {
                    self.carry(id, task, now.node.as_deref()).await
                }
                // The freeze is over, and the session may have been changed.
                _ => self.turn_back(id, task, Some(until_ms)).await,
            },
            Phase::Incoming { .. } | Phase::Deleted => unreachable!("it is not outgoing"),
        }
    }

    /// The same by the word of its target.
    pub(crate) async fn resume_incoming(&self, migration: &Migration) -> Result<Arrival> {
        let (id, task) = (&migration.id, migration.task);
        let there = self.source.store.migration(id).await?.filter(|it| it.task == task);
        match (there.as_ref().map(|it| it.phase), migration.phase) {
            (Some(Phase::Departed), _) => self.arrive(id, task).await,
            (Some(Phase::Outgoing { .. }), Phase::Incoming { .. }) => {
                let node = there.as_ref().and_then(|it| it.node.as_deref());
                self.carry(id, task, node).await
            }
            (_, Phase::Deleted) => self.delete(id, task).await,
            (_, Phase::Incoming { until_ms }) => self.turn_back(id, task, Some(until_ms)).await,
            (_, Phase::Outgoing { .. } | Phase::Departed) => unreachable!("it is not incoming"),
        }
    }
}
