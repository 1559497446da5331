//! Makes connections like a service that passes in its own manager.

use cloakroom::clients::bb8::ManageConnection;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};

#[derive(Debug)]
pub(crate) struct Manager(Client);

impl Manager {
    pub(crate) fn new(url: &str) -> Self {
        Self(Client::open(url).unwrap())
    }
}

impl ManageConnection for Manager {
    type Connection = MultiplexedConnection;
    type Error = RedisError;

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        self.0.get_multiplexed_async_connection().await
    }

    async fn is_valid(&self, _: &mut MultiplexedConnection) -> Result<(), RedisError> {
        panic!("the store checks its connections itself")
    }

    fn has_broken(&self, _: &mut MultiplexedConnection) -> bool {
        panic!("the store checks its connections itself")
    }
}
