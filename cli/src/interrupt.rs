//! Ctrl-C, which what is under way comes to a good end for.

use tokio::sync::watch;

/// Whether somebody wants it to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From now on Ctrl-C ends the program only where this is looked at.
    pub(crate) fn listen() -> Self {
        let (set, is_set) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                set.send_replace(true);
            }
            // Who waits waits on, where there are no signals.
            set.closed().await;
        });
        Self(is_set)
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody does.
    pub(crate) async fn wait(&mut self) {
        // Its task ends after this.
        let _ = self.0.wait_for(|is_set| *is_set).await;
    }
}
