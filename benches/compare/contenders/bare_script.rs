//! cloakroom's writes as scripts that read nothing and decide nothing: what a script costs at least.

use async_trait::async_trait;
use redis::Cmd;

use super::Contender;
use super::floor::{Floor, TIMES_OFFSET, TOMBSTONE_MS, tombstone};
use crate::connections::Connections;
use crate::operation::Operation;
use crate::subject::Subject;

// The commands are those of `lua/create.lua` and its like, in their order, in the state that is measured. The server
// time part holds the numbers of writes equal.

const CREATE: &str = "
    redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
    redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
    redis.call('ZADD', KEYS[2], 'GT', 'CH', ARGV[4], '')
    redis.call('PEXPIRE', KEYS[3], ARGV[5])
    redis.call('SET', KEYS[1], ARGV[7], 'PX', ARGV[6])
    redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[6])
    return 1";
const REFRESH: &str = "
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
    redis.call('SETRANGE', KEYS[1], ARGV[3], ARGV[4])
    return 1";
const PATCH: &str = "
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
    return 1";
const ROTATE: &str = "
    redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
    redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
    redis.call('ZADD', KEYS[2], 'GT', 'CH', ARGV[5], '')
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('SET', KEYS[5], ARGV[7], 'PX', ARGV[6])
    redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[6])
    redis.call('SET', KEYS[1], ARGV[9], 'PX', ARGV[8])
    return 1";
const DELETE: &str = "
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('DEL', KEYS[4])
    redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
    return 1";

pub(crate) struct BareScript {
    connections: Connections,
    /// A session as cloakroom stores it.
    sample: Vec<u8>,
    names: Names,
}

/// The SHA-1 of each.
struct Names {
    create: String,
    refresh: String,
    patch: String,
    rotate: String,
    delete: String,
}

impl BareScript {
    pub(crate) async fn connect(url: &str, sample: Vec<u8>) -> Self {
        let connections = Connections::open(url).await;
        let load = async |script: &str| {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(script).query_async::<String>(&mut connections.get()).await.unwrap()
        };
        let names = Names {
            create: load(CREATE).await,
            refresh: load(REFRESH).await,
            patch: load(PATCH).await,
            rotate: load(ROTATE).await,
            delete: load(DELETE).await,
        };
        Self { connections, sample, names }
    }
}

/// Four keys, in the order of cloakroom's scripts, and more.
fn call(script: &str, of: &Floor, more: &[&str]) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(script).arg(4 + more.len());
    call.arg(&of.record).arg(&of.expiry).arg(&of.user).arg(&of.connection).arg(more);
    call
}

#[async_trait]
impl Contender for BareScript {
    fn name(&self) -> &'static str {
        "bare script"
    }

    fn crowd(&self) -> &'static str {
        "floor"
    }

    fn has(&self, operation: Operation) -> bool {
        operation.is_of_a_life() || matches!(operation, Operation::Refresh | Operation::Patch)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let (of, names) = (Floor::of(subject), &self.names);
        let call = match operation {
            Operation::Create => {
                let mut call = call(&names.create, &of, &[]);
                call.arg(&of.id)
                    .arg(of.now)
                    .arg(of.expires_at)
                    .arg(of.deadline)
                    .arg(of.index_ttl)
                    .arg(of.ttl);
                call.arg(&self.sample);
                call
            }
            Operation::Refresh => {
                let mut call = call(&names.refresh, &of, &[]);
                call.arg(&of.id).arg(of.expires_at);
                call.arg(TIMES_OFFSET).arg(of.times().as_slice());
                call
            }
            Operation::Patch => {
                let mut call = call(&names.patch, &of, &[]);
                call.arg(of.ttl).arg(&self.sample);
                call
            }
            Operation::Rotate => {
                let new = Floor::of(subject.rotated());
                let mut call = call(&names.rotate, &of, &[&new.record]);
                call.arg(&of.id).arg(&new.id).arg(of.now).arg(of.expires_at).arg(of.deadline).arg(of.ttl);
                call.arg(&self.sample).arg(TOMBSTONE_MS).arg(tombstone(&self.sample));
                call
            }
            Operation::Delete => {
                let mut call = call(&names.delete, &of, &[]);
                call.arg(&of.id).arg(TOMBSTONE_MS).arg(tombstone(&self.sample));
                call
            }
            _ => unreachable!("it writes nothing"),
        };
        assert_eq!(call.query_async::<u8>(&mut self.connections.get()).await.unwrap(), 1);
    }
}
