//! The time of a test's runtime, stopped: no timer fires, while sockets and tasks go on. So no test needs to know how fast
//! a machine is.

use std::future::poll_fn;
use std::sync::mpsc;

/// Stops the time of a current-thread runtime for as long as this lives.
#[derive(Debug)]
pub(crate) struct StoppedTime {
    /// Ends the thread that keeps the runtime from jumping to its next timer whenever it waits for a socket.
    _end: mpsc::Sender<()>,
}

impl StoppedTime {
    pub(crate) fn stop() -> Self {
        let (end, ended) = mpsc::channel();
        // Tokio's paused time does not jump while such a thread works.
        tokio::task::spawn_blocking(move || ended.recv());
        tokio::time::pause();
        Self { _end: end }
    }

    /// From now on it jumps to the next timer whenever there is nothing else to do, until it is resumed.
    pub(crate) fn jump(self) {}

    /// It goes on as usual.
    pub(crate) fn resume(self) {
        tokio::time::resume();
    }
}

/// Awaits a future, and tells how often it was polled.
pub(crate) async fn polls<T>(future: impl Future<Output = T>) -> (u32, T) {
    let mut future = std::pin::pin!(future);
    let mut polls = 0;
    let output = poll_fn(|context| {
        polls += 1;
        future.as_mut().poll(context)
    })
    .await;
    (polls, output)
}
