//! The connection on which a store reads events at a server: one for all readers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::redis::transport::ear::Ear;
use crate::redis::transport::pool::Pool;

/// The connection, and who waits for what there.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) pool: Pool,
    pub(crate) ear: Arc<Ear>,
    /// Who looks whether the connection lives: one at a time.
    lookout: Arc<Mutex<()>>,
}

/// Which of the connections of a listener something was read on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOn(u64);

/// That one looks whether the connection lives, and the others wait for what comes of it.
#[derive(Debug)]
pub(crate) struct Lookout(#[expect(dead_code, reason = "it is held")] OwnedMutexGuard<()>);

impl Listener {
    /// One that leads to where a pool does.
    pub(crate) fn new(pool: &Pool) -> Self {
        let ear = Arc::<Ear>::default();
        Self { pool: pool.listening(ear.clone()), ear, lookout: Arc::default() }
    }

    /// The connection that there is, on which something is about to be read. `None`: it is yet to be made.
    pub(crate) fn read_on(&self) -> Option<ReadOn> {
        self.pool.first().map(|(_, nth)| ReadOn(nth))
    }

    /// How long nothing was heard on the connection that something was read on. Up to then word of each change of that would
    /// have come. `None`: nobody knows, for it is another by now, or something is wrong with it.
    pub(crate) fn silence(&self, read_on: ReadOn) -> Option<Duration> {
        let (connection, nth) = self.pool.first()?;
        (nth == read_on.0 && connection.is_sound()).then(|| connection.silence())
    }

    /// Waits until nobody else looks: then what was silent may have been heard of.
    pub(crate) async fn lookout(&self) -> Lookout {
        Lookout(self.lookout.clone().lock_owned().await)
    }
}
