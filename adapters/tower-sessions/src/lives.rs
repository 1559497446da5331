//! Converts how long a session lives between the framework and the store.

use std::time::Duration;

use time::OffsetDateTime;

/// The longest time that a store accepts.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// From now until a time; `None` if that is over.
pub(crate) fn until(expiry: OffsetDateTime) -> Option<Duration> {
    let left = Duration::try_from(expiry - OffsetDateTime::now_utc()).ok()?;
    let left = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)).min(LONGEST);
    (!left.is_zero()).then_some(left)
}

/// A ttl that differs from the stored one: one millisecond less if they are equal. Only a different ttl starts a new
/// idle time, and each save must start one.
pub(crate) fn anew(ttl: Duration, stored: Duration) -> Duration {
    let one = Duration::from_millis(1);
    if ttl != stored {
        ttl
    } else if ttl > one {
        ttl - one
    } else {
        ttl + one
    }
}

/// A time of the store, as the framework has it.
pub(crate) fn time(ms: u64) -> OffsetDateTime {
    let nanoseconds = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
