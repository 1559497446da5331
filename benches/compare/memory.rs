//! What a session takes of the server's memory.

use redis::aio::MultiplexedConnection;

use crate::contenders;
use crate::counters::{field, info};
use crate::measure::drive;
use crate::operation::Operation;
use crate::options::Options;
use crate::payload::Payload;
use crate::supply::Supply;
use crate::table;

/// Bytes of `used_memory` a session, over 100,000 with a user each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) contender: &'static str,
    pub(crate) bytes: f64,
}

pub(crate) async fn measure(redis: &mut MultiplexedConnection, url: &str, options: &Options) -> Vec<Memory> {
    let sessions = options.sessions.min(100_000);
    let mut measured = Vec::new();
    for contender in contenders::weighed(url).await {
        redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
        let before = used(redis).await;
        drive(redis, &contender, Operation::Create, Supply::made(0, sessions, 0), 256).await;
        let bytes = used(redis).await.saturating_sub(before) as f64 / sessions as f64;
        measured.push(Memory { contender: contender.name(), bytes });
    }
    measured
}

async fn used(redis: &mut MultiplexedConnection) -> u64 {
    field(&info(redis, "memory").await, "used_memory:").parse().unwrap()
}

pub(crate) fn table(measured: &[Memory]) -> String {
    let row =
        |of: &Memory| vec![of.contender.to_owned(), Payload::WEIGHED.name(), format!("{:.0}", of.bytes)];
    table::markdown(&["who", "attributes", "bytes a session"], &measured.iter().map(row).collect::<Vec<_>>())
}
