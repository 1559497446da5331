//! The pool of those contenders that have none of their own: as many multiplexed connections as everybody has, handed
//! out in turn. Nothing is asked at check-out, so none is faster.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};

/// Connections of each contender.
pub(crate) const CONNECTIONS: usize = 4;

/// A machine that is busy with other things makes a call slow, and does not end it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a connection may have waiting to be written, as cloakroom's may.
const WRITE_QUEUE: usize = 1024;

#[derive(Debug)]
pub(crate) struct Connections {
    links: Vec<MultiplexedConnection>,
    turn: AtomicUsize,
}

impl Connections {
    pub(crate) async fn open(url: &str) -> Self {
        let client = Client::open(url).unwrap();
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(PATIENCE))
            .set_pipeline_buffer_size(WRITE_QUEUE);
        let mut links = Vec::new();
        for _ in 0..CONNECTIONS {
            links.push(client.get_multiplexed_async_connection_with_config(&config).await.unwrap());
        }
        Self { links, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn get(&self) -> MultiplexedConnection {
        self.links[self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS].clone()
    }
}
