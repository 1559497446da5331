//! A place in the pool: its connection, and when it may make the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::random;
use crate::redis::transport::connection::Connection;

/// How long the second attempt waits after the first. Each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// After this time without an attempt, the next counts as a first one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// A place in the pool.
#[derive(Debug, Default)]
pub(crate) struct Place {
    connection: RwLock<Option<Connection>>,
    pace: Arc<Mutex<Pace>>,
}

/// The pace of attempts to connect: one at a time, with pauses.
#[derive(Debug, Default)]
struct Pace {
    is_trying: bool,
    /// How many attempts there were in a row.
    attempts: u32,
    last: Option<Instant>,
}

impl Place {
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.look(|connection| connection.cloned())
    }

    /// Looks at the connection without cloning it, because each call looks at several.
    pub(crate) fn look<T>(&self, look: impl FnOnce(Option<&Connection>) -> T) -> T {
        look(self.connection.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }

    pub(crate) fn is_being_filled(&self) -> bool {
        lock(&self.pace).is_trying
    }

    /// The turn to make a connection, unless another task has it.
    pub(crate) fn turn(&self) -> Option<Turn> {
        let mut pace = lock(&self.pace);
        if pace.is_trying {
            return None;
        }
        pace.is_trying = true;
        let now = Instant::now();
        if pace.last.is_none_or(|last| last + FORGOTTEN_AFTER < now) {
            pace.attempts = 0;
        }
        let not_before = pace.last.map_or(now, |last| last + pause_after(pace.attempts));
        pace.attempts += 1;
        Some(Turn { pace: self.pace.clone(), not_before })
    }

    /// Stores a new connection. If the one before answers again, that stays and this returns false, because reads on it
    /// count.
    pub(crate) fn put(&self, connection: Connection) -> bool {
        let mut place = self.connection.write().unwrap_or_else(PoisonError::into_inner);
        let is_taken = !place.as_ref().is_some_and(Connection::is_sound);
        if is_taken {
            *place = Some(connection);
        }
        is_taken
    }
}

/// The pause after this many attempts in a row. A random part shortens it, so that the processes of a fleet do not
/// connect all at once.
fn pause_after(attempts: u32) -> Duration {
    let Some(doublings) = attempts.checked_sub(1) else {
        return Duration::ZERO;
    };
    let longest = FIRST_PAUSE.saturating_mul(1 << doublings.min(10)).min(LONGEST_PAUSE);
    longest / 2 + longest * u32::from(random::<1>()[0]) / 512
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turn to make a connection for a place. Dropping it ends the turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pace: Arc<Mutex<Pace>>,
    not_before: Instant,
}

impl Turn {
    /// Waits until the attempt may begin.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep_until(self.not_before).await;
        lock(&self.pace).last = Some(Instant::now());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.pace).is_trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_in_a_row_come_at_growing_distances() {
        assert_eq!(pause_after(0), Duration::ZERO);
        for (attempts, longest_ms) in [(1, 10), (2, 20), (3, 40), (6, 320), (7, 500), (40, 500)] {
            let longest = Duration::from_millis(longest_ms);
            for _ in 0..100 {
                let pause = pause_after(attempts);
                assert!((longest / 2..=longest).contains(&pause), "{attempts}: {pause:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_filled_by_one_at_a_time() {
        let place = Place::default();
        let mut turn = place.turn().unwrap();
        assert!(place.turn().is_none() && place.is_being_filled());
        let began = Instant::now();
        turn.wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(turn);
        place.turn().unwrap().wait().await;
        assert!(began.elapsed() >= FIRST_PAUSE / 2);
        tokio::time::sleep(2 * FORGOTTEN_AFTER).await;
        let began = Instant::now();
        place.turn().unwrap().wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
