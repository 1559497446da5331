//! Which sessions the callers take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::operation::HUNDRED;
use crate::subject::Subject;

/// Which sessions, and for how long. The callers share it.
#[derive(Debug)]
pub(crate) struct Supply {
    kind: Kind,
    turn: u32,
    until: Option<Instant>,
}

#[derive(Debug)]
enum Kind {
    /// Any of a crowd of that size.
    Crowd(u64),
    /// One after the other, so far apart.
    Each { next: AtomicU64, end: u64, step: u64, stays: bool },
}

impl Supply {
    pub(crate) fn crowd(size: u64, lasts: Duration) -> Self {
        Self { kind: Kind::Crowd(size), turn: 0, until: Some(Instant::now() + lasts) }
    }

    /// Each session of a crowd, once.
    pub(crate) fn whole_crowd(size: u64) -> Self {
        Self::part_of_crowd(0, size)
    }

    /// The same, for those who make a hundred at once.
    pub(crate) fn crowd_by_hundreds(size: u64) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(0), end: size, step: HUNDRED, stays: true };
        Self { kind, turn: 0, until: None }
    }

    /// Those between two numbers.
    pub(crate) fn part_of_crowd(first: u64, end: u64) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(first), end, step: 1, stays: true };
        Self { kind, turn: 0, until: None }
    }

    /// Sessions that nobody had before.
    pub(crate) fn lives(first: u64, step: u64, lasts: Duration) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(first), end: u64::MAX, step, stays: false };
        Self { kind, turn: 0, until: Some(Instant::now() + lasts) }
    }

    /// Sessions that were made, rotated so often.
    pub(crate) fn made(first: u64, end: u64, turn: u32) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(first), end, step: 1, stays: false };
        Self { kind, turn, until: None }
    }

    /// For another process. Of a crowd, how large it is; else the first, and the one behind the last; how much time is left.
    pub(crate) fn to_json(&self) -> Value {
        let (crowd, first, end) = match &self.kind {
            Kind::Crowd(size) => (Some(*size), None, None),
            Kind::Each { next, end: u64::MAX, .. } => (None, Some(next.load(Ordering::Relaxed)), None),
            Kind::Each { next, end, .. } => (None, Some(next.load(Ordering::Relaxed)), Some(*end)),
        };
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        json!({ "crowd": crowd, "first": first, "end": end, "millis": left.map(|left| left.as_secs_f64() * 1e3) })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    pub(crate) fn next(&self) -> Option<Subject> {
        match &self.kind {
            Kind::Crowd(size) => Some(Subject::of_the_crowd(fastrand::u64(..size))),
            Kind::Each { next, end, step, stays } => {
                let number = next.fetch_add(*step, Ordering::Relaxed);
                (number < *end).then_some(Subject { number, turn: self.turn, stays: *stays })
            }
        }
    }
}
