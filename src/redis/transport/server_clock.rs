//! What is known of a server's clock: a time that it had not passed before an instant, for the bound of a
//! call.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Value;

/// How much the server's clock and this process's may drift apart: one thousandth, twice the rate at which a time
/// daemon slews a clock.
pub(crate) const DRIFT: u32 = 1000;

/// The newest time that a server reported.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(Mutex<Option<Seen>>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    time_ms: u64,
    /// When the reply arrived. The server read its clock before that.
    at: Instant,
}

impl ServerClock {
    /// Records a time that the server has just reported. An unexpectedly early one counts too: the clock was set back,
    /// or another server answers.
    pub(crate) fn saw(&self, time_ms: u64) {
        let seen = Seen { time_ms, at: Instant::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// A time that the server's clock did not show before an instant. `None` if the server has reported no
    /// time yet.
    pub(crate) fn no_later_than(&self, instant: Instant) -> Option<u64> {
        let Seen { time_ms, at } = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(match instant.checked_duration_since(at) {
            Some(later) => time_ms + whole_ms(later - later / DRIFT),
            None => {
                let before = at - instant;
                time_ms.saturating_sub(whole_ms(before + before / DRIFT) + 1)
            }
        })
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The milliseconds of a reply to TIME.
pub(crate) fn time_ms(time: &Value) -> Option<u64> {
    let (seconds, micros): (u64, u64) = redis::from_redis_value_ref(time).ok()?;
    Some(seconds * 1000 + micros / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_never_behind_what_the_server_told_and_its_clock_may_have_run_slow() {
        let clock = ServerClock::default();
        assert_eq!(clock.no_later_than(Instant::now()), None);
        clock.saw(1_000_000);
        let now = Instant::now();
        let bound = |instant| clock.no_later_than(instant).unwrap();
        assert_eq!(bound(now) / 1000, 1000);
        let later = bound(now + Duration::from_secs(1000));
        assert!((1_999_000..=1_999_100).contains(&later), "{later}");
        let before = bound(now - Duration::from_secs(100));
        assert!((899_800..=899_999).contains(&before), "{before}");
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed() {
        let clock = ServerClock::default();
        clock.saw(1_000_000);
        clock.saw(400_000);
        let bound = clock.no_later_than(Instant::now()).unwrap();
        assert!((400_000..500_000).contains(&bound), "{bound}");
    }
}
