//! Sessions that this process has read, answered from memory until the server says that they changed.
//!
//! An entry counts as long as the connection on which it was read. The server's messages on it come in order, so it
//! reports a change before any later answer. Three things end an entry earlier: the server reports a change, this
//! process changes the session itself, or the entry's time is over.
//!
//! Ordering: if a read and a change happen at once, this process does not know which the server saw first. So it
//! numbers the beginnings of reads and the ends of changes, and does not keep a read that began before a change ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use redis::{Arg, Cmd, Value};

use crate::model::{Rules, Session, SessionId, TestClock};
use crate::redis::transport::tracked::Tracked;
use crate::store::meter::{INVALIDATIONS, RESULT};
use crate::stored::partitions::Partitions;

/// The size that counts as one session. A larger session counts as several.
const ORDINARY_BYTES: usize = 4096;

/// How many places record the last change of ids, by the ids' hash. Two ids that share a place cost at most one
/// unneeded read.
const PLACES: usize = 1024;

/// A bounded number of sessions; the least read are dropped.
#[derive(Debug)]
pub(crate) struct NearCache {
    kept: Cache<SessionId, Arc<Kept>, BySize, ahash::RandomState>,
    places: Box<[Place]>,
    hasher: ahash::RandomState,
    /// Numbers the beginnings of reads and the ends of changes, so that their order is known.
    order: AtomicU64,
    partitions: Arc<Partitions>,
    clock: Option<TestClock>,
    is_closed: AtomicBool,
}

/// The state of the ids of one hash.
#[derive(Debug, Default)]
struct Place {
    /// When one of them changed last.
    changed: AtomicU64,
    /// Held while a session is kept or dropped.
    lock: Mutex<()>,
}

#[derive(Debug)]
struct Kept {
    session: Session,
    read_on: Arc<Tracked>,
    /// When it was stored here.
    at: u64,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct BySize;

impl Weighter<SessionId, Arc<Kept>> for BySize {
    fn weight(&self, _: &SessionId, kept: &Arc<Kept>) -> u64 {
        1 + (kept.bytes / ORDINARY_BYTES) as u64
    }
}

/// When a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began(u64);

impl NearCache {
    pub(crate) fn new(sessions: usize, partitions: Arc<Partitions>, clock: Option<TestClock>) -> Self {
        let hasher = ahash::RandomState::new();
        let lifecycle = DefaultLifecycle::default();
        Self {
            kept: Cache::with(sessions, sessions as u64, BySize, hasher.clone(), lifecycle),
            places: (0..PLACES).map(|_| Place::default()).collect(),
            hasher,
            order: AtomicU64::new(1),
            partitions,
            clock,
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// A session, if it can be answered without asking the server.
    pub(crate) fn get(&self, id: &SessionId) -> Option<Session> {
        self.find(id).map(|(kept, _)| kept.session.clone())
    }

    /// The same, if a refresh would write nothing.
    pub(crate) fn get_untouched(&self, id: &SessionId, rules: &Rules) -> Option<Session> {
        let (kept, now) = self.find(id)?;
        let times = kept.session.times;
        (!rules.is_touch_due(times.last_active, times.expires_at, now)).then(|| kept.session.clone())
    }

    /// A kept session, and a time that the server's clock has not passed yet.
    ///
    /// Ordering: a kept session counts only if its connection has given a sign of life in time. A silent connection may
    /// report the change and give that sign between the two checks. So the check for changes comes last.
    fn find(&self, id: &SessionId) -> Option<(Arc<Kept>, u64)> {
        let place = self.place(id);
        let changed = place.changed.load(Ordering::Acquire);
        let kept = self.kept.get(id)?;
        let now = kept.read_on.server_time()?;
        let now = self.clock.as_ref().map_or(now, TestClock::now_ms);
        let is_over = kept.session.times.expires_at <= now || self.is_closed.load(Ordering::Acquire);
        (!is_over && place.changed.load(Ordering::Acquire) == changed).then_some((kept, now))
    }

    /// Records the beginning of a read that has not been sent yet.
    pub(crate) fn begin(&self) -> Began {
        Began(self.next())
    }

    /// Keeps a read session, unless it changed since the read began. If two reads at once differ, the newer one is
    /// unknown, and neither is kept.
    pub(crate) fn keep(&self, began: Began, session: &Session, bytes: usize, read_on: Arc<Tracked>) {
        let place = self.place(&session.id);
        let _lock = place.lock();
        if place.changed.load(Ordering::Acquire) > began.0 {
            return;
        }
        let other = self.kept.peek(&session.id).filter(|other| other.at > began.0);
        if other.is_some_and(|other| other.session != *session) {
            self.kept.remove(&session.id);
            return;
        }
        let session = session.clone();
        self.kept.insert(session.id.clone(), Arc::new(Kept { session, read_on, at: self.next(), bytes }));
    }

    /// Forgets a session that changed, or may have changed.
    pub(crate) fn forget(&self, id: &SessionId) {
        let place = self.place(id);
        let _lock = place.lock();
        self.kept.remove(id);
        place.changed.store(self.next(), Ordering::Release);
    }

    /// The sessions whose keys a script declares: it touches no others.
    pub(crate) fn reach_of(&self, script_call: &Cmd) -> Vec<SessionId> {
        // EVALSHA, the name of the script, how many keys, the keys.
        let mut arguments = script_call.args_iter().skip(2).filter_map(|argument| match argument {
            Arg::Simple(bytes) => Some(bytes),
            _ => None,
        });
        let count = arguments.next().and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
        let mut ids: Vec<SessionId> =
            arguments.take(count.unwrap_or(0)).filter_map(|key| self.id_of(key)).collect();
        // A record key takes the place of keys that the session does not have.
        ids.dedup();
        ids
    }

    /// An id that is not valid text was never kept.
    fn id_of(&self, key: &[u8]) -> Option<SessionId> {
        let id = std::str::from_utf8(self.partitions.id_of_session(key)?).ok()?;
        SessionId::new(id).ok()
    }

    pub(crate) fn forget_all(&self) {
        let _locks: Vec<MutexGuard<'_, ()>> = self.places.iter().map(Place::lock).collect();
        self.kept.clear();
        let now = self.next();
        self.places.iter().for_each(|place| place.changed.store(now, Ordering::Release));
    }

    /// Handles the server's message that keys changed, or that it was emptied.
    pub(crate) fn invalidated(&self, told: &[Value]) {
        match told {
            [Value::Array(keys)] => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => {
                            INVALIDATIONS.add(1, &[(RESULT, "session")]);
                            self.id_of(key).iter().for_each(|id| self.forget(id));
                        }
                        _ => self.invalidated_all(),
                    }
                }
            }
            _ => self.invalidated_all(),
        }
    }

    fn invalidated_all(&self) {
        INVALIDATIONS.add(1, &[(RESULT, "all")]);
        self.forget_all();
    }

    /// Stops answering.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.forget_all();
    }

    fn place(&self, id: &SessionId) -> &Place {
        &self.places[self.hasher.hash_one(id) as usize % PLACES]
    }

    fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::AcqRel)
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::{NewSession, Times, Version};

    const HOUR: Duration = Duration::from_secs(3600);

    fn near_cache(sessions: usize) -> NearCache {
        NearCache::new(sessions, Arc::new(Partitions::new("shop", 1).unwrap()), None)
    }

    fn id(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    fn session(name: &str, version: u64) -> Session {
        let times = Times { expires_at: 2_000_000, ..Times::default() };
        let new = NewSession::new().id(id(name)).check(&Rules::new(), |_| id("none").into()).unwrap();
        new.into_session(Version::new(version), times)
    }

    /// A connection on which the server reported 1000 seconds.
    fn tracked() -> Arc<Tracked> {
        let tracked = Tracked::new(HOUR, None);
        heard(&tracked, 1000);
        Arc::new(tracked)
    }

    fn heard(tracked: &Tracked, seconds: u64) {
        tracked.answered(Instant::now(), seconds * 1000);
    }

    fn keep(near_cache: &NearCache, began: Began, session: &Session) {
        near_cache.keep(began, session, 300, tracked());
    }

    fn version(near_cache: &NearCache, name: &str) -> Option<u64> {
        near_cache.get(&id(name)).map(|session| session.version().get())
    }

    #[test]
    fn a_read_that_a_change_overtook_is_not_kept() {
        let near_cache = near_cache(10);
        let began = near_cache.begin();
        near_cache.invalidated(&[Value::Array(vec![Value::BulkString(b"{shop:0}:session:a".into())])]);
        keep(&near_cache, began, &session("a", 1));
        assert_eq!(version(&near_cache, "a"), None);

        let began = near_cache.begin();
        near_cache.invalidated(&[Value::Nil]);
        for name in ["a", "b"] {
            keep(&near_cache, began, &session(name, 1));
            assert_eq!(version(&near_cache, name), None, "the server was emptied");
        }
        keep(&near_cache, near_cache.begin(), &session("a", 2));
        assert_eq!(version(&near_cache, "a"), Some(2));
    }

    #[test]
    fn what_is_kept_goes_when_the_server_tells_that_it_changed() {
        let near_cache = near_cache(10);
        let all = ["a", "b", "c"];
        let keep_all =
            || all.iter().for_each(|name| keep(&near_cache, near_cache.begin(), &session(name, 1)));
        let left = || all.map(|name| version(&near_cache, name).is_some());
        keep_all();
        let keys = ["{shop:0}:session:b", "{shop:0}:expiry", "{shop:1}:session:a", "{shop:0}:session:\n"];
        near_cache.invalidated(&[Value::Array(keys.map(|key| Value::BulkString(key.into())).into())]);
        assert_eq!(left(), [true, false, true]);
        for whatever in [vec![Value::Nil], vec![], vec![Value::Array(vec![Value::Int(1)])]] {
            keep_all();
            assert_eq!(left(), [true; 3]);
            near_cache.invalidated(&whatever);
            assert_eq!(left(), [false; 3], "{whatever:?}");
        }
    }

    #[test]
    fn of_two_reads_at_once_that_differ_neither_is_kept() {
        let near_cache = near_cache(10);
        let (first, second) = (near_cache.begin(), near_cache.begin());
        keep(&near_cache, second, &session("a", 2));
        keep(&near_cache, first, &session("a", 1));
        assert_eq!(version(&near_cache, "a"), None);
        let (first, second) = (near_cache.begin(), near_cache.begin());
        keep(&near_cache, first, &session("a", 2));
        keep(&near_cache, second, &session("a", 2));
        assert_eq!(version(&near_cache, "a"), Some(2));
        keep(&near_cache, near_cache.begin(), &session("a", 3));
        assert_eq!(version(&near_cache, "a"), Some(3), "that one came later");
    }

    #[test]
    fn a_session_expires_by_the_clock_of_the_server_that_it_was_read_from() {
        let near_cache = near_cache(10);
        let read_on = tracked();
        near_cache.keep(near_cache.begin(), &session("a", 1), 300, read_on.clone());
        heard(&read_on, 1990);
        assert!(near_cache.get(&id("a")).is_some());
        heard(&read_on, 2000);
        assert_eq!(near_cache.get(&id("a")), None);
        heard(&read_on, 1990);
        read_on.end();
        assert_eq!(near_cache.get(&id("a")), None);
    }

    #[test]
    fn a_script_reaches_the_sessions_whose_keys_it_declares_and_no_others() {
        let near_cache = near_cache(10);
        let mut call = redis::cmd("EVALSHA");
        call.arg("0123").arg(3).arg("{shop:0}:session:a").arg("{shop:0}:expiry").arg("{shop:0}:session:b");
        call.arg("").arg("{shop:0}:session:c");
        assert_eq!(near_cache.reach_of(&call), [id("a"), id("b")]);
        assert_eq!(near_cache.reach_of(&redis::cmd("EVALSHA")), []);
    }

    #[test]
    fn it_holds_no_more_than_it_may_by_number_and_by_size() {
        let near_cache = near_cache(100);
        for at in 0..1000 {
            keep(&near_cache, near_cache.begin(), &session(&at.to_string(), 1));
        }
        assert!((1..=100).contains(&near_cache.kept.len()), "{}", near_cache.kept.len());
        for at in 0..1000 {
            let session = session(&at.to_string(), 1);
            near_cache.keep(near_cache.begin(), &session, 9 * ORDINARY_BYTES, tracked());
        }
        assert!((1..=10).contains(&near_cache.kept.len()), "{}", near_cache.kept.len());
    }

    #[test]
    fn a_change_of_one_thread_is_never_hidden_from_it_by_the_reads_of_others() {
        // What the server has, and what a read of it finds.
        let (near_cache, stored) = (near_cache(10), AtomicU64::new(1));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let began = near_cache.begin();
                        let found = session("a", stored.load(Ordering::SeqCst));
                        keep(&near_cache, began, &found);
                    }
                });
            }
            for version_now in 2..2000 {
                near_cache.forget(&id("a"));
                stored.store(version_now, Ordering::SeqCst);
                near_cache.forget(&id("a"));
                let found = version(&near_cache, "a");
                assert!(found.is_none_or(|found| found == version_now), "{found:?} after {version_now}");
            }
            is_over.store(true, Ordering::SeqCst);
        });
    }
}
