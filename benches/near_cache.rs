//! What a near cache is worth, and how soon it sees a logout elsewhere. All figures are of one run on one machine.
//!
//! `cargo bench --bench near_cache`

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::testing::TestServer;
use cloakroom::{NewSession, RedisStore, SessionId, SessionStore};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

#[allow(dead_code)] // the tests need more of it
#[path = "../tests/it/support/proxy.rs"]
mod proxy;

const CALLERS: u64 = 16;
const ROUNDS: usize = 9;
const STALENESS: Duration = Duration::from_secs(1);

type Store = Arc<dyn SessionStore>;

/// How much of each there is to measure. `cargo test` only tries it.
#[derive(Clone, Copy)]
struct Effort {
    cached: u64,
    network: u64,
    logouts: usize,
    cuts: usize,
}

const WHOLE: Effort = Effort { cached: 4_000_000, network: 100_000, logouts: 2_000, cuts: 5 };
const TRIED: Effort = Effort { cached: 1_000, network: 100, logouts: 5, cuts: 1 };

#[derive(Clone, Copy)]
enum Read {
    /// As a service reads.
    Get,
    /// By asking the server.
    Fresh,
}

/// How long a call takes when so many callers share the calls.
async fn per_call(store: &Store, id: &SessionId, read: Read, callers: u64, calls: u64) -> Duration {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, id) = (store.clone(), id.clone());
        tasks.spawn(async move {
            for call in 0..calls / callers {
                let found = match read {
                    Read::Get => store.get(&id).await,
                    Read::Fresh => store.get_fresh(&id).await,
                };
                black_box(found.unwrap().unwrap());
                // What is answered at once leaves the thread to nobody.
                if call % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    tasks.join_all().await;
    start.elapsed() / u32::try_from(calls / callers * callers).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One session, read from memory and over the network in turn.
async fn speed(near: &Store, plain: &Store, attributes: usize, effort: Effort) {
    let new = NewSession::new().user("ann").set("data", &"x".repeat(attributes)).unwrap();
    let id = plain.create(new).await.unwrap().session.id().clone();
    near.get(&id).await.unwrap().unwrap();
    let (mut alone, mut cached, mut network, mut kept) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let micros = |took: Duration| took.as_secs_f64() * 1e6;
        alone.push(micros(per_call(near, &id, Read::Get, 1, effort.cached / 4).await));
        cached.push(micros(per_call(near, &id, Read::Get, CALLERS, effort.cached).await));
        network.push(micros(per_call(plain, &id, Read::Get, CALLERS, effort.network).await));
        kept.push(micros(per_call(near, &id, Read::Fresh, CALLERS, effort.network).await));
    }
    let ratio = |one: &[f64], other: &[f64]| median(one.iter().zip(other).map(|(a, b)| a / b).collect());
    println!("{attributes} bytes of attributes, medians of {ROUNDS} rounds in turn:");
    println!("  a cached get, one caller            {:.3} µs", median(alone));
    println!("  a cached get, {CALLERS} callers           {:.3} µs of the process", median(cached.clone()));
    println!("  a get that asks, {CALLERS} callers        {:.3} µs", median(network.clone()));
    println!("  throughput, cached ÷ asked          {:.1}", ratio(&network, &cached));
    println!("  a get that asks and keeps ÷ asks    {:.2}", ratio(&kept, &network));
}

/// From when a logout was acknowledged to when the other store has no answer from memory any more: the beginning of the
/// call that refuses, or that asks in vain.
async fn refused_after(one: &Store, other: &Store, while_away: impl Fn()) -> Duration {
    let session = one.create(NewSession::new()).await.unwrap().session;
    while other.get(session.id()).await.unwrap().is_none() {}
    while_away();
    one.delete(&session).await.unwrap();
    let logged_out = Instant::now();
    loop {
        let began = logged_out.elapsed();
        if !matches!(other.get(session.id()).await, Ok(Some(_))) {
            return began;
        }
        tokio::task::yield_now().await;
    }
}

async fn logouts(one: &Store, other: &Store, effort: Effort) {
    let mut took = Vec::new();
    for _ in 0..effort.logouts {
        took.push(refused_after(one, other, || ()).await);
    }
    took.sort();
    let at = |part: usize| took[(took.len() * part / 1000).min(took.len() - 1)];
    println!("from a logout to its refusal by another store, {} times:", took.len());
    println!(
        "  p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, most {:.1?}",
        at(500),
        at(990),
        at(999),
        took[took.len() - 1]
    );
}

async fn cut(server: &TestServer, one: &Store, effort: Effort) {
    let address = server.url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let mut took = Vec::new();
    for _ in 0..effort.cuts {
        let proxy = proxy::Proxy::start(address.clone()).await;
        let builder = RedisStore::builder(&proxy.url).near_cache(1000).near_cache_staleness(STALENESS);
        let other: Store = Arc::new(builder.build().await.unwrap());
        took.push(refused_after(one, &other, || proxy.silence(true)).await);
    }
    println!("the same behind a link that is cut, staleness {STALENESS:?}: {took:.0?}");
}

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let effort = if is_bench { WHOLE } else { TRIED };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let server = TestServer::start().unwrap();
        let builder = || RedisStore::builder(server.url());
        let plain: Store = Arc::new(builder().build().await.unwrap());
        let near: Store = Arc::new(builder().near_cache(10_000).build().await.unwrap());
        for attributes in [300, 8192] {
            speed(&near, &plain, attributes, effort).await;
        }
        logouts(&plain, &near, effort).await;
        cut(&server, &plain, effort).await;
    });
}
