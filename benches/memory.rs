//! What the store in memory takes and how it scales: memory a session, reads by the number of sessions and of threads,
//! reaping among a million sessions. `cargo bench --bench memory`; `operations` has what each call takes.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

use std::hint::black_box;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use cloakroom::testing::TestClock;
use cloakroom::{MemoryStore, NewSession, SessionId, SessionStore};
use tokio::runtime::{Builder, Runtime};

const READS: usize = 1_000_000;
const LIVE: usize = 1_000_000;
const EXPIRED: usize = 10_000;
const BATCH: usize = 200;

/// How much data a session has.
#[derive(Clone, Copy)]
struct Data {
    name: &'static str,
    attributes: &'static [(&'static str, usize)],
}

const SMALL: Data = Data {
    name: "100 bytes in 5 attributes",
    attributes: &[("name", 12), ("theme", 4), ("locale", 5), ("cart", 20), ("csrf", 12)],
};
const LARGER: Data = Data {
    name: "349 bytes in 5 attributes",
    attributes: &[("name", 24), ("theme", 8), ("locale", 5), ("cart", 200), ("csrf", 64)],
};

impl Data {
    fn fill(self, new: NewSession) -> NewSession {
        self.attributes.iter().fold(new, |new, (key, length)| new.set(*key, &"x".repeat(*length)).unwrap())
    }

    fn with_user_and_connection(self, number: usize) -> NewSession {
        let (user, connection) = (format!("user-{number}"), format!("connection-{number}"));
        self.fill(NewSession::new().user(user).connection(connection))
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn store(clock: &TestClock) -> MemoryStore {
    MemoryStore::builder().max_sessions(usize::MAX).clock(clock.clone()).build().unwrap()
}

async fn create_all(store: &MemoryStore, new: impl Iterator<Item = NewSession>) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for new in new {
        ids.push(store.create(new).await.unwrap().session.id().clone());
    }
    ids
}

/// Sessions by the machine's clock; and their ids, in an order that has nothing to do with that of their creation, and
/// made anew, as a request brings them.
async fn filled(data: Data, sessions: usize) -> (MemoryStore, Vec<SessionId>) {
    let store = MemoryStore::builder().build().unwrap();
    let new = (0..sessions).map(|number| data.with_user_and_connection(number));
    let mut ids = create_all(&store, new).await;
    ids.sort();
    let ids = ids.iter().map(|id| SessionId::new(id.as_str()).unwrap()).collect();
    (store, ids)
}

/// How long it takes to do something with `count` sessions, one after the other.
async fn elapsed<T>(ids: &[SessionId], count: usize, operation: impl AsyncFn(&SessionId) -> T) -> Duration {
    let start = Instant::now();
    for id in ids.iter().cycle().take(count) {
        black_box(operation(id).await);
    }
    start.elapsed()
}

/// Reads a second of so many threads together.
fn reads_a_second(store: &MemoryStore, ids: &[SessionId], reads: usize, threads: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let ids = &ids[thread * ids.len() / threads..];
            scope.spawn(move || {
                let get = async |id: &SessionId| store.get(id).await.unwrap().unwrap();
                runtime().block_on(elapsed(ids, reads, get))
            });
        }
    });
    (reads * threads) as f64 / start.elapsed().as_secs_f64()
}

fn tell_reads(part: usize) {
    for sessions in [1_000, 10_000, 100_000, 1_000_000].map(|sessions| (sessions / part).max(2)) {
        let (store, ids) = runtime().block_on(filled(SMALL, sessions));
        let [one, two] = [1, 2].map(|threads| reads_a_second(&store, &ids, READS / part, threads));
        println!(
            "get of {sessions}: {one:.0} a second on one thread, {two:.0} on two, {:.2} times",
            two / one
        );
    }
}

/// Sessions that have expired, in the midst of live ones.
async fn tell_reap(part: usize) {
    let (expired, live) = (EXPIRED / part, LIVE / part);
    let clock = TestClock::new();
    let store = store(&clock);
    let short =
        (0..expired).map(|number| LARGER.with_user_and_connection(number).ttl(Duration::from_secs(1)));
    create_all(&store, short).await;
    let long = (0..live).map(|number| LARGER.with_user_and_connection(expired + number));
    let ids = create_all(&store, long).await;
    let sample: Vec<&SessionId> = ids.iter().step_by((live / 1000).max(1)).collect();
    let mut before = Vec::new();
    for id in &sample {
        before.push(store.get(id).await.unwrap());
    }
    clock.advance(Duration::from_secs(60));
    let mut reaped = 0;
    let start = Instant::now();
    loop {
        let batch = store.reap(BATCH).await.unwrap();
        reaped += batch.sessions.len();
        if !batch.more {
            break;
        }
    }
    let took = start.elapsed();
    for (id, before) in sample.iter().zip(&before) {
        assert_eq!(store.get(id).await.unwrap(), *before, "a live session was touched");
    }
    assert_eq!((reaped, store.stored()), (expired, live));
    println!("reap of {expired} among {live} live ones, by {BATCH}: {took:.1?}");
}

/// Bytes of memory that this process has.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

async fn tell_memory(part: usize) {
    let store = MemoryStore::builder().max_sessions(usize::MAX).build().unwrap();
    let Some(before) = resident() else {
        println!("memory: only Linux tells");
        return;
    };
    let mut made = 0;
    for sessions in [100_000, 1_000_000].map(|sessions| sessions / part) {
        for number in made..sessions {
            store.create(LARGER.with_user_and_connection(number)).await.unwrap();
        }
        made = sessions;
        let bytes = resident().unwrap_or_default().saturating_sub(before) / sessions;
        println!("{sessions} sessions with user, connection and {}: {bytes} bytes each", LARGER.name);
    }
    assert_eq!(store.stored(), made);
}

fn main() {
    // `cargo test` only tries the bench, with a thousandth.
    let part = if std::env::args().any(|argument| argument == "--bench") { 1 } else { 1000 };
    // Memory first, while the process has given none back.
    runtime().block_on(tell_memory(part));
    println!("{} cores", available_parallelism().unwrap());
    tell_reads(part);
    runtime().block_on(tell_reap(part));
}
