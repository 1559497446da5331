//! What 16 partitions cost on a cluster of one, two and three masters: `cargo bench --bench masters`.
//!
//! Client and servers share the cores of one machine, so time by the clock says nothing of three machines. What is measured is
//! for how long each server was busy: in all per operation, and the share of the busiest. The operations per second that
//! masters with a core each would carry follow from that, and are extrapolated: the busiest of them is at its end first. Each
//! master has as many callers, whatever their number. The clusters take turns; figures are medians of the rounds.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

mod cluster;

#[allow(dead_code)] // the tests need more of it
#[path = "../../tests/it/support/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::{NewSession, Patch, RedisStore, Rules, SessionId, SessionStore};
use cluster::Busy;
use server::Server;
use tokio::task::JoinSet;

const MASTERS: [usize; 3] = [1, 2, 3];
const PARTITIONS: u16 = 16;
/// For each master.
const CALLERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
enum Operation {
    Create,
    Get,
    Refresh,
    Patch,
    Delete,
}

const OPERATIONS: [(&str, Operation); 5] = [
    ("create", Operation::Create),
    ("get", Operation::Get),
    ("refresh", Operation::Refresh),
    ("patch", Operation::Patch),
    ("delete", Operation::Delete),
];

impl Operation {
    /// What counts of what the server runs: a script with all that it runs itself.
    fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["get", "time"],
            _ => &["evalsha"],
        }
    }
}

/// A cluster, and what was measured on it: of each node per round, by operation.
struct Place {
    nodes: Vec<Server>,
    store: Arc<RedisStore>,
    busy: [Vec<Vec<Busy>>; OPERATIONS.len()],
}

impl Place {
    async fn new(masters: usize) -> Self {
        let nodes = cluster::start(masters).await;
        // Each refresh writes.
        let rules = Rules::new().refresh_threshold(1.0);
        let builder = RedisStore::builder(cluster::url(&nodes)).namespace("shop").partitions(PARTITIONS);
        let builder = builder.rules(rules).deadline(PATIENCE).connect_timeout(PATIENCE);
        Self { nodes, store: Arc::new(builder.build().await.unwrap()), busy: Default::default() }
    }

    /// Each operation once for each session.
    async fn round(&mut self, sessions: usize) {
        let ids =
            Arc::new((0..sessions).map(|number| self.store.new_id(&user(number)).id).collect::<Vec<_>>());
        for ((_, operation), busy) in OPERATIONS.iter().zip(&mut self.busy) {
            let before = read(&self.nodes, *operation).await;
            all(&self.store, *operation, &ids, CALLERS * self.nodes.len()).await;
            let after = read(&self.nodes, *operation).await;
            busy.push(before.into_iter().zip(after).map(|(before, after)| after.since(before)).collect());
        }
    }
}

fn user(number: usize) -> String {
    format!("user-{number}")
}

async fn read(nodes: &[Server], operation: Operation) -> Vec<Busy> {
    let mut busy = Vec::new();
    for node in nodes {
        busy.push(Busy::read(node, operation.commands()).await);
    }
    busy
}

async fn all(store: &Arc<RedisStore>, operation: Operation, ids: &Arc<Vec<SessionId>>, callers: usize) {
    let (next, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..callers {
        let (store, ids, next) = (store.clone(), ids.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(id) = ids.get(number) else { return };
                call(&store, operation, id, number).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn call(store: &RedisStore, operation: Operation, id: &SessionId, number: usize) {
    match operation {
        Operation::Create => {
            let new = NewSession::new().id(id.clone()).user(user(number));
            let new = new.connection(format!("connection-{number}")).set("data", &"x".repeat(300)).unwrap();
            store.create(new).await.unwrap();
        }
        Operation::Get => drop(store.get(id).await.unwrap().unwrap()),
        Operation::Refresh => drop(store.refresh(id).await.unwrap().unwrap()),
        Operation::Patch => {
            store.patch(id, Patch::new().set("seen", &number).unwrap()).await.unwrap();
        }
        Operation::Delete => assert!(store.delete(id).await.unwrap().is_some()),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    // `cargo test` only tries the bench.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, sessions) = if is_bench { (5, 20_000) } else { (1, 100) };
    let mut places = Vec::new();
    for masters in MASTERS {
        places.push(Place::new(masters).await);
    }
    for _ in 0..rounds {
        for place in &mut places {
            place.round(sessions).await;
        }
    }
    println!(
        "{PARTITIONS} partitions, {CALLERS} callers for each master, medians of {rounds} rounds of {sessions} sessions.\n"
    );
    println!(
        "| operation | masters | µs in commands | µs of the thread | the busiest's share | extrapolated per second |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (at, (name, _)) in OPERATIONS.iter().enumerate() {
        for place in &places {
            let of_rounds = |of: &dyn Fn(&[Busy]) -> f64| {
                median(place.busy[at].iter().map(|round| of(round) / sessions as f64).collect())
            };
            let commands = of_rounds(&|round| round.iter().map(|busy| busy.commands).sum());
            let all = of_rounds(&|round| round.iter().map(|busy| busy.thread).sum());
            let most = of_rounds(&|round| round.iter().map(|busy| busy.thread).fold(0.0, f64::max));
            let (masters, share, per_second) = (place.nodes.len(), most / all, 1e6 / most);
            println!("| {name} | {masters} | {commands:.1} | {all:.1} | {share:.2} | {per_second:.0} |");
        }
    }
}
