//! The health of a connection, as far as it is known.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::meter::{self, Held};

/// The error with which a check found the connection dead; `None` if it has not.
pub(crate) type Death = Option<RedisError>;

/// The condition of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Condition {
    Sound,
    /// Another of the pool broke or fell silent. Nothing is sent on it until it answers.
    Asked,
    /// It does not answer in time: it is slow or dead. Another takes its place, but its open requests may still be
    /// answered.
    Suspect,
    /// It is useless.
    Broken,
}

impl Condition {
    fn of(number: u8) -> Self {
        [Self::Sound, Self::Asked, Self::Suspect].get(usize::from(number)).copied().unwrap_or(Self::Broken)
    }
}

/// How long a reply may take at least before its connection is suspect.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(200);

/// Also how many times the recent round trip a reply may take.
const PATIENCE: u32 = 3;

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Health {
    condition: AtomicU8,
    /// How many alarms of the pool there had been when it was last found sound.
    alarms: AtomicU64,
    made: Instant,
    /// When the last reply came, in milliseconds since the connection was made.
    heard: AtomicU64,
    /// How long replies took lately, in microseconds.
    round_trip: AtomicU64,
    /// How many calls wait for a reply on it.
    calls: AtomicUsize,
    /// The task that checks it.
    check: Mutex<Weak<watch::Sender<Death>>>,
    /// Why it is dead, for the calls that wait on it.
    death: OnceLock<RedisError>,
    /// Counts the connection while it is held.
    _counted: Held,
}

impl Health {
    /// The health of a connection that is made at this count of alarms.
    pub(crate) fn new(alarms: u64) -> Self {
        Self {
            condition: AtomicU8::new(Condition::Sound as u8),
            alarms: AtomicU64::new(alarms),
            made: Instant::now(),
            heard: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            check: Mutex::default(),
            death: OnceLock::new(),
            _counted: meter::CONNECTIONS.hold(),
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        Condition::of(self.condition.load(Ordering::Relaxed))
    }

    /// Changes from one condition to another. False: it was in a different one.
    pub(crate) fn turn(&self, from: Condition, to: Condition) -> bool {
        let turned =
            self.condition.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed);
        turned.is_ok()
    }

    /// Marks it broken. False: it was marked already.
    pub(crate) fn mark_broken(&self) -> bool {
        let was_of_use =
            self.condition.swap(Condition::Broken as u8, Ordering::Relaxed) != Condition::Broken as u8;
        if was_of_use {
            meter::BROKEN.add(1, &[]);
        }
        was_of_use
    }

    /// Whether it was found sound since this count of alarms.
    pub(crate) fn is_sound_at(&self, alarms: u64) -> bool {
        self.condition() == Condition::Sound && self.alarms.load(Ordering::Relaxed) == alarms
    }

    /// Marks it sound after it answered a check that began at this count of alarms, unless a call found it
    /// broken meanwhile.
    pub(crate) fn mark_sound(&self, alarms: u64) {
        self.alarms.store(alarms, Ordering::Relaxed);
        let _ = self.turn(Condition::Asked, Condition::Sound);
        let _ = self.turn(Condition::Suspect, Condition::Sound);
    }

    /// Records that a reply came.
    pub(crate) fn hears(&self) {
        let since = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
    }

    /// When the last reply came.
    pub(crate) fn heard(&self) -> Instant {
        self.made + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// Records how long a reply took. The new value counts for an eighth of the average, as in TCP.
    pub(crate) fn took(&self, round_trip: Duration) {
        let latest = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        let known = match self.round_trip.load(Ordering::Relaxed) {
            0 => latest,
            known => known - known / 8 + latest / 8,
        };
        self.round_trip.store(known, Ordering::Relaxed);
    }

    /// How long a reply may take before the connection is suspect. It grows with the round trip, so that a distant
    /// network or a busy server does not look dead.
    pub(crate) fn patience(&self, silence: Duration) -> Duration {
        let usual = Duration::from_micros(self.round_trip.load(Ordering::Relaxed));
        usual.saturating_mul(PATIENCE).min(silence).max(SHORTEST_PATIENCE)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts a call that waits for a reply, until the returned value is dropped.
    pub(crate) fn call(&self) -> Waits<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Waits { health: self, _counted: meter::IN_USE.hold() }
    }

    pub(crate) fn death(&self) -> Death {
        self.death.get().cloned()
    }

    /// Marks it dead. The first error counts.
    pub(crate) fn mark_dead(&self, error: RedisError) {
        let _ = self.death.set(error);
    }

    /// The result of the task that checks it; `begin` starts one if there is none.
    pub(crate) fn check(&self, begin: impl FnOnce(Arc<watch::Sender<Death>>)) -> watch::Receiver<Death> {
        let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = check.upgrade() {
            return found.subscribe();
        }
        let (sender, found) = watch::channel(None);
        let sender = Arc::new(sender);
        *check = Arc::downgrade(&sender);
        begin(sender);
        found
    }
}

/// A call that waits for a reply.
#[derive(Debug)]
pub(crate) struct Waits<'a> {
    health: &'a Health,
    _counted: Held,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.health.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patience_follows_what_replies_take_between_its_bounds() {
        let (health, silence) = (Health::new(0), Duration::from_secs(1));
        assert_eq!(health.patience(silence), SHORTEST_PATIENCE);
        health.took(Duration::from_millis(250));
        assert_eq!(health.patience(silence), Duration::from_millis(750));
        for _ in 0..100 {
            health.took(Duration::from_secs(2));
        }
        assert_eq!(health.patience(silence), silence);
        for _ in 0..100 {
            health.took(Duration::from_micros(100));
        }
        assert_eq!(health.patience(silence), SHORTEST_PATIENCE);
        assert_eq!(health.patience(Duration::from_millis(1)), SHORTEST_PATIENCE);
    }
}
