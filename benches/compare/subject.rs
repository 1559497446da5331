//! One session, by its number: each contender makes the same of it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::operation::HUNDRED;

/// How many sessions a user of the crowd has.
pub(crate) const OF_A_USER: u64 = 5;

/// A session that is, or is to be, stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) number: u64,
    /// How often it was rotated.
    pub(crate) turn: u32,
    /// Whether it is of the crowd: users there have five sessions. Others have one.
    pub(crate) stays: bool,
}

impl Subject {
    pub(crate) fn of_the_crowd(number: u64) -> Self {
        Self { number, turn: 0, stays: true }
    }

    pub(crate) fn of_a_life(number: u64) -> Self {
        Self { number, turn: 0, stays: false }
    }

    /// One that shares its number with one of the crowd, but not its id: it has expired when that comes.
    pub(crate) fn expired(number: u64) -> Self {
        Self { turn: u32::from(u16::MAX), ..Self::of_a_life(number) }
    }

    /// One whose number nobody else gets.
    pub(crate) fn sample() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(9_000_000);
        Self::of_a_life(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A hundred of which this is the first.
    pub(crate) fn hundred(self) -> impl Iterator<Item = Self> {
        (self.number..self.number + HUNDRED).map(move |number| Self { number, ..self })
    }

    pub(crate) fn rotated(self) -> Self {
        Self { turn: self.turn + 1, ..self }
    }

    /// As long as a UUID, and spread as one.
    pub(crate) fn id(self) -> String {
        let spread = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        format!("{spread:08x}-{:04x}-4000-8000-{:012x}", self.turn, self.number)
    }

    pub(crate) fn user(self) -> String {
        if self.stays {
            format!("user-{:07}", self.number / OF_A_USER)
        } else {
            format!("life-{:07}", self.number)
        }
    }

    pub(crate) fn connection(self) -> String {
        format!("connection-{:07}", self.number)
    }
}
