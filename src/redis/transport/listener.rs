//! The connection on which a store reads events at a server: one for all readers.

use std::sync::Arc;

use crate::redis::transport::ear::Ear;
use crate::redis::transport::pool::Pool;

/// The connection, and who waits for what there.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) pool: Pool,
    pub(crate) ear: Arc<Ear>,
}

impl Listener {
    /// One that leads to where a pool does.
    pub(crate) fn new(pool: &Pool) -> Self {
        let ear = Arc::<Ear>::default();
        Self { pool: pool.listening(ear.clone()), ear }
    }
}
