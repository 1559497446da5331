//! A session as a hash with a field an attribute, with the indexes that cloakroom has: only for what it takes of memory.

use async_trait::async_trait;

use super::Contender;
use super::floor::Floor;
use crate::connections::Connections;
use crate::operation::Operation;
use crate::payload::Payload;
use crate::subject::Subject;

pub(crate) struct Hash {
    connections: Connections,
    payload: Payload,
}

impl Hash {
    pub(crate) async fn connect(url: &str, payload: Payload) -> Self {
        Self { connections: Connections::open(url).await, payload }
    }
}

#[async_trait]
impl Contender for Hash {
    fn name(&self) -> &'static str {
        "hash"
    }

    fn has(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn run(&self, _: Operation, subject: Subject) {
        let of = Floor::of(subject);
        let mut writes = redis::pipe();
        let hash = writes.cmd("HSET").arg(&of.record);
        hash.arg("user").arg(subject.user()).arg("connection").arg(subject.connection());
        hash.arg("created_at")
            .arg(of.now)
            .arg("last_active")
            .arg(of.now)
            .arg("expires_at")
            .arg(of.expires_at);
        for (name, value) in self.payload.attributes() {
            hash.arg(name).arg(serde_json::to_string(&value).unwrap());
        }
        writes.cmd("PEXPIRE").arg(&of.record).arg(of.ttl);
        writes.cmd("ZADD").arg(&of.user).arg(of.now).arg(&of.id);
        writes.cmd("PEXPIRE").arg(&of.user).arg(of.index_ttl);
        writes.cmd("ZADD").arg(&of.expiry).arg(of.expires_at).arg(&of.id);
        writes.cmd("SET").arg(&of.connection).arg(&of.id).arg("PX").arg(of.ttl);
        writes.query_async::<redis::Value>(&mut self.connections.get()).await.unwrap();
    }
}
