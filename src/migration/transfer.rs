//! One session on its way from one store to the other.
//!
//! Each step is one script that any process can retry. The answer of a step says where the session is, not the memory
//! of this process. `depart` decides: before it the session can still stay, after it the migration can only go forward.

use std::sync::Arc;
use std::time::Duration;

use crate::migration::retry::Retry;
use crate::model::{
    Direction, Error, Freezing, Frozen, Import, Leftover, Migration, Phase, Refusal, Result, Session,
    SessionId, Status, TaskId,
};
use crate::store::Store;

/// One of the two stores, and its name in the other.
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

/// What to do with a copy at the target when the source has lost its data: because a server was flushed or restarted
/// without persistence, or because the process of a [`MemoryStore`](crate::MemoryStore) has ended.
///
/// When a session ends, its source keeps a trace for as long as a copy could be stored. A source that knows nothing of
/// it has lost it, and the copy may be all that is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostSource {
    /// The copy becomes the session. A store that loses acknowledged data, as a failover can, loses deletes too: a
    /// session that was deleted at its source just before lives on.
    #[default]
    Keep,
    /// The copy stays frozen: callers can read and delete it, and it ends when it expires. Each resumption reports it
    /// as [`Unclaimed`](Outcome::Unclaimed), until one with the policy `Keep` keeps it.
    Report,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in the other store now, or at the other node.
    Arrived,
    /// It is where it was, and callers can change it there again.
    Stayed,
    /// There is no such session: it was deleted or expired, before or meanwhile.
    Missing,
    /// Its client took it to a third node meanwhile, or to none. It stays there.
    Elsewhere,
    /// Its source has lost its data, and a frozen copy waits in the other store, by the policy
    /// [`LostSource::Report`].
    Unclaimed,
}

/// A session at the end of its way. The remainder of the migration is removed once the report was delivered; until
/// then a process that resumes finds it and reports again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Arrival {
    pub(crate) id: SessionId,
    pub(crate) outcome: Outcome,
    /// The task that brought it here, which may differ from the submitted one.
    task: TaskId,
    left: Vec<Leftover>,
}

impl Arrival {
    fn new(id: &SessionId, task: TaskId, outcome: Outcome, left: impl Into<Vec<Leftover>>) -> Self {
        Self { id: id.clone(), outcome, task, left: left.into() }
    }
}

impl Transfer {
    /// A step is retried for less than the length of the freeze, because the session is frozen meanwhile.
    pub(crate) fn retry(&self) -> Retry {
        Retry::of(self.freeze / 3)
    }

    /// Moves a session from the source to the target, and to a node there if one is named. If it cannot, the session
    /// stays, and the error says why.
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

    /// Imports the copy and lets the session depart.
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

    /// The session is not at its source: it is nowhere, or it moved so long ago that no trace is left, or
    /// the source lost it.
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

    /// The session is in the other store, or nowhere.
    async fn is_there(&self, retry: &Retry, id: &SessionId, task: TaskId) -> Result<Arrival> {
        let outcome = match retry.with(|| self.target.store.get_fresh(id)).await {
            Ok(Some(session)) if session.status() != Status::Migrating => Outcome::Arrived,
            Ok(_) | Err(Error::Refused(_)) => Outcome::Missing,
            Err(error) => return Err(error),
        };
        Ok(Arrival::new(id, task, outcome, []))
    }

    /// The session departed before it could be frozen: by this task, which then goes on, or by another.
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
            // It was thawed before, and has since moved to another id or another store.
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
        // From here on the session cannot depart under that freeze.
        let there = retry.with(|| self.target.store.migration(id)).await;
        let there = match there {
            Ok(there) => there.filter(|it| it.task == task),
            // The session there is not this task's.
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

    /// Thaws a copy whose source has lost its data: nothing can depart there any more.
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

    /// Removes what is left at the end of a migration.
    pub(crate) async fn clean_up(&self, arrival: &Arrival) -> Result<()> {
        let retry = self.retry();
        let (id, task) = (&arrival.id, arrival.task);
        for left in &arrival.left {
            let end = match left {
                Leftover::Departed => &self.source,
                Leftover::Deleted | Leftover::Copy { .. } => &self.target,
            };
            let cleaned = retry.with(|| end.store.clean(id, task, *left)).await?;
            // It was deleted since the last look: the delete wins.
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

    /// Finishes the migration of a session that its source lists.
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

    /// Finishes the migration of a session that its target lists.
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
