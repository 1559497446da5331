//! What is counted and measured, with the feature `metrics`. Without it all of this does nothing, and costs nothing.
//!
//! Names and labels are those of OpenTelemetry where it has some. What a label says is a word out of a short list: never an
//! id, a user, or anything else that comes from outside.

use crate::model::Reaped;

/// A label and its value.
pub(crate) type Label = (&'static str, &'static str);

/// Of the store: `redis` or `memory`.
pub(crate) const SYSTEM: &str = "db.system.name";
/// The name of a call.
pub(crate) const OPERATION: &str = "db.operation.name";
/// How a call, a sweep or a migration went.
pub(crate) const OUTCOME: &str = "cloakroom.outcome";
/// What kept something from being done.
pub(crate) const ERROR_TYPE: &str = "error.type";
/// What became of something.
pub(crate) const RESULT: &str = "cloakroom.result";
/// Which task in the background.
pub(crate) const TASK: &str = "cloakroom.task";
/// What a circuit breaker came to.
pub(crate) const STATE: &str = "cloakroom.breaker.state";

/// The name of what is counted or measured, and what that is.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
struct Metric {
    name: &'static str,
    help: &'static str,
}

/// Only grows.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Counter(Metric);

/// How many there are. What several stores of a process have is added up.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Gauge(Metric);

/// How long something took, in seconds.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Timer(Metric);

/// A static for each, and what describes all of them.
macro_rules! meters {
    ($($kind:ident $constant:ident = $name:literal, $help:literal;)+) => {
        $(pub(crate) static $constant: $kind = $kind(Metric { name: $name, help: $help });)+

        /// Tells the recorder that is installed what the metrics mean, and their units. Once, after it was installed and before
        /// a store is built; exporters that show neither need no call of it. docs/operating.md has the metrics.
        #[cfg(feature = "metrics")]
        pub fn describe_metrics() {
            $($constant.describe();)+
        }
    };
}

meters! {
    Timer CALL = "db.client.operation.duration", "How long a call of a store took, from its beginning to its answer";
    Counter ROUND_TRIPS = "cloakroom.operation.round_trips", "Round trips that calls made";
    Counter ATTEMPTS = "cloakroom.operation.attempts", "What calls sent, and sent again because a connection broke or its server was not the master";
    Counter LOOKUPS = "cloakroom.near_cache.lookups", "Calls that the near cache was asked to answer";
    Counter INVALIDATIONS = "cloakroom.near_cache.invalidations", "Changes that servers told the near cache of";
    Gauge CONNECTIONS = "db.client.connection.count", "Connections that are there";
    Gauge PENDING = "db.client.connection.pending_requests", "Calls that wait for a connection";
    Counter TIMEOUTS = "db.client.connection.timeouts", "Calls that had no connection by their deadline";
    Timer CONNECT = "db.client.connection.create_time", "How long making a connection took";
    Counter BROKEN = "cloakroom.connection.broken", "Connections that were given up: they broke, fell silent, or led to a server that is not the master";
    Gauge IN_USE = "cloakroom.connection.calls", "Calls that wait for a reply";
    Gauge OPEN = "cloakroom.breaker.open", "Circuit breakers that are not closed";
    Counter TRANSITIONS = "cloakroom.breaker.transitions", "Changes of the state of circuit breakers";
    Counter FALLBACK = "cloakroom.fallback.events", "What was done while a store was away, and when it was back";
    Counter SWEEPS = "cloakroom.background.sweeps", "Sweeps of tasks in the background";
    Counter REAPED = "cloakroom.reap.sessions", "What reaping removed, and what it met that cannot be";
    Timer REAP_LAG = "cloakroom.reap.lag", "How long the session had been expired that a batch of the reaper began with";
    Timer EVENTS_LAG = "cloakroom.events.lag", "How old the first event of a batch was when it was handed to its reader, or what waits for the reader is";
    Counter RECOVERED = "cloakroom.recover.sessions", "Sessions of dead nodes that were taken over";
    Counter LEASES_LOST = "cloakroom.lease.losses", "Leases of nodes that were lost";
    Gauge QUEUED = "cloakroom.migration.queued", "Migrations that wait to be begun";
    Timer MIGRATION = "cloakroom.migration.duration", "How long migrations took from their beginning to their end";
}

impl Counter {
    pub(crate) fn add(&self, by: u64, labels: &[Label]) {
        #[cfg(feature = "metrics")]
        metrics::counter!(self.0.name, labels).increment(by);
        #[cfg(not(feature = "metrics"))]
        let _ = (by, labels);
    }

    #[cfg(feature = "metrics")]
    fn describe(&self) {
        metrics::describe_counter!(self.0.name, self.0.help);
    }
}

impl Gauge {
    /// One more, as long as what is returned lives.
    pub(crate) fn hold(&'static self) -> Held {
        #[cfg(feature = "metrics")]
        metrics::gauge!(self.0.name).increment(1.0);
        Held(
            #[cfg(feature = "metrics")]
            self,
        )
    }

    #[cfg(feature = "metrics")]
    fn describe(&self) {
        metrics::describe_gauge!(self.0.name, self.0.help);
    }
}

/// Counts in a gauge as long as it lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held(#[cfg(feature = "metrics")] &'static Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!(self.0.0.name).decrement(1.0);
    }
}

impl Timer {
    pub(crate) fn record(&self, since: &Beginning, labels: &[Label]) {
        #[cfg(feature = "metrics")]
        self.record_seconds(since.0.elapsed().as_secs_f64(), labels);
        #[cfg(not(feature = "metrics"))]
        let _ = (since, labels);
    }

    fn record_seconds(&self, seconds: f64, labels: &[Label]) {
        #[cfg(feature = "metrics")]
        metrics::histogram!(self.0.name, labels).record(seconds);
        #[cfg(not(feature = "metrics"))]
        let _ = (seconds, labels);
    }

    #[cfg(feature = "metrics")]
    fn describe(&self) {
        metrics::describe_histogram!(self.0.name, metrics::Unit::Seconds, self.0.help);
    }
}

/// When something began that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning(#[cfg(feature = "metrics")] std::time::Instant);

impl Beginning {
    pub(crate) fn now() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            std::time::Instant::now(),
        )
    }
}

/// What a reap came to. `now_ms`: a time of the clock that the sessions expired by.
pub(crate) fn reaped(reaped: &Reaped, now_ms: Option<u64>) {
    let removed = reaped.sessions.len() as u64;
    let corrupt = reaped.corrupt.len() as u64;
    let results = [
        ("removed", removed),
        ("dropped", reaped.dropped),
        ("unreadable", reaped.unreadable),
        ("corrupt", corrupt),
    ];
    for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
        REAPED.add(count, &[(RESULT, result)]);
    }
    let oldest = reaped.sessions.iter().map(|session| session.expires_at_ms()).min();
    if let (Some(oldest), Some(now_ms)) = (oldest, now_ms) {
        REAP_LAG.record_seconds(now_ms.saturating_sub(oldest) as f64 / 1000.0, &[]);
    }
}

/// A reader of events was handed what was written then, or waits to be. `now_ms`: a time of the clock that it was written by.
pub(crate) fn behind(written_ms: u64, now_ms: Option<u64>) {
    if let Some(now_ms) = now_ms {
        EVENTS_LAG.record_seconds(now_ms.saturating_sub(written_ms) as f64 / 1000.0, &[]);
    }
}
