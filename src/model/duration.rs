//! Checks durations and counts against their bounds.

use std::time::Duration;

use crate::model::error::{Error, Result};

/// The longest idle time and lifetime: ten years.
pub(crate) const LONGEST_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Checks a ttl that a caller gave, for all sessions or for one.
pub(crate) fn check_ttl(field: &'static str, ttl: Duration) -> Result<()> {
    check_duration(field, ttl, Duration::from_millis(1), LONGEST_DURATION)
}

/// Checks a lifetime that a caller gave, for all sessions or for one.
pub(crate) fn check_lifetime(lifetime: Duration) -> Result<()> {
    check_duration("lifetime", lifetime, Duration::from_millis(1), LONGEST_DURATION)
}

/// Checks a duration against its bounds.
pub(crate) fn check_duration(
    field: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<()> {
    if value < least || value > most {
        return Err(Error::invalid(field, format!("is {value:?}, must be {least:?} to {most:?}")));
    }
    Ok(())
}

/// Whole milliseconds, as Redis counts.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Checks a count against its bounds.
pub(crate) fn check_count(field: &'static str, count: usize, most: usize) -> Result<()> {
    if !(1..=most).contains(&count) {
        return Err(Error::invalid(field, format!("is {count}, must be 1 to {most}")));
    }
    Ok(())
}
