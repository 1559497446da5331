//! One call: it locks what it needs, and starts over until it has locked all of it.

use std::sync::atomic::AtomicBool;

use crate::memory::events::Events;
use crate::memory::halt::Halt;
use crate::memory::locked_shards::LockedShards;
use crate::memory::reach::Reach;
use crate::memory::record::{Kind, Record};
use crate::memory::shards::Shards;
use crate::model::{
    Error, NewId, NodeIdentity, OperationId, Refusal, Removed, Result, Rules, Session, SessionId, SessionRef,
    TestClock, ms,
};

/// The sessions, and how many there may be.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) shards: Shards,
    pub(crate) capacity: usize,
    pub(crate) clock: Option<TestClock>,
    pub(crate) closed: AtomicBool,
    pub(crate) events: Events,
}

/// The answer of a call that ends something: whether there was anything to end.
pub(crate) fn was_there<T>(settled: Result<T>) -> Result<bool> {
    match settled {
        Err(Error::Refused(Refusal::Missing)) => Ok(false),
        settled => settled.map(|_| true),
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) rules: &'a Rules,
    pub(crate) now: u64,
    /// Given by a caller that repeats a call. No reply gets lost in memory, so other calls need none.
    pub(crate) operation: Option<OperationId>,
    /// The node that makes the call as the owner of what it writes.
    pub(crate) identity: Option<&'a NodeIdentity>,
    reach: Reach,
    /// The session that expired first when the store was full.
    pub(crate) oldest: Option<SessionId>,
    /// Expired sessions that were in the way.
    pub(crate) reaped: Vec<Session>,
    /// Sessions of a user removed while making room.
    pub(crate) removed: Vec<Removed>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(memory: &'a Memory, rules: &'a Rules, operation: Option<OperationId>) -> Self {
        Self::at(crate::model::now_ms(memory.clock.as_ref()), memory, rules, operation)
    }

    fn at(now: u64, memory: &'a Memory, rules: &'a Rules, operation: Option<OperationId>) -> Self {
        Self {
            memory,
            rules,
            now,
            operation,
            identity: None,
            reach: Reach::default(),
            oldest: None,
            reaped: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(crate) fn made_by(mut self, identity: Option<&'a NodeIdentity>) -> Self {
        self.identity = identity;
        self
    }

    /// A separate call within this one, at the same instant: what has expired for one has expired for the other, even
    /// if the clock is set back between them.
    pub(crate) fn another(&self) -> Self {
        Self::at(self.now, self.memory, self.rules, self.operation)
    }

    /// The call that makes one of many sessions, at the same instant.
    pub(crate) fn nth(&self, place: usize) -> Self {
        Self::at(self.now, self.memory, self.rules, self.operation.map(|operation| operation.nth(place)))
            .made_by(self.identity)
    }

    /// An id for a session that the caller gave none.
    pub(crate) fn new_id(&self) -> NewId {
        let scheme = self.rules.id_scheme;
        self.operation.map_or_else(|| scheme.random(), |operation| scheme.generate(&operation))
    }

    /// Locks the shards of these names from the start, which saves starting over.
    pub(crate) fn reaching<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            self.reach = self.reach | self.memory.shards.reach(name);
        }
        self
    }

    /// Locks everything.
    pub(crate) fn reaching_all(mut self) -> Self {
        self.reach = self.memory.shards.whole();
        self
    }

    /// Attempts until it has all that it needs. It ends, because each attempt holds more, or fewer sessions are in the
    /// way.
    pub(crate) fn settle<T>(
        &mut self,
        mut attempt: impl FnMut(&Self, &mut LockedShards<'a>) -> Result<T, Halt>,
    ) -> Result<T> {
        loop {
            let mut locked = LockedShards::lock(&self.memory.shards, self.reach, self.now);
            let halt = match attempt(self, &mut locked) {
                Ok(answer) => return Ok(answer),
                Err(halt) => halt,
            };
            drop(locked);
            match halt {
                Halt::Need(more) => self.reach = self.reach | more,
                Halt::Reap(id) => self.reaped.extend(self.another().reap_one(&id)),
                Halt::Remove(user, ids) => self.removed.extend(self.another().remove(&user, ids)),
                Halt::Full => self.oldest = self.first_to_make_way()?,
                Halt::Rotated(to) => return Err(Error::Refused(Refusal::Rotated { to: Some(to) })),
                Halt::Unsure(operation) => return Err(Error::unsure(operation)),
                Halt::Refused(refusal) => return Err(Error::Refused(refusal)),
            }
        }
    }

    /// Its operation id, if the call makes a session and comes so late that a tombstone in its way may be gone.
    pub(crate) fn stale(&self) -> Option<OperationId> {
        let operation = self.operation?;
        let waited = self.now.saturating_sub(self.began(&operation)?);
        (waited >= ms(self.rules.tombstone)).then_some(operation)
    }

    /// A time from before a call under an operation id was first made. Under a test's clock the call counts as a first
    /// attempt, unless it is known not to be.
    fn began(&self, operation: &OperationId) -> Option<u64> {
        if self.memory.clock.is_some() {
            return (!operation.is_of_a_repeat()).then_some(self.now);
        }
        operation.made().map(|made| self.now.saturating_sub(ms(made.elapsed()) + 1))
    }

    /// The record of a session that this call changed the first time, and the version that it made, if it is repeated.
    pub(crate) fn noted<'l>(
        &self,
        locked: &'l LockedShards<'a>,
        id: &SessionId,
    ) -> Result<Option<(u64, &'l Record)>, Halt> {
        let Some(operation) = self.operation else {
            return Ok(None);
        };
        locked.need([id.as_str()])?;
        let Some(record) = locked.record(id, self.now) else {
            return Ok(None);
        };
        match record.version_of(Some(operation)) {
            Some(version) => Ok(Some((version, record))),
            None => {
                let began = self.began(&operation);
                let is_unsure = record.changes.may_have_lost(operation, began, self.now);
                if is_unsure { Err(Halt::Unsure(operation)) } else { Ok(None) }
            }
        }
    }

    /// The same for a call that acts on a session, under its new id if it was rotated. An id that was rotated twice
    /// leads nowhere. The attempt gets the id, and its result is returned with the id.
    pub(crate) fn settle_at<T>(
        &mut self,
        session: &dyn SessionRef,
        mut attempt: impl FnMut(&Self, &mut LockedShards<'a>, &SessionId) -> Result<T, Halt>,
    ) -> Result<(SessionId, T)> {
        let id = session.id();
        match self.settle(|call, locked| attempt(call, locked, id)) {
            Ok(answer) => Ok((self.id_by_now(id), answer)),
            Err(Error::Refused(Refusal::Rotated { to: Some(to) })) => {
                match self.settle(|call, locked| attempt(call, locked, &to)) {
                    Ok(answer) => Ok((self.id_by_now(&to), answer)),
                    Err(Error::Refused(Refusal::Rotated { to: Some(_) })) => {
                        Err(Error::Refused(Refusal::Missing))
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The present id of a session that the call changed. A repeated call may have changed it before a
    /// rotation.
    fn id_by_now(&self, id: &SessionId) -> SessionId {
        if self.operation.is_none() {
            return id.clone();
        }
        let locked = LockedShards::lock(&self.memory.shards, self.memory.shards.reach(id.as_str()), self.now);
        match locked.record(id, self.now).map(|record| &record.kind) {
            Some(Kind::Rotated(to)) => to.clone(),
            _ => id.clone(),
        }
    }

    /// The session that expired first, if one has; a live one is never replaced. None if there is room by now.
    fn first_to_make_way(&self) -> Result<Option<SessionId>> {
        let Memory { shards, capacity, .. } = self.memory;
        match shards.first_to_expire() {
            Some((expires_at, id)) if expires_at <= self.now => Ok(Some(id)),
            _ if shards.stored() < *capacity => Ok(None),
            _ => Err(Error::Refused(Refusal::Full { sessions: *capacity as u64 })),
        }
    }
}
