//! What a refresh sends to a replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::contenders::{self, Contender};
use crate::counters::{field, info};
use crate::measure::{drive, fill};
use crate::operation::Operation;
use crate::options::Options;
use crate::payload::Payload;
use crate::server::Server;
use crate::supply::Supply;
use crate::table;

/// Bytes of the replication stream a refresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replication {
    pub(crate) contender: &'static str,
    pub(crate) payload: Payload,
    pub(crate) bytes: f64,
}

pub(crate) async fn measure(
    redis: &mut MultiplexedConnection,
    server: &Server,
    options: &Options,
) -> Vec<Replication> {
    let refreshes = if options.quick { 20 } else { 2000 };
    let address = server.address();
    let (host, port) = address.split_once(':').expect("host and port");
    let replica = Server::spawn(&["--replicaof", host, port]).await;
    let mut measured = Vec::new();
    for payload in [Payload::SMALL, Payload::LARGE] {
        redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
        let mut filled = Vec::new();
        for contender in contenders::all(server.url(), payload).await {
            if contender.has(Operation::Refresh) {
                if !filled.contains(&contender.crowd()) {
                    fill(redis, &contender, refreshes).await;
                    filled.push(contender.crowd());
                }
                in_step(redis, &replica).await;
                let bytes = sent_by_refreshes(redis, &contender, refreshes).await as f64 / refreshes as f64;
                measured.push(Replication { contender: contender.name(), payload, bytes });
            }
        }
    }
    measured
}

async fn sent_by_refreshes(
    redis: &mut MultiplexedConnection,
    contender: &Arc<dyn Contender>,
    refreshes: u64,
) -> u64 {
    let before = sent(redis).await;
    drive(redis, contender, Operation::Refresh, Supply::whole_crowd(refreshes), 1).await;
    sent(redis).await - before
}

async fn sent(redis: &mut MultiplexedConnection) -> u64 {
    field(&info(redis, "replication").await, "master_repl_offset:").parse().unwrap()
}

/// Waits until the replica has all that there is.
async fn in_step(redis: &mut MultiplexedConnection, replica: &Server) {
    let mut link = replica.connect().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let of_replica = info(&mut link, "replication").await;
        let has: u64 = field(&of_replica, "slave_repl_offset:").parse().unwrap_or_default();
        if field(&of_replica, "master_link_status:") == "up" && has >= sent(redis).await {
            return;
        }
        assert!(Instant::now() < deadline, "the replica does not follow: {of_replica}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn table(measured: &[Replication]) -> String {
    let row = |of: &Replication| vec![of.contender.to_owned(), of.payload.name(), format!("{:.0}", of.bytes)];
    table::markdown(&["who", "attributes", "bytes"], &measured.iter().map(row).collect::<Vec<_>>())
}
