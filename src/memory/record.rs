//! The record that the store keeps under a session's id; `lua/lib/record.lua` in memory.

use std::sync::Arc;
use std::time::Duration;

use crate::memory::noted_changes::NotedChanges;
use crate::memory::shared_name::SharedName;
use crate::model::{
    Direction, Entries, Freeze, IndexFields, OperationId, Origin, Rules, Session, SessionId, Status, TaskId,
    Times, Version, decode_entries, ms,
};

/// Up to this many bytes, decoding entries is faster than sharing them.
const DECODED_AT_ONCE: usize = 1024;

/// The record that the store keeps under a session's id.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// Not `Migrating`: the freeze says so.
    pub(crate) status: Status,
    pub(crate) freeze: Option<Box<Freeze>>,
    pub(crate) changes: NotedChanges,
    pub(crate) version: u64,
    pub(crate) created_at: u64,
    pub(crate) ttl: u64,
    /// 0 for none.
    pub(crate) deadline: u64,
    pub(crate) last_active: u64,
    pub(crate) expires_at: u64,
    /// When it is removed, if nothing removes it before.
    pub(crate) stored_until: u64,
    /// Until when a copy that was made under an earlier freeze may wait elsewhere; 0 for none.
    pub(crate) copies_until: u64,
    /// Of a leftover: until when it counts. It is stored longer if a copy may wait elsewhere; then it only says that
    /// its id is known.
    pub(crate) speaks_until: u64,
    pub(crate) user: SharedName,
    pub(crate) connection: SharedName,
    pub(crate) node: SharedName,
    /// The entries as they are stored in Redis: one allocation, shared with readers.
    pub(crate) body: Arc<[u8]>,
}

/// What a record says about its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A session, live or expired.
    Live,
    /// The session has this id now.
    Rotated(SessionId),
    /// It was deleted; or a login gave the session this id, which only a delete follows.
    Deleted(Option<SessionId>),
    /// The session has gone to another store.
    Departed(Box<Departure>),
}

/// Where a session has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The migration, until it is cleaned up.
    pub(crate) task: Option<TaskId>,
    /// When the freeze would have ended.
    pub(crate) until: u64,
    pub(crate) place: String,
}

impl Record {
    pub(crate) fn is_session(&self) -> bool {
        self.kind == Kind::Live
    }

    /// Whether the time of a leftover is over.
    pub(crate) fn has_lapsed(&self, now: u64) -> bool {
        !self.is_session() && self.stored_until <= now
    }

    /// Whether a leftover counts as absent.
    pub(crate) fn is_silent(&self, now: u64) -> bool {
        !self.is_session() && self.speaks_until <= now
    }

    /// Whether it can be read and deleted but not changed.
    pub(crate) fn is_frozen(&self, now: u64) -> bool {
        self.freeze.as_ref().is_some_and(|freeze| !freeze.has_lapsed(now))
    }

    /// Whether this task froze it, moving in this direction.
    pub(crate) fn is_frozen_by(&self, task: TaskId, direction: Direction) -> bool {
        self.freeze.as_ref().is_some_and(|freeze| freeze.task == task && freeze.direction == direction)
    }

    /// The end of its freeze, if it is on its way to or from another store: its score in the list of migrations.
    pub(crate) fn on_its_way(&self) -> Option<u64> {
        match &self.kind {
            Kind::Departed(departure) => departure.task.map(|_| departure.until),
            _ => self.freeze.as_ref().map(|freeze| freeze.until),
        }
    }

    /// The version that an operation made, if it is one of the last four changes: the call was repeated.
    pub(crate) fn version_of(&self, operation: Option<OperationId>) -> Option<u64> {
        Some(self.version - self.changes.age_of(operation?)?)
    }

    /// Removes a freeze that is over, as `record_unless_over` does. Every writer of a record does this
    /// first.
    pub(crate) fn settle(&mut self, now: u64) {
        if self.copies_until <= now {
            self.copies_until = 0;
        }
        if self.is_session() && self.freeze.is_some() && !self.is_frozen(now) {
            self.end_freeze();
        }
    }

    /// Ends its freeze. If the session stays, a copy may wait at the other place or arrive there late. The copy could
    /// be stored as long as the session is now, so this store remembers the session that long.
    pub(crate) fn end_freeze(&mut self) {
        if self.freeze.take().is_some_and(|freeze| freeze.direction == Direction::Outgoing) {
            self.copies_until = self.copies_until.max(self.stored_until);
        }
    }

    /// Counts a change. Every change goes through here.
    pub(crate) fn change(&mut self, operation: Option<OperationId>, now: u64) {
        self.version += 1;
        self.changes.note(operation, self.version, now);
    }

    /// A full idle time from now, but never past the deadline.
    pub(crate) fn extended(&self, now: u64, rules: &Rules) -> u64 {
        let idle = rules.idle_cap.map_or(self.ttl, |cap| self.ttl.min(ms(cap)));
        let expires_at = now + idle;
        if self.deadline > 0 { expires_at.min(self.deadline) } else { expires_at }
    }

    /// Starts a new idle time, with another ttl and another lifetime if they are given; 0: no lifetime. It is never
    /// shorter than the time that was left, unless the new ttl or lifetime makes it so.
    pub(crate) fn begin(&mut self, ttl: Option<u64>, lifetime: Option<u64>, now: u64, rules: &Rules) {
        let least = if ttl.is_some() { 0 } else { self.expires_at };
        if let Some(lifetime) = lifetime {
            self.deadline = if lifetime > 0 { now + lifetime } else { 0 };
        }
        self.ttl = ttl.unwrap_or(self.ttl);
        self.last_active = now;
        self.expires_at = self.extended(now, rules).max(least);
        if self.deadline > 0 {
            self.expires_at = self.expires_at.min(self.deadline);
        }
        self.reschedule(rules);
    }

    /// A change of a session is a use: records it as a refresh does.
    pub(crate) fn note_use(&mut self, now: u64, rules: &Rules) {
        if !rules.is_touch_due(self.last_active, self.expires_at, now) {
            return;
        }
        let left = self.expires_at - now;
        self.last_active = now;
        let expires_at = self.extended(now, rules);
        if left * 1000 < self.ttl * rules.threshold_thousandths() && expires_at > self.expires_at {
            self.expires_at = expires_at;
            self.reschedule(rules);
        }
    }

    /// Brings `stored_until` to a new `expires_at`, later or sooner.
    pub(crate) fn reschedule(&mut self, rules: &Rules) {
        self.stored_until = self.stored_until.min(self.expires_at + ms(rules.grace));
        self.keep(rules);
    }

    /// The record outlives the session by a grace, for a reaper to find, and copies that may wait elsewhere. It is
    /// extended only when less than half of the grace is left, as in Redis.
    pub(crate) fn keep(&mut self, rules: &Rules) {
        let grace = ms(rules.grace);
        if self.stored_until * 2 < self.expires_at * 2 + grace || self.stored_until < self.copies_until {
            self.stored_until = self.copies_until.max(self.expires_at + grace);
        }
    }

    /// Leaves the session without connection and node.
    pub(crate) fn detach(&mut self, operation: Option<OperationId>, now: u64) {
        self.connection = SharedName::default();
        self.node = SharedName::default();
        self.status = Status::Suspended;
        self.change(operation, now);
    }

    /// Gives the session to another node, without its connection.
    pub(crate) fn hand_over(&mut self, node: &str, operation: Option<OperationId>, now: u64) {
        self.connection = SharedName::default();
        self.node = SharedName::new(node);
        self.status = Status::Suspended;
        self.change(operation, now);
    }

    /// Lets the session live until a time at least, but not past its deadline.
    pub(crate) fn prolong(&mut self, least: u64, rules: &Rules) {
        let least = if self.deadline > 0 { least.min(self.deadline) } else { least };
        if least > self.expires_at {
            self.expires_at = least;
            self.keep(rules);
        }
    }

    /// The leftover under an id that was deleted or rotated. For an incoming copy it counts as long as the copy would
    /// have been stored, and keeps the freeze: a process that continues the migration must see that the delete came
    /// first.
    pub(crate) fn into_leftover(
        mut self,
        kind: Kind,
        operation: Option<OperationId>,
        until: u64,
        now: u64,
    ) -> Self {
        let freeze = self.freeze.take_if(|freeze| freeze.direction == Direction::Incoming);
        self.end_freeze();
        self.change(operation, now);
        self.kind = kind;
        self.speak(if freeze.is_some() { self.stored_until.max(until) } else { until });
        self.freeze = freeze;
        self.strip()
    }

    /// The leftover of a session that only says that it was here; needed only if a copy may wait elsewhere.
    pub(crate) fn word(&self, now: u64) -> Option<Self> {
        let is_frozen = self.freeze.as_ref().is_some_and(|freeze| freeze.direction == Direction::Outgoing);
        if !is_frozen && self.copies_until <= now {
            return None;
        }
        let mut word = self.clone();
        word.end_freeze();
        word.kind = Kind::Deleted(None);
        word.speak(now);
        Some(word.strip())
    }

    /// Sets how long a leftover counts.
    pub(crate) fn speak(&mut self, until: u64) {
        if self.copies_until <= until {
            self.copies_until = 0;
        }
        self.speaks_until = until;
        self.stored_until = self.copies_until.max(until);
    }

    /// The leftover of a departed session. It is stored as long as the session would have been: nothing else says that
    /// the copy is the session now.
    pub(crate) fn into_departed(mut self) -> Self {
        if let Some(freeze) = self.freeze.take() {
            let Freeze { task, until, place, .. } = *freeze;
            self.kind = Kind::Departed(Box::new(Departure { task: Some(task), until, place }));
            self.speaks_until = self.stored_until;
        }
        self.strip()
    }

    fn strip(mut self) -> Self {
        (self.user, self.connection, self.node) =
            (SharedName::default(), SharedName::default(), SharedName::default());
        self.body = Arc::default();
        self
    }

    pub(crate) fn times(&self) -> Times {
        let Self { created_at, last_active, expires_at, deadline, .. } = *self;
        Times { created_at, last_active, expires_at, deadline }
    }

    pub(crate) fn index_fields(&self) -> IndexFields {
        IndexFields {
            user: self.user.as_str().to_owned(),
            connection: self.connection.as_str().to_owned(),
            node: self.node.as_str().to_owned(),
        }
    }

    /// The copy that a caller gets.
    pub(crate) fn session(&self, id: &SessionId, now: u64) -> Session {
        self.copy(id, now).read()
    }

    pub(crate) fn copy(&self, id: &SessionId, now: u64) -> SessionCopy {
        let mut session = Session {
            id: id.clone(),
            status: if self.is_frozen(now) { Status::Migrating } else { self.status },
            version: Version::new(self.version),
            ttl: Duration::from_millis(self.ttl),
            times: self.times(),
            stored: None,
            index_fields: self.index_fields(),
            attributes: Arc::default(),
            extensions: Arc::default(),
            origin: Origin::Store,
        };
        let mut body = None;
        if self.body.len() <= DECODED_AT_ONCE {
            (session.attributes, session.extensions) = decode(&self.body);
        } else {
            body = Some(self.body.clone());
        }
        SessionCopy { session, body }
    }
}

fn decode(body: &[u8]) -> (Arc<Entries>, Arc<Entries>) {
    let (attributes, extensions) = decode_entries(body).expect("the store encoded these entries");
    (attributes.into(), extensions.into())
}

/// A copy of a session, made under a lock. Large entries are decoded after the lock is released.
#[derive(Debug)]
pub(crate) struct SessionCopy {
    session: Session,
    body: Option<Arc<[u8]>>,
}

impl SessionCopy {
    pub(crate) fn read(self) -> Session {
        let Self { mut session, body } = self;
        if let Some(body) = body {
            (session.attributes, session.extensions) = decode(&body);
        }
        session
    }
}
