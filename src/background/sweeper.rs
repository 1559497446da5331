//! A task that sweeps through all due work, pauses, and starts again.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::background::shutdown::{Shutdown, ShutdownSignal, jittered, shutdown};
use crate::model::{Result, check_duration, require_runtime};
use crate::store::meter;

/// The longest pause between two sweeps: a week.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The repeated work of a task.
pub(crate) trait Sweep: Send + 'static {
    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Goes through all due work, batch by batch, until there is no more or the task must end. After an error the next
    /// sweep tries again; `Break` ends the task.
    fn sweep(&mut self, signal: &ShutdownSignal) -> impl Future<Output = Result<ControlFlow<()>>> + Send;

    /// Waits for the task's own reason to end.
    fn is_over(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The handle of such a task. Dropping it ends the task.
#[derive(Debug)]
pub(crate) struct Sweeper {
    shutdown: Shutdown,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    sweeps: AtomicU64,
    errors: AtomicU64,
}

impl Sweeper {
    /// Starts to sweep. The pauses vary by a tenth around `every`, so that processes do not sweep at the same
    /// moments.
    pub(crate) fn spawn<S: Sweep>(sweep: S, every: Duration) -> Result<Self> {
        require_runtime()?;
        check_duration("every", every, Duration::from_millis(1), LONGEST_PAUSE)?;
        let (shutdown, signal) = shutdown();
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        tokio::spawn(async move {
            // The signal is dropped last. A caller that stops the task waits for that, and by then nothing of the
            // sweep is left.
            let (mut signal, mut sweep) = (signal, sweep);
            while !signal.is_set() {
                let swept = sweep.sweep(&signal).await;
                let outcome = if swept.is_ok() { "ok" } else { "error" };
                meter::SWEEPS.add(1, &[(meter::TASK, S::NAME), (meter::OUTCOME, outcome)]);
                match swept {
                    Ok(ControlFlow::Continue(())) => counted.sweeps.fetch_add(1, Ordering::Relaxed),
                    Ok(ControlFlow::Break(())) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the {} failed; its next sweep tries again", S::NAME);
                        counted.errors.fetch_add(1, Ordering::Relaxed)
                    }
                };
                tokio::select! {
                    () = signal.pause(jittered(every)) => {}
                    () = sweep.is_over() => return,
                }
            }
        });
        Ok(Self { shutdown, counters })
    }

    /// How many sweeps it finished.
    pub(crate) fn sweeps(&self) -> u64 {
        self.counters.sweeps.load(Ordering::Relaxed)
    }

    /// How many sweeps failed.
    pub(crate) fn errors(&self) -> u64 {
        self.counters.errors.load(Ordering::Relaxed)
    }

    /// Lets the task finish its current batch and end.
    pub(crate) async fn stop(&self) {
        self.shutdown.finish().await;
    }
}
