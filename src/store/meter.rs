//! Metrics, with the feature `metrics`. Without that feature this module does nothing and costs nothing.
//!
//! Names and labels follow OpenTelemetry where it defines them. A label's value is a word out of a short list: never an
//! id, a user, or any other input.

use crate::model::Reaped;

/// A label and its value.
pub(crate) type Label = (&'static str, &'static str);

/// The kind of store: `redis` or `memory`.
pub(crate) const SYSTEM: &str = "db.system.name";
/// The name of a call.
pub(crate) const OPERATION: &str = "db.operation.name";
/// How a call, a sweep or a migration went.
pub(crate) const OUTCOME: &str = "cloakroom.outcome";
/// Why something was not done.
pub(crate) const ERROR_TYPE: &str = "error.type";
/// The result.
pub(crate) const RESULT: &str = "cloakroom.result";
/// The background task.
pub(crate) const TASK: &str = "cloakroom.task";
/// The state that a circuit breaker reached.
pub(crate) const STATE: &str = "cloakroom.breaker.state";

/// The name of a metric, and what it counts or measures.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
struct Metric {
    name: &'static str,
    help: &'static str,
}

/// A count that only grows.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Counter(Metric);

/// How many there are now. The stores of a process are added up.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Gauge(Metric);

/// A duration, in seconds.
#[derive(Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Timer(Metric);

/// Defines a static per metric, and a function that describes all of them.
macro_rules! meters {
    ($($kind:ident $constant:ident = $name:literal, $help:literal;)+) => {
        $(pub(crate) static $constant: $kind = $kind(Metric { name: $name, help: $help });)+

        /// Gives the installed recorder the descriptions and units of the metrics. Call it once, after you install the
        /// recorder and before you build a store. An exporter that shows neither does not need it. docs/operating.md
        /// lists the metrics.
        #[cfg(feature = "metrics")]
        pub fn describe_metrics() {
            $($constant.describe();)+
        }
    };
}

meters! {
    Timer CALL = "db.client.operation.duration", "Duration of a call to the store, from its beginning to its answer";
    Counter ROUND_TRIPS = "cloakroom.operation.round_trips", "Round trips that calls made";
    Counter ATTEMPTS = "cloakroom.operation.attempts", "Attempts that calls made: the first one, and retries because a connection broke or the server was not the master";
    Counter LOOKUPS = "cloakroom.near_cache.lookups", "Calls that looked into the near cache";
    Counter INVALIDATIONS = "cloakroom.near_cache.invalidations", "Changes of which servers notified the near cache";
    Gauge CONNECTIONS = "db.client.connection.count", "Open connections";
    Gauge PENDING = "db.client.connection.pending_requests", "Calls that wait for a connection";
    Counter TIMEOUTS = "db.client.connection.timeouts", "Calls that got no connection by their deadline";
    Timer CONNECT = "db.client.connection.create_time", "Time to open a connection";
    Counter BROKEN = "cloakroom.connection.broken", "Connections that the pool closed because they broke, fell silent, or led to a server that is not the master";
    Gauge IN_USE = "cloakroom.connection.calls", "Calls that wait for a reply";
    Gauge OPEN = "cloakroom.breaker.open", "Circuit breakers that are not closed";
    Counter TRANSITIONS = "cloakroom.breaker.transitions", "Changes of the state of circuit breakers";
    Counter FALLBACK = "cloakroom.fallback.events", "What the fallback store did while its store was away, and once it was back";
    Counter SWEEPS = "cloakroom.background.sweeps", "Sweeps of the background tasks";
    Counter REAPED = "cloakroom.reap.sessions", "Sessions that reaping removed, and those that it could not remove";
    Timer REAP_LAG = "cloakroom.reap.lag", "How long ago the first session of a reaper's batch had expired";
    Timer EVENTS_LAG = "cloakroom.events.lag", "Age of the first event of a batch when its reader gets it, or while it waits for the reader";
    Counter RECOVERED = "cloakroom.recover.sessions", "Sessions of dead nodes that other nodes took over";
    Counter LEASES_LOST = "cloakroom.lease.losses", "Leases of nodes that were lost";
    Gauge QUEUED = "cloakroom.migration.queued", "Migrations that wait to begin";
    Timer MIGRATION = "cloakroom.migration.duration", "Duration of migrations";
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
    /// Adds one to the gauge until the returned value is dropped.
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

/// One in a gauge, until it is dropped.
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

/// The instant at which a measured span began.
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

/// Records a reap. `now_ms` is a time of the clock by which the sessions expired.
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

/// Records how far a reader of events is behind. `now_ms` is a time of the clock by which the event was written.
pub(crate) fn behind(written_ms: u64, now_ms: Option<u64>) {
    if let Some(now_ms) = now_ms {
        EVENTS_LAG.record_seconds(now_ms.saturating_sub(written_ms) as f64 / 1000.0, &[]);
    }
}
