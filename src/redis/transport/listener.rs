//! The connection on which all readers of a store read events from a server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::redis::transport::ear::Ear;
use crate::redis::transport::pool::Pool;

/// The connection, and the readers that wait on it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) pool: Pool,
    pub(crate) ear: Arc<Ear>,
    /// Held by the reader that checks whether the connection lives: one at a time.
    lookout: Arc<Mutex<()>>,
}

/// The connection of a listener on which something was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOn(u64);

/// Held by the reader that checks whether the connection lives, while the others wait for the result.
#[derive(Debug)]
pub(crate) struct Lookout(#[expect(dead_code, reason = "it is held")] OwnedMutexGuard<()>);

impl Listener {
    /// A listener on the server of a pool.
    pub(crate) fn new(pool: &Pool) -> Self {
        let ear = Arc::<Ear>::default();
        Self { pool: pool.listening(ear.clone()), ear, lookout: Arc::default() }
    }

    /// The present connection, for a read that is about to start. `None`: there is none yet.
    pub(crate) fn read_on(&self) -> Option<ReadOn> {
        self.pool.first().map(|(_, nth)| ReadOn(nth))
    }

    /// How long the connection of a read has been silent. Until then it would have reported each change. `None`:
    /// unknown, because there is another connection by now, or this one is unsound.
    pub(crate) fn silence(&self, read_on: ReadOn) -> Option<Duration> {
        let (connection, nth) = self.pool.first()?;
        (nth == read_on.0 && connection.is_sound()).then(|| connection.silence())
    }

    /// Waits until no other reader checks. By then the connection may have answered.
    pub(crate) async fn lookout(&self) -> Lookout {
        Lookout(self.lookout.clone().lock_owned().await)
    }
}
