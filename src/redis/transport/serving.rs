//! Whether a node of a cluster serves reads of the partitions that it has.
//!
//! A master that is cut off from the others hears of no change that is made in its place, and goes on to answer whoever asks
//! for its time. But it refuses reads once it knows that it is cut off, as any node does that has not got their slot. So what
//! was read at a node counts only while that serves a read in each of its partitions: one key of each is asked for in one
//! pipeline, per interval and node.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{RedisResult, Value};

use crate::redis::transport::redirect::Redirect;

/// What a node has, as far as the map of the slots is known.
pub(crate) trait Holding: fmt::Debug + Send + Sync {
    /// A key in each partition that it has.
    fn keys(&self) -> Vec<Vec<u8>>;

    /// It does not serve one of them: the map is older than that.
    fn is_outdated(&self);
}

/// A node of a cluster: when it served all that it has.
#[derive(Debug)]
pub(crate) struct Serving {
    holding: Box<dyn Holding>,
    made: Instant,
    /// When it was asked the last time that it served all, in nanoseconds since this was made; 0 for never.
    asked: AtomicU64,
}

impl Serving {
    pub(crate) fn new(holding: impl Holding + 'static) -> Self {
        Self { holding: Box::new(holding), made: Instant::now(), asked: AtomicU64::new(0) }
    }

    /// What it has to be asked for.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        self.holding.keys()
    }

    /// It answered reads of all that, which were sent then.
    pub(crate) fn answered(&self, sent: Instant, answers: &[RedisResult<Value>]) {
        if answers.iter().all(is_served) {
            if !answers.is_empty() {
                self.asked.fetch_max(self.since_made(sent), Ordering::AcqRel);
            }
        } else {
            self.holding.is_outdated();
        }
    }

    /// Whether it served all when it was asked, no longer ago than that.
    pub(crate) fn is_known_for(&self, age: Duration) -> bool {
        let asked = self.asked.load(Ordering::Acquire);
        asked > 0 && Duration::from_nanos(self.since_made(Instant::now()).saturating_sub(asked)) < age
    }

    fn since_made(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.made).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Of a slot that is on its way a node sends on what is not there any more, and has told of its going. It is still the master.
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
