//! How a task in the background is ended: by its handle, or when that is dropped.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::random;

/// The handle's side.
#[derive(Debug)]
pub(crate) struct Shutdown(watch::Sender<bool>);

/// The task's side.
#[derive(Debug)]
pub(crate) struct ShutdownSignal(watch::Receiver<bool>);

/// Both sides. The task has to keep its own until it is done.
pub(crate) fn shutdown() -> (Shutdown, ShutdownSignal) {
    let (sender, receiver) = watch::channel(false);
    (Shutdown(sender), ShutdownSignal(receiver))
}

impl Shutdown {
    /// Lets the task finish what it is at, and end.
    pub(crate) async fn finish(&self) {
        self.0.send_replace(true);
        // The receiver goes with the task, whether that returned or a callback panicked.
        self.0.closed().await;
    }
}

impl ShutdownSignal {
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the task is to end.
    pub(crate) async fn set(&mut self) {
        // An error means that the handle was dropped, which ends it too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Waits for a time, or until the task is to end.
    pub(crate) async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.set() => {}
        }
    }
}

/// A tenth more or less, so that processes do not march in step.
pub(crate) fn jittered(every: Duration) -> Duration {
    let part = f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX);
    every.mul_f64(0.9 + 0.2 * part)
}
