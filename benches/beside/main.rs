//! How long small reads take while one in 1,000 is of a session of 4 MiB: `cargo bench --bench beside`.
//!
//! Three loads take turns in each round: small reads alone; with large ones, by a store whose rules let sessions be that large,
//! so that it reads no more of one at first than goes with others; and with large ones by a store whose rules do not, which
//! reads each at once. They run on this machine and through a line that passes on 100 MB per second of each connection, on
//! which 4 MiB take 42 ms. Figures are medians of the rounds.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

mod line;

#[allow(dead_code)] // the tests need more of it
#[path = "../../tests/it/support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::{NewSession, RedisStore, Rules, SessionId, SessionStore};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

const LARGE_BYTES: usize = 4 * 1024 * 1024;
/// One read of so many is a large one.
const ONE_IN: usize = 1000;
const SMALL: usize = 2000;
const LARGE: usize = 8;
const BYTES_PER_SECOND: f64 = 100e6;
/// A large reply may take its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who reads, and how much.
#[derive(Clone, Copy)]
struct Load {
    callers: usize,
    /// How long a caller pauses on average behind each read.
    pause: Duration,
}

const LOADS: [Load; 4] = [
    Load { callers: 16, pause: Duration::from_millis(1) },
    Load { callers: 64, pause: Duration::from_millis(1) },
    Load { callers: 16, pause: Duration::ZERO },
    Load { callers: 64, pause: Duration::ZERO },
];

/// What is read beside small sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Large,
}

struct Sessions {
    small: Vec<SessionId>,
    large: Vec<SessionId>,
}

fn rules() -> Rules {
    Rules::new().session_bytes(LARGE_BYTES).value_bytes(LARGE_BYTES)
}

async fn store(url: &str, rules: Rules) -> Arc<RedisStore> {
    let builder = RedisStore::builder(url).namespace("bench").rules(rules);
    Arc::new(builder.deadline(PATIENCE).connect_timeout(PATIENCE).build().await.unwrap())
}

async fn create(store: &RedisStore, count: usize, bytes: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let new = NewSession::new().set("data", &"x".repeat(bytes)).unwrap();
        ids.push(store.create(new).await.unwrap().session.id().clone());
    }
    ids
}

/// How long small reads took, in microseconds.
async fn small_reads(
    store: &Arc<RedisStore>,
    sessions: &Arc<Sessions>,
    load: Load,
    beside: Beside,
    lasts: Duration,
) -> Histogram<u64> {
    let until = Instant::now() + lasts;
    let mut tasks = JoinSet::new();
    for _ in 0..load.callers {
        let (store, sessions) = (store.clone(), sessions.clone());
        tasks.spawn(async move {
            let mut took = Histogram::new(3).unwrap();
            while Instant::now() < until {
                let is_large = beside == Beside::Large && fastrand::usize(..ONE_IN) == 0;
                let ids = if is_large { &sessions.large } else { &sessions.small };
                let began = Instant::now();
                store.get(fastrand::choice(ids).unwrap()).await.unwrap().unwrap();
                if !is_large {
                    took.record(began.elapsed().as_micros() as u64).unwrap();
                }
                if !load.pause.is_zero() {
                    tokio::time::sleep(load.pause.mul_f64(2.0 * fastrand::f64())).await;
                }
            }
            took
        });
    }
    let mut all = Histogram::new(3).unwrap();
    while let Some(took) = tasks.join_next().await {
        all.add(took.unwrap()).unwrap();
    }
    all
}

/// The median of each percentile over rounds.
fn medians(rounds: &[Histogram<u64>]) -> String {
    let median = |of: &dyn Fn(&Histogram<u64>) -> u64| {
        let mut values: Vec<u64> = rounds.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2] as f64 / 1000.0
    };
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| median(&|took| took.value_at_quantile(part)));
    let reads: u64 = rounds.iter().map(Histogram::len).sum();
    format!("{p50:.2} | {p99:.2} | {p999:.2} | {reads}")
}

#[tokio::main]
async fn main() {
    // `cargo test` only tries the bench.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, lasts) = if is_bench { (7, 700) } else { (1, 5) };
    let lasts = Duration::from_millis(lasts);
    let server = server::Server::spawn(&[]).await;
    let near = server.url().to_owned();
    let far = line::start(server.address(), BYTES_PER_SECOND);
    let filler = store(&near, rules()).await;
    let small = create(&filler, SMALL, 300).await;
    let large = create(&filler, LARGE, LARGE_BYTES - 100).await;
    let sessions = Arc::new(Sessions { small, large });
    println!("| network | callers | pause | large ones | p50 ms | p99 ms | p99.9 ms | small reads |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (network, url) in [("this machine", near), ("100 MB/s per connection", far)] {
        let bounded = store(&url, rules()).await;
        let at_once = store(&url, Rules::new()).await;
        for load in LOADS {
            let ways = [
                ("none", &bounded, Beside::Nothing),
                ("1 in 1,000", &bounded, Beside::Large),
                ("1 in 1,000, read at once", &at_once, Beside::Large),
            ];
            let mut took = ways.map(|_| Vec::new());
            for _ in 0..rounds {
                for ((_, store, beside), took) in ways.iter().zip(&mut took) {
                    took.push(small_reads(store, &sessions, load, *beside, lasts).await);
                }
            }
            for ((way, ..), took) in ways.iter().zip(&took) {
                let Load { callers, pause } = load;
                println!("| {network} | {callers} | {pause:?} | {way} | {} |", medians(took));
            }
        }
    }
}
