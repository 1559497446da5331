//! Each operation, on Redis and in memory, one call at a time among 10,000 sessions of 349 bytes in five attributes. `cargo
//! bench --bench operations`, and `-- memory/get` for one. Reaping among a million sessions is in `compare` and `memory`.

#![allow(missing_docs, clippy::unwrap_used)] // a program, not a library

mod bench;
mod many;
mod moving;
mod one;

use std::sync::Arc;
use std::time::Duration;

use cloakroom::{MemoryStore, RedisStore};
use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;

use self::bench::{Bench, PATIENCE, Store, crowd};

#[allow(dead_code)] // the tests need more of it
#[path = "../../tests/it/support/server.rs"]
mod server;

fn measure_store(criterion: &mut Criterion, runtime: &Runtime, name: &str, store: Store, other: Store) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let crowd = runtime.block_on(crowd(&store));
    let mut bench = Bench { runtime, group, store, other, crowd };
    one::measure(&mut bench);
    many::measure(&mut bench);
    moving::measure(&mut bench);
    bench.group.finish();
}

fn in_memory() -> Store {
    Arc::new(MemoryStore::builder().max_sessions(usize::MAX).build().unwrap())
}

async fn in_redis(server: &server::Server, namespace: &str) -> Store {
    let builder = RedisStore::builder(server.url()).namespace(namespace);
    Arc::new(builder.connect_timeout(PATIENCE).deadline(PATIENCE).build().await.unwrap())
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    measure_store(&mut criterion, &runtime, "memory", in_memory(), in_memory());
    let (server, store, other) = runtime.block_on(async {
        let server = server::Server::spawn(&[]).await;
        let [store, other] = [in_redis(&server, "bench").await, in_redis(&server, "other").await];
        (server, store, other)
    });
    measure_store(&mut criterion, &runtime, "redis", store, other);
    criterion.final_summary();
    // It is stopped within the runtime that waits for it.
    let _guard = runtime.enter();
    drop(server);
}
