//! Limits the rate of commands that touch many sessions of a busy server.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A rate of at most this many per second.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u32,
    /// When the next one may begin.
    next: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, next: Instant::now() }
    }

    /// The size of a page: as many as take a tenth of a second.
    pub(crate) fn page(&self, most: usize) -> usize {
        (self.per_second as usize / 10).clamp(1, most)
    }

    /// Waits until this many more may be done. Unused time before does not count.
    pub(crate) async fn wait_for(&mut self, count: usize) {
        sleep_until(self.next).await;
        let took = Duration::from_secs_f64(count as f64 / f64::from(self.per_second));
        self.next = self.next.max(Instant::now()) + took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_are_done_than_may_be_and_a_pause_is_not_made_up_for() {
        let (mut pace, began) = (Pace::new(100), Instant::now());
        for _ in 0..10 {
            pace.wait_for(10).await;
        }
        assert_eq!(began.elapsed().as_millis(), 900);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        for _ in 0..3 {
            pace.wait_for(50).await;
        }
        assert_eq!(began.elapsed().as_millis(), 1000);
    }

    #[tokio::test]
    async fn a_page_is_small_where_the_rate_is() {
        let pages = [1, 99, 1000, 1_000_000].map(|per_second| Pace::new(per_second).page(200));
        assert_eq!(pages, [1, 9, 100, 200]);
    }
}
