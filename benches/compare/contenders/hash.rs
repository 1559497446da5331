//! A session as a hash with a field an attribute, with the indexes that cloakroom has: only for what it takes of memory.

use std::time::SystemTime;

use async_trait::async_trait;

use super::{Contender, TTL};
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
        let (id, user, connection) = (subject.id(), subject.user(), subject.connection());
        let record_key = format!("{{hash:0}}:session:{id}");
        let user_key = format!("{{hash:0}}:user:{user}:sessions");
        let connection_key = format!("{{hash:0}}:connection:{connection}:session");
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let ttl = TTL.as_millis() as u64;
        let mut writes = redis::pipe();
        let hash = writes.cmd("HSET").arg(&record_key).arg("user").arg(&user);
        hash.arg("connection").arg(&connection).arg("created_at").arg(now);
        hash.arg("last_active").arg(now).arg("expires_at").arg(now + ttl);
        for (name, value) in self.payload.attributes() {
            hash.arg(name).arg(serde_json::to_string(&value).unwrap());
        }
        writes.cmd("PEXPIRE").arg(&record_key).arg(ttl);
        writes.cmd("ZADD").arg(&user_key).arg(now).arg(&id);
        writes.cmd("PEXPIRE").arg(&user_key).arg(ttl);
        writes.cmd("ZADD").arg("{hash:0}:expiry").arg(now + ttl).arg(&id);
        writes.cmd("SET").arg(&connection_key).arg(&id).arg("PX").arg(ttl);
        writes.query_async::<redis::Value>(&mut self.connections.get()).await.unwrap();
    }
}
