//! What a near cache is worth, and how soon it sees a logout elsewhere.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::{NewSession, RedisStore, SessionId, SessionStore};
use tokio::task::JoinSet;

use crate::connections::PATIENCE;
use crate::measure::median;
use crate::options::Options;
use crate::payload::Payload;
use crate::server::Server;
use crate::table;

#[allow(dead_code)] // the tests need more of it
#[path = "../../tests/it/support/proxy.rs"]
mod silencer;

const CALLERS: u64 = 16;
const ROUNDS: usize = 9;
/// The default.
pub(crate) const STALENESS: Duration = Duration::from_secs(1);

type Store = Arc<dyn SessionStore>;

/// Reads of one session. Microseconds per call are medians of rounds in turn.
pub(crate) struct NearCache {
    pub(crate) payload: Payload,
    /// From memory, one caller.
    pub(crate) alone: f64,
    /// From memory, so that 16 callers share the cores.
    pub(crate) cached: f64,
    /// By asking the server, without a near cache.
    pub(crate) network: f64,
    /// By asking the server, with one that keeps the answer.
    pub(crate) kept: f64,
    /// How many times as many reads per second are answered from memory.
    pub(crate) speedup: f64,
}

/// From an acknowledged logout to the last answer of another store, sorted.
pub(crate) struct Logouts {
    pub(crate) took: Vec<Duration>,
    /// The same behind a link that is cut before the logout.
    pub(crate) cut: Vec<Duration>,
}

impl Logouts {
    /// So many of a hundred took no longer.
    pub(crate) fn percentile(&self, part: usize) -> Duration {
        self.took[(self.took.len() * part / 100).min(self.took.len() - 1)]
    }

    pub(crate) fn longest_cut(&self) -> Duration {
        self.cut.iter().max().copied().unwrap_or_default()
    }
}

pub(crate) async fn measure(server: &Server, options: &Options) -> (Vec<NearCache>, Logouts) {
    let builder = || {
        let builder = RedisStore::builder(server.url()).namespace("near");
        builder.connect_timeout(PATIENCE).deadline(PATIENCE)
    };
    let plain: Store = Arc::new(builder().build().await.unwrap());
    let near: Store = Arc::new(builder().near_cache(10_000).build().await.unwrap());
    let (rounds, calls, logouts, cuts) =
        if options.quick { (1, 160, 5, 1) } else { (ROUNDS, 50_000, 2000, 5) };
    let mut reads = Vec::new();
    for payload in [Payload::SMALL, Payload::LARGE] {
        reads.push(read(&near, &plain, payload, rounds, calls).await);
    }
    let (mut took, mut cut) = (Vec::new(), Vec::new());
    for _ in 0..logouts {
        took.push(answered_until(&plain, &near, || ()).await);
    }
    took.sort();
    for _ in 0..cuts {
        let proxy = silencer::Proxy::start(server.address()).await;
        let builder = RedisStore::builder(&proxy.url).namespace("near");
        let other: Store =
            Arc::new(builder.near_cache(1000).near_cache_staleness(STALENESS).build().await.unwrap());
        cut.push(answered_until(&plain, &other, || proxy.silence(true)).await);
    }
    (reads, Logouts { took, cut })
}

#[derive(Clone, Copy)]
enum Read {
    /// As a service reads.
    Get,
    /// By asking the server.
    Fresh,
}

async fn read(near: &Store, plain: &Store, payload: Payload, rounds: usize, calls: u64) -> NearCache {
    let new = NewSession::new().user("ann");
    let new = payload.attributes().iter().fold(new, |new, (name, value)| new.set(*name, value).unwrap());
    let id = plain.create(new).await.unwrap().session.id().clone();
    near.get(&id).await.unwrap().unwrap();
    let (mut alone, mut cached, mut network, mut kept) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        alone.push(micros(near, &id, Read::Get, 1, 10 * calls).await);
        cached.push(micros(near, &id, Read::Get, CALLERS, 20 * calls).await);
        network.push(micros(plain, &id, Read::Get, CALLERS, calls).await);
        kept.push(micros(near, &id, Read::Fresh, CALLERS, calls).await);
    }
    let speedups = network.iter().zip(&cached).map(|(network, cached)| network / cached).collect();
    let [alone, cached, network, kept, speedup] = [alone, cached, network, kept, speedups].map(median);
    NearCache { payload, alone, cached, network, kept, speedup }
}

/// Of a call, when so many callers share the calls.
async fn micros(store: &Store, id: &SessionId, read: Read, callers: u64, calls: u64) -> f64 {
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
    start.elapsed().as_secs_f64() * 1e6 / (calls / callers * callers) as f64
}

/// From when a logout was acknowledged to when the other store has no answer from memory any more: the beginning of the
/// call that refuses, or that asks in vain.
async fn answered_until(one: &Store, other: &Store, while_away: impl Fn()) -> Duration {
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

pub(crate) fn table(reads: &[NearCache], logouts: &Logouts) -> String {
    let row = |of: &NearCache| {
        let figures = [of.alone, of.cached, of.network, of.kept].map(|micros| format!("{micros:.2}"));
        [&[of.payload.name()], figures.as_slice(), &[format!("{:.1}", of.speedup)]].concat()
    };
    let head = [
        "attributes",
        "from memory, 1 caller, µs",
        "from memory, 16 callers, µs",
        "asked, 16 callers, µs",
        "asked and kept, µs",
        "reads per second, memory ÷ asked",
    ];
    let table = table::markdown(&head, &reads.iter().map(row).collect::<Vec<_>>());
    let (count, longest) = (logouts.took.len(), logouts.took.last().copied().unwrap_or_default());
    let [p50, p99] = [50, 99].map(|part| logouts.percentile(part));
    format!(
        "{table}\nFrom an acknowledged logout to the last answer of another store, {count} times: p50 {p50:.1?}, p99 \
         {p99:.1?}, most {longest:.1?}. Behind a link that was cut before, staleness {STALENESS:?}: {:.0?}.\n",
        logouts.cut
    )
}
