//! A connection on which the server reports changes, and until when reads on it count.
//!
//! The server's messages arrive in the order in which it sent them. So once a request is answered, all earlier changes
//! have been reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::redis::transport::server_clock::DRIFT;
use crate::redis::transport::serving::Serving;

/// The state of such a connection.
#[derive(Debug)]
pub(crate) struct Tracked {
    made: Instant,
    staleness: Duration,
    /// When the newest answered request was sent, in nanoseconds since this was made; 0 for none.
    heard: AtomicU64,
    /// An upper bound of the server's time when this was made, by that answer.
    clock_ms: AtomicU64,
    has_ended: AtomicBool,
    /// The node that it leads to, in a cluster.
    serving: Option<Arc<Serving>>,
}

/// Such a connection, while anybody holds it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) tracked: Arc<Tracked>,
    _in_use: Arc<oneshot::Sender<()>>,
}

impl Held {
    /// The returned receiver ends when nobody holds it any more.
    pub(crate) fn new(tracked: Arc<Tracked>) -> (Self, oneshot::Receiver<()>) {
        let (in_use, unused) = oneshot::channel();
        (Self { tracked, _in_use: Arc::new(in_use) }, unused)
    }
}

impl Tracked {
    pub(crate) fn new(staleness: Duration, serving: Option<Arc<Serving>>) -> Self {
        Self {
            made: Instant::now(),
            staleness,
            heard: AtomicU64::new(0),
            clock_ms: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            serving,
        }
    }

    pub(crate) fn staleness(&self) -> Duration {
        self.staleness
    }

    pub(crate) fn serving(&self) -> Option<&Serving> {
        self.serving.as_deref()
    }

    /// Records the server's time, from the answer to a request that was sent at an instant.
    pub(crate) fn answered(&self, sent: Instant, time_ms: u64) {
        let since = sent.saturating_duration_since(self.made);
        // The server read its clock after the request was sent, so this is an upper bound.
        let clock_ms = (time_ms + 1).saturating_sub(whole_ms(since));
        if self.heard.fetch_max(whole_ns(since), Ordering::AcqRel) < whole_ns(since) {
            self.clock_ms.store(clock_ms, Ordering::Release);
        }
    }

    /// From now on no read on it counts.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// A time that the server's clock has not passed yet. `None` if the connection has ended, was silent for too long,
    /// or its node is not known to serve.
    pub(crate) fn server_time(&self) -> Option<u64> {
        let since = self.made.elapsed();
        let heard = Duration::from_nanos(self.heard.load(Ordering::Acquire));
        let silent = since.saturating_sub(heard);
        let counts = !heard.is_zero()
            && silent < self.staleness
            && !self.has_ended()
            && self.is_of_a_node_that_serves();
        let time_ms = self.clock_ms.load(Ordering::Acquire) + whole_ms(since + silent / DRIFT);
        counts.then_some(time_ms)
    }

    fn is_of_a_node_that_serves(&self) -> bool {
        self.serving.as_ref().is_none_or(|serving| serving.is_known_for(self.staleness))
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn whole_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn it_counts_from_its_first_answer_until_it_ends() {
        let tracked = Tracked::new(HOUR, None);
        assert_eq!(tracked.server_time(), None);
        let sent = Instant::now();
        tracked.answered(sent, 1_000_000);
        let time = tracked.server_time().unwrap();
        let most = 1_000_000 + 2 + whole_ms(sent.elapsed());
        assert!((1_000_000..=most).contains(&time), "{time}");
        tracked.end();
        assert_eq!(tracked.server_time(), None);
    }

    #[test]
    fn an_answer_counts_from_when_it_was_asked_for_and_not_from_when_it_came() {
        let mut tracked = Tracked::new(HOUR, None);
        tracked.made -= 3 * HOUR;
        tracked.answered(Instant::now() - HOUR, 100_000_000);
        assert_eq!(tracked.server_time(), None, "an hour ago");
        tracked.answered(Instant::now() - HOUR / 2, 200_000_000);
        let time = tracked.server_time().unwrap();
        let since = 200_000_000 + whole_ms(HOUR / 2);
        assert!((since..since + 60_000).contains(&time), "{time}");
    }

    #[test]
    fn an_answer_that_is_overtaken_changes_nothing_and_a_clock_that_jumps_is_believed() {
        let tracked = Tracked::new(HOUR, None);
        let first = Instant::now();
        tracked.answered(Instant::now(), 1_000_000);
        tracked.answered(first, 9_000_000);
        assert!(tracked.server_time().unwrap() < 2_000_000);
        tracked.answered(Instant::now(), 9_000_000);
        assert!(tracked.server_time().unwrap() >= 9_000_000);
        tracked.answered(Instant::now(), 500_000);
        assert!(tracked.server_time().unwrap() < 600_000);
    }
}
