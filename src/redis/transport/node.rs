//! A server that a store sends to: its connections, and the reads that share pipelines on them.

use std::sync::Arc;

use crate::redis::transport::address::Address;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::read_batcher::ReadBatcher;

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    /// `None`: the only server, wherever it is.
    pub(crate) address: Option<Address>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) reads: Arc<ReadBatcher>,
}

impl Node {
    pub(crate) fn new(address: Option<Address>, pool: Pool) -> Self {
        Self { address, pool: Arc::new(pool), reads: Arc::default() }
    }
}

/// Where something is sent.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) node: Arc<Node>,
    /// The node does not own the slot yet, and serves what begins with ASKING.
    pub(crate) is_asked: bool,
}
