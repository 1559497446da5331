//! Checks whether a node of a cluster serves reads of its partitions.
//!
//! A master that is cut off from the others does not learn of changes that are made at its successor, and still answers
//! questions for its time. But it refuses reads once it knows that it is cut off, as does any node without the slot. So
//! a read from a node counts only while the node serves a read in each of its partitions. The store checks that by
//! reading one key of each in one pipeline, per interval and node.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{RedisResult, Value};

use crate::redis::transport::redirect::Redirect;

/// The partitions of a node, as far as the map of slots is known.
pub(crate) trait Holding: fmt::Debug + Send + Sync {
    /// A key in each partition that it has.
    fn keys(&self) -> Vec<Vec<u8>>;

    /// Called when it does not serve one of them: the map is outdated.
    fn is_outdated(&self);
}

/// A node of a cluster, and when it last served all its partitions.
#[derive(Debug)]
pub(crate) struct Serving {
    holding: Box<dyn Holding>,
    made: Instant,
    /// When the question was sent that it last answered for all, in nanoseconds since this was made; 0 for
    /// never.
    asked: AtomicU64,
}

impl Serving {
    pub(crate) fn new(holding: impl Holding + 'static) -> Self {
        Self { holding: Box::new(holding), made: Instant::now(), asked: AtomicU64::new(0) }
    }

    /// The keys to ask it for.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.holding.keys()
    }

    /// Records its answers to reads of all of them, which were sent at an instant.
    pub(crate) fn answered(&self, sent: Instant, answers: &[RedisResult<Value>]) {
        if answers.iter().all(is_served) {
            if !answers.is_empty() {
                self.asked.fetch_max(self.since_made(sent), Ordering::AcqRel);
            }
        } else {
            self.holding.is_outdated();
        }
    }

    /// Whether it served all of them within this age.
    pub(crate) fn is_known_for(&self, age: Duration) -> bool {
        let asked = self.asked.load(Ordering::Acquire);
        asked > 0 && Duration::from_nanos(self.since_made(Instant::now()).saturating_sub(asked)) < age
    }

    fn since_made(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.made).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// While a slot moves away, the node redirects keys that have left, and it has reported their leaving. It is still the
/// master.
fn is_served(answer: &RedisResult<Value>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => matches!(Redirect::of_error(error), Some(Redirect::Ask(_))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[derive(Debug, Default)]
    struct Held(Arc<AtomicBool>);

    impl Holding for Held {
        fn keys(&self) -> Vec<Vec<u8>> {
            vec![b"{shop:0}:contract".to_vec()]
        }

        fn is_outdated(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// As a server says it.
    fn refused(told: &str) -> RedisResult<Value> {
        match redis::parse_redis_value(format!("-{told}\r\n").as_bytes()) {
            Ok(Value::ServerError(error)) => Err(error.into()),
            parsed => parsed,
        }
    }

    #[test]
    fn a_node_is_known_to_serve_from_when_it_was_asked_and_only_by_the_answers_to_all() {
        let asks_anew = Arc::new(AtomicBool::new(false));
        let mut serving = Serving::new(Held(asks_anew.clone()));
        serving.made -= 3 * HOUR;
        assert!(!serving.is_known_for(HOUR));
        let long_ago = Instant::now() - 2 * HOUR;
        serving.answered(long_ago, &[Ok(Value::Nil)]);
        assert!(serving.is_known_for(3 * HOUR) && !serving.is_known_for(HOUR));
        for refused in [refused("CLUSTERDOWN the cluster is down"), refused("MOVED 1 b:2")] {
            asks_anew.store(false, Ordering::SeqCst);
            serving.answered(Instant::now(), &[Ok(Value::Nil), refused]);
            assert!(asks_anew.load(Ordering::SeqCst) && !serving.is_known_for(HOUR));
        }
        serving.answered(Instant::now(), &[]);
        assert!(!serving.is_known_for(HOUR), "it was asked for nothing");
        serving.answered(Instant::now(), &[Ok(Value::Nil), refused("ASK 1 b:2")]);
        assert!(serving.is_known_for(HOUR));
    }
}
