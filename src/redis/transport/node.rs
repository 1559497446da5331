//! A server of a store: its connections, and the reads that share pipelines on them.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::redis::transport::address::Address;
use crate::redis::transport::listener::Listener;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::read_batcher::ReadBatcher;

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    /// `None`: the only server, whatever its address.
    pub(crate) address: Option<Address>,
    pub(crate) pool: Arc<Pool>,
    /// The pool for large requests. If one caller has a connection alone, it is the same pool.
    pub(crate) large: Arc<Pool>,
    pub(crate) reads: Arc<ReadBatcher>,
    /// The listener for events, if there are readers.
    listener: Mutex<Weak<Listener>>,
}

impl Node {
    pub(crate) fn new(address: Option<Address>, pool: Pool) -> Self {
        let pool = Arc::new(pool);
        let (large, reads, listener) = (pool.for_large(), Arc::default(), Mutex::default());
        Self { address, large, pool, reads, listener }
    }

    /// The connection on which all readers of a store read events there.
    pub(crate) fn listener(&self) -> Arc<Listener> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Listener::new(&self.pool));
            *listener = Arc::downgrade(&new);
            new
        })
    }
}
