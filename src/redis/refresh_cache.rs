//! Sessions that this process used a moment ago: within the touch interval a refresh writes nothing, so it need not be sent.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;

use crate::model::{
    Created, Error, Instant, Refreshed, Result, Session, SessionId, TestClock, UserDeleted, ms,
};

/// Sessions that this process used a moment ago: a bounded number of them, the least used go.
#[derive(Debug)]
pub(crate) struct Recent {
    seen: Mutex<Seen>,
    interval: Duration,
    clock: Option<TestClock>,
    /// Counts calls, so that of two it is known whether the one began before the other ended.
    order: AtomicU64,
}

#[derive(Debug)]
struct Seen {
    used: Cache<SessionId, Used>,
    /// When a session was forgotten last, by the hash of its id: what a call that began before then was answered is over.
    /// Two ids that share a place cost a question, no more.
    forgotten: [u64; FORGOTTEN_PLACES],
    hasher: RandomState,
}

#[derive(Clone, Debug)]
struct Used {
    began: Began,
    refreshed: Refreshed,
}

const FORGOTTEN_PLACES: usize = 1024;

/// When a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    order: u64,
    at: Instant,
}

impl Recent {
    pub(crate) fn new(most: usize, interval: Duration, clock: Option<TestClock>) -> Self {
        let seen =
            Seen { used: Cache::new(most), forgotten: [0; FORGOTTEN_PLACES], hasher: RandomState::new() };
        Self { seen: Mutex::new(seen), interval, clock, order: AtomicU64::new(1) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) -> Began {
        Began { order: self.next(), at: Instant::now(self.clock.as_ref()) }
    }

    /// What a refresh would answer that writes nothing; `None` where only the server can tell.
    pub(crate) fn answer(&self, id: &SessionId) -> Option<Refreshed> {
        let Used { began, refreshed } = self.seen().used.get(id)?.clone();
        let age = began.at.age(self.clock.as_ref());
        // When the call began the server's clock showed no more than the last use that came of it, so by now it shows no
        // more than this. The server extends a session that has no more than an interval left.
        let now = refreshed.last_active_ms.saturating_add(ms(age));
        let has_time = refreshed.expires_at_ms > now.saturating_add(ms(self.interval));
        (age < self.interval && has_time).then_some(Refreshed { changed: false, ..refreshed })
    }

    /// A call that began then used a session, or made it, and this is what it was answered.
    pub(crate) fn used(&self, began: Began, refreshed: Refreshed) {
        let mut seen = self.seen();
        let is_later = |other: &Used| other.began.order > began.order;
        let is_over = seen.forgotten[seen.place(&refreshed.id)] > began.order;
        if !is_over && !seen.used.peek(&refreshed.id).is_some_and(is_later) {
            seen.used.insert(refreshed.id.clone(), Used { began, refreshed });
        }
    }

    /// A session was changed or ended by a call that ends now, or is not there.
    pub(crate) fn forget(&self, id: &SessionId) {
        let mut seen = self.seen();
        let place = seen.place(id);
        seen.forgotten[place] = self.next();
        seen.used.remove(id);
    }

    /// Where nobody knows which sessions a call changed, or the server is away: then nothing is answered for it.
    pub(crate) fn doubt<T>(&self, result: &Result<T>) {
        if let Err(Error::Ambiguous { .. } | Error::NotExecuted { .. }) = result {
            let mut seen = self.seen();
            seen.used.clear();
            seen.forgotten = [self.next(); FORGOTTEN_PLACES];
        }
    }
}

impl Seen {
    fn place(&self, id: &SessionId) -> usize {
        self.hasher.hash_one(id) as usize % FORGOTTEN_PLACES
    }
}

/// What is answered from memory, and what ends that. Off, it knows nothing, and every call is sent.
#[derive(Debug)]
pub(crate) struct RefreshCache(Option<Recent>);

impl RefreshCache {
    pub(crate) fn off() -> Self {
        Self(None)
    }

    pub(crate) fn new(most: usize, interval: Duration, clock: Option<TestClock>) -> Self {
        Self(Some(Recent::new(most, interval, clock)))
    }

    pub(crate) fn begin(&self) -> Option<Began> {
        self.0.as_ref().map(Recent::begin)
    }

    /// What a refresh would answer that writes nothing; `None` where only the server can tell.
    pub(crate) fn answer(&self, id: &SessionId) -> Option<Refreshed> {
        self.0.as_ref()?.answer(id)
    }

    pub(crate) fn forget(&self, id: &SessionId) {
        self.0.iter().for_each(|recent| recent.forget(id));
    }

    /// A call that read a session.
    pub(crate) fn read(&self, id: &SessionId, result: &Result<Option<Session>>) {
        let Some(recent) = &self.0 else { return };
        if matches!(result, Ok(found) if found.as_ref().is_none_or(|session| session.id() != id)) {
            recent.forget(id);
        }
        recent.doubt(result);
    }

    /// A call that changes a session, by whatever id, and maybe others: all that its answer names.
    pub(crate) async fn changing<T>(
        &self,
        id: &SessionId,
        call: impl Future<Output = Result<T>>,
        named: impl FnOnce(&T) -> Vec<SessionId>,
    ) -> Result<T> {
        let Some(recent) = &self.0 else {
            return call.await;
        };
        recent.forget(id);
        let result = call.await;
        recent.forget(id);
        if let Ok(answer) = &result {
            named(answer).iter().for_each(|id| recent.forget(id));
        }
        recent.doubt(&result);
        result
    }

    /// A call that uses a session, and what a refresh would say of that.
    pub(crate) async fn using<T>(
        &self,
        id: &SessionId,
        call: impl Future<Output = Result<Option<T>>>,
        refreshed: impl FnOnce(&T) -> &Refreshed,
    ) -> Result<Option<T>> {
        let Some(recent) = &self.0 else {
            return call.await;
        };
        let began = recent.begin();
        let result = call.await;
        match &result {
            Ok(Some(answer)) => {
                let refreshed = refreshed(answer);
                if refreshed.id != *id {
                    recent.forget(id);
                }
                // What was used before tells nothing of how long ago that is.
                if refreshed.changed {
                    recent.used(began, refreshed.clone());
                }
            }
            Ok(None) => recent.forget(id),
            Err(_) => recent.doubt(&result),
        }
        result
    }

    /// What became of a session to be made. A call that is repeated may be answered as it was a while ago.
    pub(crate) fn made(&self, began: Option<Began>, is_repeated: bool, result: &Result<Created>) {
        let (Some(recent), Some(began)) = (&self.0, began) else {
            return;
        };
        recent.doubt(result);
        let Ok(Created { session, evicted, reaped }) = result else {
            return;
        };
        evicted.iter().for_each(|removed| recent.forget(&removed.id));
        reaped.iter().for_each(|session| recent.forget(session.id()));
        if !is_repeated {
            recent.used(began, Refreshed::of_new(session));
        }
    }

    /// A batch of a user's sessions was deleted.
    pub(crate) fn removed(&self, done: &UserDeleted, batch: &Result<bool>) {
        let Some(recent) = &self.0 else { return };
        done.removed.iter().for_each(|removed| recent.forget(&removed.id));
        recent.doubt(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Version;

    const MINUTE: Duration = Duration::from_secs(60);

    fn recent() -> (Recent, TestClock) {
        let clock = TestClock::new();
        (Recent::new(10, MINUTE, Some(clock.clone())), clock)
    }

    fn id(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    fn refreshed(name: &str, clock: &TestClock, left: Duration) -> Refreshed {
        let now = clock.now_ms();
        Refreshed {
            id: id(name),
            version: Version::new(3),
            last_active_ms: now,
            expires_at_ms: now + ms(left),
            changed: true,
        }
    }

    #[test]
    fn a_use_is_answered_for_until_the_interval_is_over() {
        let (recent, clock) = recent();
        let told = refreshed("a", &clock, 10 * MINUTE);
        recent.used(recent.begin(), told.clone());
        clock.advance(MINUTE - Duration::from_millis(1));
        assert_eq!(recent.answer(&id("a")), Some(Refreshed { changed: false, ..told }));
        assert_eq!(recent.answer(&id("b")), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!(recent.answer(&id("a")), None);
    }

    #[test]
    fn a_session_that_the_server_would_extend_is_not_answered_for() {
        let (recent, clock) = recent();
        recent.used(recent.begin(), refreshed("a", &clock, 90 * MINUTE / 60));
        clock.advance(MINUTE / 2 - Duration::from_millis(1));
        assert!(recent.answer(&id("a")).is_some());
        clock.advance(Duration::from_millis(1));
        assert_eq!(recent.answer(&id("a")), None);
    }

    #[test]
    fn an_answer_that_was_on_its_way_when_the_session_was_forgotten_is_over() {
        let (recent, clock) = recent();
        let began = recent.begin();
        recent.forget(&id("a"));
        recent.used(began, refreshed("a", &clock, 10 * MINUTE));
        assert_eq!(recent.answer(&id("a")), None);
        recent.used(recent.begin(), refreshed("a", &clock, 10 * MINUTE));
        assert!(recent.answer(&id("a")).is_some());

        let began = recent.begin();
        let lost: Result<()> = Err(Error::obstacle(crate::model::Obstacle::Deadline, None));
        recent.doubt(&lost);
        recent.used(began, refreshed("a", &clock, 10 * MINUTE));
        assert_eq!(recent.answer(&id("a")), None, "all was in doubt");
    }

    #[test]
    fn the_answer_of_the_call_that_began_later_counts() {
        let (recent, clock) = recent();
        let (first, second) = (recent.begin(), recent.begin());
        recent.used(second, Refreshed { version: Version::new(4), ..refreshed("a", &clock, 10 * MINUTE) });
        recent.used(first, refreshed("a", &clock, 10 * MINUTE));
        assert_eq!(recent.answer(&id("a")).unwrap().version, Version::new(4));
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let (recent, clock) = recent();
        for at in 0..1000 {
            recent.used(recent.begin(), refreshed(&at.to_string(), &clock, 10 * MINUTE));
        }
        assert!(recent.seen().used.len() <= 10);
    }
}
