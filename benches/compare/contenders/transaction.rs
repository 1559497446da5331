//! cloakroom's writes as MULTI and EXEC in one pipeline, without a rule: what a transaction costs at least.

use async_trait::async_trait;
use redis::Pipeline;

use super::Contender;
use super::floor::{Floor, TIMES_OFFSET, TOMBSTONE_MS, tombstone};
use crate::connections::Connections;
use crate::operation::Operation;
use crate::subject::Subject;

pub(crate) struct Transaction {
    connections: Connections,
    /// A session as cloakroom stores it.
    sample: Vec<u8>,
}

impl Transaction {
    pub(crate) async fn connect(url: &str, sample: Vec<u8>) -> Self {
        Self { connections: Connections::open(url).await, sample }
    }

    fn create(&self, of: &Floor) -> Pipeline {
        let mut writes = redis::pipe();
        writes.cmd("ZADD").arg(&of.user).arg(of.now).arg(&of.id);
        writes
            .cmd("ZADD")
            .arg(&of.expiry)
            .arg("GT")
            .arg("CH")
            .arg(of.expires_at)
            .arg(&of.id)
            .arg(of.deadline)
            .arg("");
        writes.cmd("PEXPIRE").arg(&of.user).arg(of.index_ttl);
        writes.cmd("SET").arg(&of.record).arg(&self.sample).arg("PX").arg(of.ttl);
        writes.cmd("SET").arg(&of.connection).arg(&of.id).arg("PX").arg(of.ttl);
        writes
    }

    fn refresh(of: &Floor) -> Pipeline {
        let mut writes = redis::pipe();
        writes
            .cmd("ZADD")
            .arg(&of.expiry)
            .arg("GT")
            .arg("CH")
            .arg(of.expires_at)
            .arg(&of.id)
            .arg(of.deadline)
            .arg("");
        writes.cmd("SETRANGE").arg(&of.record).arg(TIMES_OFFSET).arg(of.times().as_slice());
        writes
    }

    fn rotate(&self, of: &Floor, new: &Floor) -> Pipeline {
        let mut writes = redis::pipe();
        writes.cmd("ZADD").arg(&of.user).arg(of.now).arg(&new.id);
        writes
            .cmd("ZADD")
            .arg(&of.expiry)
            .arg("GT")
            .arg("CH")
            .arg(of.expires_at)
            .arg(&new.id)
            .arg(of.deadline)
            .arg("");
        writes.cmd("ZREM").arg(&of.expiry).arg(&of.id);
        writes.cmd("ZREM").arg(&of.user).arg(&of.id);
        writes.cmd("SET").arg(&new.record).arg(&self.sample).arg("PX").arg(of.ttl);
        writes.cmd("SET").arg(&of.connection).arg(&new.id).arg("PX").arg(of.ttl);
        writes.cmd("SET").arg(&of.record).arg(tombstone(&self.sample)).arg("PX").arg(TOMBSTONE_MS);
        writes
    }

    fn delete(&self, of: &Floor) -> Pipeline {
        let mut writes = redis::pipe();
        writes.cmd("ZREM").arg(&of.expiry).arg(&of.id);
        writes.cmd("ZREM").arg(&of.user).arg(&of.id);
        writes.cmd("DEL").arg(&of.connection);
        writes.cmd("SET").arg(&of.record).arg(tombstone(&self.sample)).arg("PX").arg(TOMBSTONE_MS);
        writes
    }
}

#[async_trait]
impl Contender for Transaction {
    fn name(&self) -> &'static str {
        "MULTI/EXEC"
    }

    fn crowd(&self) -> &'static str {
        "floor"
    }

    fn has(&self, operation: Operation) -> bool {
        operation.is_of_a_life() || matches!(operation, Operation::Refresh | Operation::Patch)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let of = Floor::of(subject);
        let mut writes = match operation {
            Operation::Create => self.create(&of),
            Operation::Refresh => Self::refresh(&of),
            Operation::Patch => {
                let mut writes = redis::pipe();
                writes.cmd("SET").arg(&of.record).arg(&self.sample).arg("PX").arg(of.ttl);
                writes
            }
            Operation::Rotate => self.rotate(&of, &Floor::of(subject.rotated())),
            Operation::Delete => self.delete(&of),
            _ => unreachable!("it writes nothing"),
        };
        let connection = &mut self.connections.get();
        writes.atomic().query_async::<redis::Value>(connection).await.unwrap();
    }
}
