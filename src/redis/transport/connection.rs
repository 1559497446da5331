//! One multiplexed connection, and what it knows about itself.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::server_clock::{ServerClock, time_ms};
use crate::redis::transport::server_error::server_code;
use crate::redis::transport::tracked::Tracked;
use crate::redis::transport::tracking::Held;

/// How long a reply may take before its connection is probed.
const PROBE_AFTER: Duration = Duration::from_millis(200);

/// Between two probes.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// With what error a probe found the connection dead; `None` as long as it did not.
type Death = Option<RedisError>;

/// What a connection knows about itself.
#[derive(Debug, Default)]
struct Health {
    state: AtomicU8,
    /// How many connections of the pool had broken when this one was last found sound.
    breaks: AtomicU64,
    /// The task that probes the connection, while calls wait for what it finds.
    probe: Mutex<Weak<watch::Sender<Death>>>,
}

const SOUND: u8 = 0;

/// A reply did not come in time. The server may be slow or the connection dead: PING tells, at the next check-out.
const SUSPECT: u8 = 1;

const BROKEN: u8 = 2;

/// One multiplexed connection, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) link: MultiplexedConnection,
    health: Arc<Health>,
    /// How many connections of the pool have broken. Where one did, the others may have too, since a server that
    /// restarts ends them all; so each is asked before its next use, or a call would spend its attempts on them.
    breaks: Arc<AtomicU64>,
    /// Of the server that it leads to.
    clock: Arc<ServerClock>,
    /// If the server tells of changes on it.
    held: Option<Held>,
}

impl Connection {
    pub(crate) fn new(link: MultiplexedConnection, breaks: Arc<AtomicU64>, clock: Arc<ServerClock>) -> Self {
        let health = Arc::new(Health::default());
        health.breaks.store(breaks.load(Ordering::Relaxed), Ordering::Relaxed);
        Self { link, health, breaks, clock, held: None }
    }

    /// The server tells of changes on it.
    pub(crate) fn tracked(mut self, held: Option<Held>) -> Self {
        self.held = held;
        self
    }

    pub(crate) fn tracking(&self) -> Option<&Arc<Tracked>> {
        self.held.as_ref().map(|held| &held.tracked)
    }

    pub(crate) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// The server told its time, in the answer to something that was sent then. `None`: that was no time.
    pub(crate) fn told_time(&self, sent: Instant, time: &Value) -> Option<u64> {
        let time_ms = time_ms(time)?;
        self.clock.saw(time_ms);
        self.held.iter().for_each(|held| held.tracked.answered(sent.into_std(), time_ms));
        Some(time_ms)
    }

    /// Asks the server for its time, and notes it.
    pub(crate) async fn ask_time(&self, deadline: Instant) -> Delivery<()> {
        let (mut link, sent) = (self.link.clone(), Instant::now());
        let time = redis::cmd("TIME");
        let asked = self.outcome(pin!(time.query_async(&mut link)), deadline).await;
        asked.map(|time: Value| {
            self.told_time(sent, &time);
        })
    }

    /// Whether nothing speaks against it: neither its own replies nor the end of others of the pool since it was asked.
    pub(crate) fn is_sound(&self) -> bool {
        self.health.state.load(Ordering::Relaxed) == SOUND
            && self.health.breaks.load(Ordering::Relaxed) == self.breaks_of_pool()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.health.state.load(Ordering::Relaxed) == BROKEN
    }

    pub(crate) fn breaks_of_pool(&self) -> u64 {
        self.breaks.load(Ordering::Relaxed)
    }

    /// It answered when so many of the pool had broken; unless a call found it broken meanwhile.
    pub(crate) fn found_sound(&self, breaks: u64) {
        let state = &self.health.state;
        let _ = state.compare_exchange(SUSPECT, SOUND, Ordering::Relaxed, Ordering::Relaxed);
        self.health.breaks.store(breaks, Ordering::Relaxed);
    }

    /// It did not answer when it was asked.
    pub(crate) fn found_dead(&self) {
        self.end_tracking();
        self.health.state.store(BROKEN, Ordering::Relaxed);
    }

    /// What becomes of something that was sent on this connection, and what that says about the connection.
    ///
    /// Cancellation safety: what is dropped here may still run at the server, whole or not at all.
    pub(crate) async fn outcome<T>(
        &self,
        sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Delivery<T> {
        match self.answer(sent, deadline).await {
            Some(Ok(answer)) => Delivery::Answered(answer),
            Some(Err(error)) => {
                self.note(&error);
                if server_code(&error).is_some() { Delivery::Refused(error) } else { Delivery::Lost(error) }
            }
            None => {
                self.suspect();
                Delivery::Late
            }
        }
    }

    /// The answer to what was sent, an error of the connection included; `None` at the deadline.
    ///
    /// A call that is queued in the very moment in which its connection ends is forgotten in the queue (a tokio channel
    /// frees what comes after its receiver only with its last sender, and the call holds one): redis-rs gives it
    /// neither reply nor error. Another command on the same connection fails at once, so a late reply is probed for.
    async fn answer<T>(
        &self,
        mut sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Option<RedisResult<T>> {
        let soon = deadline.min(Instant::now() + PROBE_AFTER);
        if let Ok(answer) = tokio::time::timeout_at(soon, &mut sent).await {
            return Some(answer);
        }
        let late = async {
            tokio::select! {
                biased;
                answer = &mut sent => Some(answer),
                error = self.death() => Some(Err(error)),
                () = tokio::time::sleep_until(deadline) => None,
            }
        };
        // Boxed, for it is large and rare.
        Box::pin(late).await
    }

    /// Ends when the connection is found dead, with the error. However many calls wait, one task probes.
    async fn death(&self) -> RedisError {
        loop {
            let mut found = self.probe();
            // An error means that the task ended when nobody waited, just before this call came.
            if let Ok(death) = found.wait_for(Option::is_some).await
                && let Some(error) = death.clone()
            {
                return error;
            }
        }
    }

    /// What the task that probes this connection finds. It is begun where there is none.
    fn probe(&self) -> watch::Receiver<Death> {
        let mut probe = self.health.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = probe.upgrade() {
            return found.subscribe();
        }
        let (sender, found) = watch::channel(None);
        let sender = Arc::new(sender);
        *probe = Arc::downgrade(&sender);
        tokio::spawn(probe_until_dead(self.link.clone(), sender));
        found
    }

    /// Notes that a reply did not come in time.
    fn suspect(&self) {
        let _ = self.health.state.compare_exchange(SOUND, SUSPECT, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Nobody sends on it any more, and what was read on it counts no more.
    fn end_tracking(&self) {
        self.held.iter().for_each(|held| held.tracked.end());
    }

    /// Notes an error, if it says that the connection is of no more use: broken, or to a server that does not take
    /// our writes, so that the next connection may lead to the one that does.
    pub(crate) fn note(&self, error: &RedisError) {
        match server_code(error).as_deref() {
            None | Some("READONLY" | "LOADING" | "MASTERDOWN" | "NOAUTH") => {
                self.end_tracking();
                if self.health.state.swap(BROKEN, Ordering::Relaxed) != BROKEN {
                    self.breaks.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(_) => {}
        }
    }
}

/// Probes with one PING after the other, until one fails or nobody waits for that any more.
async fn probe_until_dead(mut link: MultiplexedConnection, found: Arc<watch::Sender<Death>>) {
    loop {
        // A PING that is itself forgotten in the queue is followed by another.
        let ping = redis::cmd("PING");
        let answer = tokio::time::timeout(PROBE_AFTER, ping.query_async::<()>(&mut link)).await;
        if let Ok(Err(error)) = answer
            && server_code(&error).is_none()
        {
            found.send_replace(Some(error));
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE_PAUSE) => {}
            () = found.closed() => return,
        }
    }
}
