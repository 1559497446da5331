//! Sessions as this process saw them last.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;

use crate::model::{
    Binding, Bound, Instant, OperationId, Origin, Patched, RecentChanges, Refreshed, Session, SessionId,
    Status, TestClock, Version, now_ms,
};

/// Sessions as this process saw them last: a bounded number; the least used are dropped.
#[derive(Debug)]
pub(crate) struct StaleCache {
    seen: Mutex<Seen>,
    max_age: Duration,
    clock: Option<TestClock>,
}

#[derive(Debug)]
struct Seen {
    by_id: Cache<SessionId, Trace>,
    by_connection: Cache<String, SessionId>,
    /// When a user was logged out everywhere. A call that began before must not store what it reads of their
    /// sessions.
    logged_out: Cache<String, Instant>,
}

/// What is known of an id.
#[derive(Clone, Debug)]
enum Trace {
    Session {
        session: Box<Session>,
        at: Instant,
        /// Changes that were sent and not answered.
        unsure: Vec<OperationId>,
    },
    /// A call deleted or rotated it, and ended at this instant. A call that began before must not store what it reads
    /// of it.
    Forgotten {
        at: Instant,
        /// The new id, if it was rotated.
        led_to: Option<SessionId>,
    },
}

impl StaleCache {
    pub(crate) fn new(most: usize, max_age: Duration, clock: Option<TestClock>) -> Self {
        let seen =
            Seen { by_id: Cache::new(most), by_connection: Cache::new(most), logged_out: Cache::new(most) };
        Self { seen: Mutex::new(seen), max_age, clock }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instant at which a call begins.
    pub(crate) fn instant(&self) -> Instant {
        Instant::now(self.clock.as_ref())
    }

    /// Stores a session that a call read or saved. The call began at this instant.
    pub(crate) fn keep(&self, session: &Session, began: Instant) {
        let mut seen = self.seen();
        let is_logged_out =
            session.user().and_then(|user| seen.logged_out.peek(user)).is_some_and(|at| *at >= began);
        let is_over = match seen.by_id.peek(session.id()) {
            Some(Trace::Forgotten { at, .. }) => *at >= began,
            Some(Trace::Session { session: other, .. }) => {
                other.times.created_at == session.times.created_at && other.version > session.version
            }
            None => false,
        };
        if !is_over && !is_logged_out {
            seen.put(session.clone(), began);
        }
    }

    /// Stores a session that is now at this version in the store, and of which this process had no copy.
    pub(crate) fn replace(&self, session: &Session, version: Version) {
        if session.version == version {
            self.seen().put(session.clone(), self.instant());
        } else {
            self.forget(session.id());
        }
    }

    /// Forgets a session that was ended, by its id or by one that it left a moment ago.
    pub(crate) fn forget(&self, id: &SessionId) {
        let at = self.instant();
        let mut seen = self.seen();
        let led_to = seen.led_to(id);
        if let Some(id) = &led_to {
            seen.by_id.insert(id.clone(), Trace::Forgotten { at, led_to: None });
        }
        seen.by_id.insert(id.clone(), Trace::Forgotten { at, led_to });
    }

    /// Records that a session left an id for another.
    pub(crate) fn moved(&self, from: &SessionId, to: &SessionId) {
        let trace = Trace::Forgotten { at: self.instant(), led_to: Some(to.clone()) };
        self.seen().by_id.insert(from.clone(), trace);
    }

    /// The id that a session left this one for.
    pub(crate) fn led_to(&self, id: &SessionId) -> Option<SessionId> {
        self.seen().led_to(id)
    }

    pub(crate) fn forget_user(&self, user: &str, keep: Option<&SessionId>) {
        let at = self.instant();
        let mut seen = self.seen();
        seen.logged_out.insert(user.to_owned(), at);
        for id in seen.of_user(user, keep) {
            seen.by_id.insert(id, Trace::Forgotten { at, led_to: None });
        }
    }

    /// The sessions of a user, except one.
    pub(crate) fn of_user(&self, user: &str, keep: Option<&SessionId>) -> Vec<SessionId> {
        self.seen().of_user(user, keep)
    }

    /// A copy that is young enough, of a session that has not expired by this machine's clock.
    pub(crate) fn find(&self, id: &SessionId) -> Option<Session> {
        self.find_with_unsure(id).map(|(session, _)| session)
    }

    /// The same with the changes that may have happened to it since.
    pub(crate) fn find_with_unsure(&self, id: &SessionId) -> Option<(Session, Vec<OperationId>)> {
        let Trace::Session { session, at, unsure } = self.seen().by_id.get(id)?.clone() else {
            return None;
        };
        let age = at.age(self.clock.as_ref());
        if age > self.max_age || session.expires_at_ms() <= now_ms(self.clock.as_ref()) {
            return None;
        }
        Some((Session { origin: Origin::Stale { age }, ..*session }, unsure))
    }

    /// Records that a change of a session was sent and not answered.
    pub(crate) fn note_unsure(&self, id: &SessionId, operation: OperationId) {
        let mut seen = self.seen();
        let id = seen.led_to(id).unwrap_or_else(|| id.clone());
        let mut unsure = seen.unsure(&id);
        if let Some(Trace::Session { session, at, .. }) = seen.by_id.peek(&id).cloned() {
            // A session keeps no more of them.
            if unsure.len() == RecentChanges::default().len() {
                unsure.remove(0);
            }
            unsure.push(operation);
            seen.by_id.insert(id, Trace::Session { session, at, unsure });
        }
    }

    pub(crate) fn find_by_connection(&self, connection: &str) -> Option<Session> {
        let id = self.seen().by_connection.get(connection)?.clone();
        self.find(&id).filter(|session| session.connection() == Some(connection))
    }

    /// Updates the times of a session after a refresh.
    pub(crate) fn refreshed(&self, id: &SessionId, refreshed: &Refreshed) {
        self.amend(id, &refreshed.id, refreshed.version, refreshed.version, |session| {
            session.times.last_active = refreshed.last_active_ms;
            session.times.expires_at = refreshed.expires_at_ms;
        });
    }

    /// Updates a session after a patch.
    pub(crate) fn patched(&self, id: &SessionId, patched: &Patched) {
        self.amend(id, &patched.id, patched.version_before(), patched.version, |session| {
            patched.apply(session);
        });
    }

    /// Updates a session that got a connection. Another may have lost it.
    pub(crate) fn bound(&self, id: &SessionId, binding: &Binding, bound: &Bound) {
        if let Some(loser) = &bound.taken_from {
            self.forget(loser);
        }
        let before = if bound.changed { previous(bound.version) } else { bound.version };
        self.amend(id, &bound.id, before, bound.version, |session| {
            session.set_connection(&binding.connection);
            session.set_node(&binding.node);
            session.note_stored();
            session.status = Status::Active;
        });
    }

    /// Forgets a session that lost its connection: its new version is unknown.
    pub(crate) fn unbound(&self, id: &SessionId) {
        let mut seen = self.seen();
        let led_to = seen.led_to(id);
        seen.by_id.remove(led_to.as_ref().unwrap_or(id));
    }

    /// Applies a change of the store to the copy, if the copy is at the version before; otherwise the copy is
    /// outdated.
    fn amend(
        &self,
        id: &SessionId,
        now_at: &SessionId,
        before: Version,
        after: Version,
        change: impl FnOnce(&mut Session),
    ) {
        let mut seen = self.seen();
        let Some(Trace::Session { session, .. }) = seen.by_id.peek(id) else {
            return;
        };
        let mut session = Session::clone(session);
        if id == now_at && session.version == before {
            change(&mut session);
            session.version = after;
            seen.put(session, self.instant());
        } else if session.version < after {
            seen.by_id.remove(id);
        }
    }
}

impl Seen {
    /// A change that was sent may still happen, whatever was read since.
    fn unsure(&self, id: &SessionId) -> Vec<OperationId> {
        match self.by_id.peek(id) {
            Some(Trace::Session { unsure, .. }) => unsure.clone(),
            Some(Trace::Forgotten { .. }) | None => Vec::new(),
        }
    }

    fn of_user(&self, user: &str, keep: Option<&SessionId>) -> Vec<SessionId> {
        let is_theirs =
            |trace: &Trace| matches!(trace, Trace::Session { session, .. } if session.user() == Some(user));
        let theirs = self.by_id.iter().filter(|(id, trace)| is_theirs(trace) && keep != Some(id));
        theirs.map(|(id, _)| id.clone()).collect()
    }

    fn led_to(&self, id: &SessionId) -> Option<SessionId> {
        match self.by_id.peek(id)? {
            Trace::Forgotten { led_to, .. } => led_to.clone(),
            Trace::Session { .. } => None,
        }
    }

    fn put(&mut self, session: Session, at: Instant) {
        if let Some(connection) = session.connection() {
            self.by_connection.insert(connection.to_owned(), session.id().clone());
        }
        let (id, unsure) = (session.id().clone(), self.unsure(session.id()));
        self.by_id.insert(id, Trace::Session { session: Box::new(session), at, unsure });
    }
}

fn previous(version: Version) -> Version {
    Version::new(version.get().saturating_sub(1))
}
