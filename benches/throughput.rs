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

/// Reads a second, over all that criterion measured.
fn measure<R: Reader>(criterion: &mut Criterion, runtime: &Runtime, name: &str, reader: &R) -> f64 {
    let (mut reads, mut time) = (0, Duration::ZERO);
    let mut group = criterion.benchmark_group(format!("get, {TASKS} tasks, {CONNECTIONS} connections"));
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(8));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let took = runtime.block_on(elapsed(reader, count));
            reads += count;
            time += took;
            took
        });
    });
    group.finish();
    reads as f64 / time.as_secs_f64()
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
    let held = measure(&mut criterion, &runtime, "bb8-redis, held", &held);
    let cloned_rate = measure(&mut criterion, &runtime, "cloakroom, cloned", &cloned);
    criterion.final_summary();
    println!("{:.0} reads a second against {held:.0}: {:.1} times as many", cloned_rate, cloned_rate / held);
    runtime.block_on(cloned.store.delete(&cloned.id)).unwrap();
    // A spawned server is stopped here, within the runtime that waits for it.
    let _guard = runtime.enter();
    drop(server);
}
