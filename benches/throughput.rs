//! What many tasks get out of four connections: ours, cloned out and given back at once, against bb8-redis with its
//! defaults, where a call holds its connection and a PING precedes it. Both read one session by TIME and GET in a
//! pipeline.
//!
//! `cargo bench --bench throughput` prints the ratio of one run behind criterion's figures.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

use std::sync::Arc;
use std::time::{Duration, Instant};

use bb8_redis::RedisConnectionManager;
use cloakroom::{NewSession, RedisStore, SessionId, SessionStore};
use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

#[allow(dead_code)] // the tests need more of it
#[path = "../tests/it/support/server.rs"]
mod server;

const TASKS: u64 = 64;
const CONNECTIONS: u32 = 4;
const NAMESPACE: &str = "bench";
/// For the ratio.
const ROUNDS: usize = 15;
const READS: u64 = 50_000;

/// Something that reads a session.
trait Reader: Clone + Send + Sync + 'static {
    fn read(&self) -> impl Future<Output = ()> + Send;
}

/// This crate, as it comes.
#[derive(Clone)]
struct Cloned {
    store: Arc<RedisStore>,
    id: SessionId,
}

impl Reader for Cloned {
    async fn read(&self) {
        self.store.get(&self.id).await.unwrap().unwrap();
    }
}

/// bb8-redis with its defaults but for the number of connections.
#[derive(Clone)]
struct Held {
    pool: bb8::Pool<RedisConnectionManager>,
    key: String,
}

impl Reader for Held {
    async fn read(&self) {
        let mut connection = self.pool.get().await.unwrap();
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("GET").arg(&self.key);
        let (_, record): (Vec<u64>, Option<Vec<u8>>) = pipeline.query_async(&mut *connection).await.unwrap();
        assert!(record.is_some());
    }
}

/// How long `reads` take, shared among the tasks.
async fn elapsed<R: Reader>(reader: &R, reads: u64) -> Duration {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let reader = reader.clone();
        let share = reads / TASKS + u64::from(task < reads % TASKS);
        tasks.spawn(async move {
            for _ in 0..share {
                reader.read().await;
            }
        });
    }
    tasks.join_all().await;
    start.elapsed()
}

fn measure<R: Reader>(criterion: &mut Criterion, runtime: &Runtime, name: &str, reader: &R) {
    let mut group = criterion.benchmark_group(format!("get, {TASKS} tasks, {CONNECTIONS} connections"));
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(8));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| runtime.block_on(elapsed(reader, count)));
    });
    group.finish();
}

/// How many times as fast the first is as the second: the median of rounds in which one follows the other at once, for
/// the machine has better and worse moments.
fn ratio(runtime: &Runtime, one: &impl Reader, other: &impl Reader) -> f64 {
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let other = runtime.block_on(elapsed(other, READS / 5)).as_secs_f64() * 5.0;
            other / runtime.block_on(elapsed(one, READS)).as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("ratios of {ROUNDS} rounds: {ratios:.1?}");
    ratios[ROUNDS / 2]
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let (server, store, id) = runtime.block_on(async {
        let server = server::Server::start().await;
        let builder = RedisStore::builder(server.url()).namespace(NAMESPACE).pool_size(CONNECTIONS);
        let store = Arc::new(builder.build().await.unwrap());
        let new = NewSession::new().user("ann").set("data", &"x".repeat(300)).unwrap();
        let id = store.create(new).await.unwrap().session.id().clone();
        (server, store, id)
    });
    let manager = RedisConnectionManager::new(server.url()).unwrap();
    let pool = runtime.block_on(bb8::Pool::builder().max_size(CONNECTIONS).build(manager)).unwrap();
    let held = Held { pool, key: format!("{{{NAMESPACE}:0}}:session:{}", id.as_str()) };
    let cloned = Cloned { store, id };

    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion, &runtime, "bb8-redis, held", &held);
    measure(&mut criterion, &runtime, "cloakroom, cloned", &cloned);
    criterion.final_summary();
    // Not when `cargo test` only tries the bench.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("{:.1} times as many reads a second as held", ratio(&runtime, &cloned, &held));
    }
    runtime.block_on(cloned.store.delete(&cloned.id)).unwrap();
    // A spawned server is stopped here, within the runtime that waits for it.
    let _guard = runtime.enter();
    drop(server);
}
