//! How a connection is, as far as that is known.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::meter::{self, Held};

/// With what error a check found the connection dead; `None` as long as it did not.
pub(crate) type Death = Option<RedisError>;

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Condition {
    Sound,
    /// Another of the pool broke or fell silent. Nothing is sent on it until it answers.
    Asked,
    /// It does not answer in time: slow, or dead. Another takes its place, but what it was sent may still be answered.
    Suspect,
    /// Of no more use.
    Broken,
}

impl Condition {
    fn of(number: u8) -> Self {
        [Self::Sound, Self::Asked, Self::Suspect].get(usize::from(number)).copied().unwrap_or(Self::Broken)
    }
}

/// How long a reply may take at least before its connection is suspect.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(200);

/// And how many times as long as replies took lately.
const PATIENCE: u32 = 3;

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Health {
    condition: AtomicU8,
    /// How many alarms of the pool there had been when it was last found sound.
    alarms: AtomicU64,
    made: Instant,
    /// When a reply came last, in milliseconds since it was made.
    heard: AtomicU64,
    /// How long replies took lately, in microseconds.
    round_trip: AtomicU64,
    /// How many calls wait for a reply on it.
    calls: AtomicUsize,
    /// The task that checks it.
    check: Mutex<Weak<watch::Sender<Death>>>,
    /// Why it is dead, for whoever waits for a reply on it.
    death: OnceLock<RedisError>,
    /// One more connection, as long as anybody holds it.
    _counted: Held,
}

impl Health {
    /// Of a connection that is made at so many alarms.
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

    /// Changes from one condition to another. False: it is in another.
    pub(crate) fn turn(&self, from: Condition, to: Condition) -> bool {
        let turned =
            self.condition.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed);
        turned.is_ok()
    }

    /// False: it was known.
    pub(crate) fn mark_broken(&self) -> bool {
        let was_of_use =
            self.condition.swap(Condition::Broken as u8, Ordering::Relaxed) != Condition::Broken as u8;
        if was_of_use {
            meter::BROKEN.add(1, &[]);
        }
        was_of_use
    }

    /// Whether it was found sound after so many alarms.
    pub(crate) fn is_sound_at(&self, alarms: u64) -> bool {
        self.condition() == Condition::Sound && self.alarms.load(Ordering::Relaxed) == alarms
    }

    /// It answered when it was asked at so many alarms; unless a call found it broken meanwhile.
    pub(crate) fn mark_sound(&self, alarms: u64) {
        self.alarms.store(alarms, Ordering::Relaxed);
        let _ = self.turn(Condition::Asked, Condition::Sound);
        let _ = self.turn(Condition::Suspect, Condition::Sound);
    }

    /// A reply came.
    pub(crate) fn hears(&self) {
        let since = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
    }

    /// When a reply came last.
    pub(crate) fn heard(&self) -> Instant {
        self.made + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// A reply took so long: an eighth of what is known of that, as TCP has it.
    pub(crate) fn took(&self, round_trip: Duration) {
        let latest = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        let known = match self.round_trip.load(Ordering::Relaxed) {
            0 => latest,
            known => known - known / 8 + latest / 8,
        };
        self.round_trip.store(known, Ordering::Relaxed);
    }

    /// How long a reply may take before the connection is suspect: so that neither a network that is far away nor a server that
    /// has much to do looks like a dead one.
    pub(crate) fn patience(&self, silence: Duration) -> Duration {
        let usual = Duration::from_micros(self.round_trip.load(Ordering::Relaxed));
        usual.saturating_mul(PATIENCE).min(silence).max(SHORTEST_PATIENCE)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// A call waits for a reply, as long as what is returned lives.
    pub(crate) fn call(&self) -> Waits<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Waits { health: self, _counted: meter::IN_USE.hold() }
    }

    pub(crate) fn death(&self) -> Death {
        self.death.get().cloned()
    }

    /// It is dead, which the first who finds out tells.
    pub(crate) fn mark_dead(&self, error: RedisError) {
        let _ = self.death.set(error);
    }

    /// What the task that checks it finds; `begin` begins one where there is none.
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
