//! Handles Ctrl-C, so that work under way ends cleanly.

use tokio::sync::watch;

/// Whether the operator has interrupted the program.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From now on Ctrl-C ends the program only where it checks this.
    pub(crate) fn listen() -> Self {
        let (set, is_set) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                set.send_replace(true);
            }
            // Without signals, waiters wait for ever.
            set.closed().await;
        });
        Self(is_set)
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the operator interrupts.
    pub(crate) async fn wait(&mut self) {
        // The task ends only after this.
        let _ = self.0.wait_for(|is_set| *is_set).await;
    }
}
