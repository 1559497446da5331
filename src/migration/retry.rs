//! Retries a step while a store is away. Each step can be retried, so only time ends it.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Result;

/// The first pause between two attempts; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Until when steps are retried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry(Instant);

impl Retry {
    pub(crate) fn of(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// Takes a step, and retries it until it is known to have happened.
    pub(crate) async fn with<T, F: Future<Output = Result<T>>>(
        &self,
        mut step: impl FnMut() -> F,
    ) -> Result<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match step().await {
                Err(error) if error.is_ambiguous() || error.is_transient() => error,
                answer => return answer,
            };
            if Instant::now() + pause >= self.0 {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
