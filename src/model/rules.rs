//! The rules for all sessions of a store.

use std::time::Duration;

use crate::model::duration::{LONGEST_DURATION, check_count, check_duration, check_ttl, ms};
use crate::model::error::{Error, Result};
use crate::model::id_scheme::IdScheme;

/// How many sessions one script call handles at most.
pub(crate) const SESSIONS_PER_SCRIPT: usize = 200;

/// The highest session limit per user. One script call can check no more.
const MOST_SESSIONS: u32 = 500;

/// The most bytes for a session's entries, and so for a value: a record stores lengths in three bytes, and a freeze of
/// some hundred bytes may come before the entries.
const MOST_BYTES: usize = 15 * 1024 * 1024;

/// How many events a stream may keep.
const MOST_EVENTS: u32 = 999_999_999;

/// How many entries a session may have at most.
const MOST_ENTRIES: usize = 1_000_000;

/// The touch interval of a service that refreshes with each request. It is shorter if sessions have a short ttl: at
/// most a twentieth of it.
const REQUEST_TOUCH_INTERVAL: Duration = Duration::from_secs(60);
const TOUCHES_PER_TTL: u32 = 20;

/// How long sessions live, how large they may be, how many a user may have.
///
/// All processes that share a namespace should share the rules. Each session keeps the ttl and the deadline it was
/// made with.
///
/// ```
/// use cloakroom::{OnLimit, Rules};
/// use std::time::Duration;
///
/// let rules = Rules::new()
///     .ttl(Duration::from_secs(20 * 60))
///     .max_lifetime(Duration::from_secs(12 * 3600))
///     .sessions_per_user(5, OnLimit::EvictOldest);
/// assert!(rules.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub(crate) ttl: Duration,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) refresh_threshold: f64,
    pub(crate) touch_interval: Duration,
    pub(crate) grace: Duration,
    pub(crate) rotation_grace: Duration,
    pub(crate) tombstone: Duration,
    pub(crate) limit: Option<(u32, OnLimit)>,
    pub(crate) id_scheme: IdScheme,
    pub(crate) value_bytes: usize,
    pub(crate) session_bytes: usize,
    pub(crate) session_entries: usize,
    /// How many events a stream keeps; 0: the engine writes none.
    pub(crate) events: u32,
    /// How long a session lives unused at most, whatever its ttl: for sessions that are kept while Redis is
    /// away.
    pub(crate) idle_cap: Option<Duration>,
}

/// What happens to a login when the user has as many sessions as allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLimit {
    /// The store refuses it.
    Reject,
    /// The store evicts the user's oldest sessions, all above the limit, and returns them so that you can
    /// close their connections.
    EvictOldest,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30 * 60),
            max_lifetime: None,
            refresh_threshold: 0.5,
            touch_interval: Duration::ZERO,
            grace: Duration::from_secs(3600),
            rotation_grace: Duration::from_secs(30),
            tombstone: Duration::from_secs(30),
            limit: None,
            id_scheme: IdScheme::Uuid,
            value_bytes: 256 * 1024,
            session_bytes: 256 * 1024,
            session_entries: 1024,
            events: 0,
            idle_cap: None,
        }
    }
}

impl Rules {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a session lives without being used. Defaults to 30 minutes.
    ///
    /// By the default [threshold](Self::refresh_threshold) a use extends the session only when less than half of the
    /// ttl is left. So with a ttl of 30 minutes, a session ends after 15 to 30 minutes without use: one that is used
    /// once, after 14 minutes, ends after 30. That costs the fewest writes. If the time is a promise, such as "30
    /// minutes unused", set the [idle timeout](Self::idle_timeout) instead.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long a session lives at most, however much it is used. Defaults to no limit.
    #[must_use]
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// How long a session lives after its last use. Sets the [ttl](Self::ttl), makes every use extend it, and sets the
    /// [touch interval](Self::touch_interval_for_requests) for a service that refreshes with each request. So the
    /// store writes a busy session once a minute, and "30 minutes unused" means 29 to 30. The page `docs/guide.md`
    /// says which calls are uses.
    ///
    /// ```
    /// use cloakroom::Rules;
    /// use std::time::Duration;
    ///
    /// let rules = Rules::new().idle_timeout(Duration::from_secs(30 * 60));
    /// assert_eq!(rules.get_ttl(), Duration::from_secs(30 * 60));
    /// assert_eq!(rules.get_refresh_threshold(), 1.0);
    /// assert_eq!(rules.get_touch_interval(), Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.ttl(timeout).refresh_threshold(1.0).touch_interval_for_requests()
    }

    /// A use extends a session when less than this part of its ttl is left; 1.0 extends it each time.
    /// Defaults to 0.5.
    #[must_use]
    pub fn refresh_threshold(mut self, part: f64) -> Self {
        self.refresh_threshold = part;
        self
    }

    /// For this long after a recorded use, a refresh writes nothing, unless the session would expire within
    /// that time. It is then a read, as cheap as a `get`. Patches, updates and binds do not record the use
    /// then either. Defaults to zero: each refresh is written.
    #[must_use]
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = interval;
        self
    }

    /// Sets the [touch interval](Self::touch_interval) for a service that refreshes a session with each request: 60
    /// seconds, or a twentieth of the ttl if that is less. Set the [ttl](Self::ttl) before.
    ///
    /// ```
    /// use cloakroom::Rules;
    /// use std::time::Duration;
    ///
    /// let rules = Rules::new().ttl(Duration::from_secs(600)).touch_interval_for_requests();
    /// assert_eq!(rules.get_touch_interval(), Duration::from_secs(30));
    /// ```
    #[must_use]
    pub fn touch_interval_for_requests(self) -> Self {
        let interval = (self.ttl / TOUCHES_PER_TTL).min(REQUEST_TOUCH_INTERVAL);
        self.touch_interval(interval)
    }

    /// How long an expired session stays stored, so that a reaper can report it. Defaults to one hour.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long the old id of a rotated session still leads to it. Defaults to 30 seconds.
    #[must_use]
    pub fn rotation_grace(mut self, grace: Duration) -> Self {
        self.rotation_grace = grace;
        self
    }

    /// How long nobody can create a session under the id of a deleted one. Defaults to 30 seconds.
    #[must_use]
    pub fn tombstone(mut self, tombstone: Duration) -> Self {
        self.tombstone = tombstone;
        self
    }

    /// How many live sessions a user may have, 1 to 500, and what happens to one more. The store checks it
    /// when a session is created for a user or rotated to one. Defaults to no limit.
    #[must_use]
    pub fn sessions_per_user(mut self, limit: u32, then: OnLimit) -> Self {
        self.limit = Some((limit, then));
        self
    }

    /// How the store makes ids for sessions that are created without one. Defaults to [`IdScheme::Uuid`].
    #[must_use]
    pub fn id_scheme(mut self, scheme: IdScheme) -> Self {
        self.id_scheme = scheme;
        self
    }

    /// The largest JSON text of one attribute or extension, in bytes: 1 to 15 MiB. Defaults to 256 KiB.
    #[must_use]
    pub fn value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = bytes;
        self
    }

    /// How many bytes all attributes and extensions of a session may take, with their keys and five bytes each: 1 to 15
    /// MiB. Defaults to 256 KiB. Up to that, no script holds the server for 10 ms; a change of a session of 4 MiB takes
    /// 14 to 20 ms. With a higher limit, a read takes one more round trip if the session has 64 KiB or more, or does
    /// not exist.
    #[must_use]
    pub fn session_bytes(mut self, bytes: usize) -> Self {
        self.session_bytes = bytes;
        self
    }

    /// How many attributes and extensions a session may have together, and how many of them one call may change: 1 to
    /// 1,000,000. A patch that compacts the session walks over all of them. Defaults to 1,024.
    #[must_use]
    pub fn session_entries(mut self, entries: usize) -> Self {
        self.session_entries = entries;
        self
    }

    /// Writes events in the same step that changes a session, and keeps about this many per partition and per node: up
    /// to 999,999,999. The namespace records whether it has events, and a store with the other setting does not start.
    /// Defaults to 0: no events.
    #[must_use]
    pub fn events(mut self, keep: u32) -> Self {
        self.events = keep;
        self
    }

    /// How long a session lives without being used.
    #[must_use]
    pub fn get_ttl(&self) -> Duration {
        self.ttl
    }

    /// How long a session lives at most, however much it is used.
    #[must_use]
    pub fn get_max_lifetime(&self) -> Option<Duration> {
        self.max_lifetime
    }

    /// The part of its ttl below which a refresh extends a session.
    #[must_use]
    pub fn get_refresh_threshold(&self) -> f64 {
        self.refresh_threshold
    }

    /// How long after a use a refresh writes again.
    #[must_use]
    pub fn get_touch_interval(&self) -> Duration {
        self.touch_interval
    }

    /// How long an expired session stays stored.
    #[must_use]
    pub fn get_grace(&self) -> Duration {
        self.grace
    }

    /// How long the old id of a rotated session still leads to it.
    #[must_use]
    pub fn get_rotation_grace(&self) -> Duration {
        self.rotation_grace
    }

    /// How long nobody can create a session under the id of a deleted one.
    #[must_use]
    pub fn get_tombstone(&self) -> Duration {
        self.tombstone
    }

    /// How many live sessions a user may have, and what happens to one more.
    #[must_use]
    pub fn get_sessions_per_user(&self) -> Option<(u32, OnLimit)> {
        self.limit
    }

    /// How the store makes ids.
    #[must_use]
    pub fn get_id_scheme(&self) -> IdScheme {
        self.id_scheme
    }

    /// The largest JSON text of one attribute or extension, in bytes.
    #[must_use]
    pub fn get_value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// How many bytes all attributes and extensions of a session may take.
    #[must_use]
    pub fn get_session_bytes(&self) -> usize {
        self.session_bytes
    }

    /// How many attributes and extensions a session may have together.
    #[must_use]
    pub fn get_session_entries(&self) -> usize {
        self.session_entries
    }

    /// How many events are kept per partition and per node; 0 for no events.
    #[must_use]
    pub fn get_events(&self) -> u32 {
        self.events
    }

    /// Checks the rules, as a store does when it is built.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the rule and its limits.
    pub fn validate(&self) -> Result<()> {
        check_ttl("ttl", self.ttl)?;
        if let Some(lifetime) = self.max_lifetime {
            check_duration("max_lifetime", lifetime, Duration::from_millis(1), LONGEST_DURATION)?;
        }
        if !(self.refresh_threshold > 0.0 && self.refresh_threshold <= 1.0) {
            return Err(Error::invalid("refresh_threshold", "must be above 0.0 and at most 1.0"));
        }
        check_duration("touch_interval", self.touch_interval, Duration::ZERO, self.ttl)?;
        check_duration("grace", self.grace, Duration::from_secs(1), LONGEST_DURATION)?;
        check_duration("rotation_grace", self.rotation_grace, Duration::from_millis(1), LONGEST_DURATION)?;
        check_duration("tombstone", self.tombstone, Duration::from_millis(1), LONGEST_DURATION)?;
        if let Some((limit, _)) = self.limit
            && !(1..=MOST_SESSIONS).contains(&limit)
        {
            return Err(Error::invalid(
                "sessions_per_user",
                format!("is {limit}, must be 1 to {MOST_SESSIONS}"),
            ));
        }
        for (field, bytes) in [("value_bytes", self.value_bytes), ("session_bytes", self.session_bytes)] {
            if !(1..=MOST_BYTES).contains(&bytes) {
                return Err(Error::invalid(field, format!("is {bytes}, must be 1 to {MOST_BYTES}")));
            }
        }
        if self.events > MOST_EVENTS {
            return Err(Error::invalid("events", format!("is {}, must be 0 to {MOST_EVENTS}", self.events)));
        }
        check_count("session_entries", self.session_entries, MOST_ENTRIES)
    }

    /// Whether a refresh at a given time has something to write, as `refresh.lua` decides: the last use was a touch
    /// interval ago, or no more than a touch interval is left.
    pub(crate) fn is_touch_due(&self, last_active: u64, expires_at: u64, now: u64) -> bool {
        let touch = ms(self.touch_interval);
        now.abs_diff(last_active) >= touch || expires_at <= now.saturating_add(touch)
    }

    /// The session limit per user and the policy, as the scripts take them.
    pub(crate) fn limit_arguments(&self) -> (u32, &'static str) {
        match self.limit {
            None => (0, "reject"),
            Some((limit, OnLimit::Reject)) => (limit, "reject"),
            Some((limit, OnLimit::EvictOldest)) => (limit, "evict"),
        }
    }

    /// The threshold in thousandths: the scripts take no floats.
    pub(crate) fn threshold_thousandths(&self) -> u64 {
        // In (0, 1], so the cast neither truncates nor loses a sign.
        (self.refresh_threshold * 1000.0).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_rule_is_named_with_its_limits() {
        let zero = Duration::ZERO;
        for (rules, field) in [
            (Rules::new().ttl(zero), "ttl"),
            (Rules::new().ttl(LONGEST_DURATION * 2), "ttl"),
            (Rules::new().max_lifetime(zero), "max_lifetime"),
            (Rules::new().refresh_threshold(0.0), "refresh_threshold"),
            (Rules::new().refresh_threshold(1.1), "refresh_threshold"),
            (Rules::new().refresh_threshold(f64::NAN), "refresh_threshold"),
            (Rules::new().touch_interval(LONGEST_DURATION), "touch_interval"),
            (Rules::new().grace(zero), "grace"),
            (Rules::new().rotation_grace(zero), "rotation_grace"),
            (Rules::new().tombstone(zero), "tombstone"),
            (Rules::new().sessions_per_user(0, OnLimit::Reject), "sessions_per_user"),
            (Rules::new().sessions_per_user(501, OnLimit::Reject), "sessions_per_user"),
            (Rules::new().value_bytes(0), "value_bytes"),
            (Rules::new().value_bytes(MOST_BYTES + 1), "value_bytes"),
            (Rules::new().session_bytes(MOST_BYTES + 1), "session_bytes"),
            (Rules::new().session_entries(0), "session_entries"),
            (Rules::new().events(MOST_EVENTS + 1), "events"),
            (Rules::new().session_entries(MOST_ENTRIES + 1), "session_entries"),
        ] {
            let error = rules.validate().unwrap_err();
            assert!(matches!(&error, Error::Invalid(invalid) if invalid.field == field), "{error}");
        }
        assert!(Rules::new().validate().is_ok());
    }
}
