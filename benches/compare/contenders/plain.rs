//! SET and GET of the same bytes, and nothing else: the limit.

use async_trait::async_trait;
use redis::AsyncCommands;

use super::floor::record_key;
use super::{Contender, TTL};
use crate::connections::Connections;
use crate::operation::Operation;
use crate::subject::Subject;

pub(crate) struct Plain {
    connections: Connections,
    /// A session as cloakroom stores it.
    sample: Vec<u8>,
}

impl Plain {
    pub(crate) async fn connect(url: &str, sample: Vec<u8>) -> Self {
        Self { connections: Connections::open(url).await, sample }
    }
}

#[async_trait]
impl Contender for Plain {
    fn name(&self) -> &'static str {
        "plain SET/GET"
    }

    fn crowd(&self) -> &'static str {
        "floor"
    }

    fn has(&self, operation: Operation) -> bool {
        matches!(
            operation,
            Operation::Create | Operation::Get | Operation::Request | Operation::Patch | Operation::Delete
        )
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let (mut redis, key) = (self.connections.get(), record_key(&subject.id()));
        match operation {
            Operation::Create | Operation::Patch => {
                redis.set_ex::<_, _, ()>(key, &self.sample, TTL.as_secs()).await.unwrap();
            }
            Operation::Get | Operation::Request => {
                let record: Option<Vec<u8>> = redis.get(key).await.unwrap();
                assert!(record.is_some());
            }
            Operation::Delete => redis.del::<_, ()>(key).await.unwrap(),
            _ => unreachable!("it has no {operation:?}"),
        }
    }
}
