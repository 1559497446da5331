//! How a background task ends: by a call of its handle, or when the handle is dropped.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::random;

/// The handle's side.
#[derive(Debug)]
pub(crate) struct Shutdown(watch::Sender<bool>);

/// The task's side.
#[derive(Debug)]
pub(crate) struct ShutdownSignal(watch::Receiver<bool>);

/// Makes both sides. The task must keep its own until it is done.
pub(crate) fn shutdown() -> (Shutdown, ShutdownSignal) {
    let (sender, receiver) = watch::channel(false);
    (Shutdown(sender), ShutdownSignal(receiver))
}

impl Shutdown {
    /// Lets the task finish its current work and end.
    pub(crate) async fn finish(&self) {
        self.0.send_replace(true);
        // The receiver is dropped with the task, whether the task returned or panicked.
        self.0.closed().await;
    }
}

impl ShutdownSignal {
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the task must end.
    pub(crate) async fn set(&mut self) {
        // An error means that the handle was dropped, which ends the task too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Waits for a time, or until the task must end.
    pub(crate) async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.set() => {}
        }
    }
}

/// A tenth more or less, so that processes do not sweep at the same moments.
pub(crate) fn jittered(every: Duration) -> Duration {
    let part = f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX);
    every.mul_f64(0.9 + 0.2 * part)
}
