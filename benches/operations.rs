//! Each operation on single sessions, and those on expired ones by the hundred, on Redis and in memory, one call at a
//! time among 10,000 sessions of 349 bytes in five attributes. `cargo bench --bench operations`, and `-- memory/get` for
//! one. Reaping among a million sessions is in `compare` and `memory`.

#![allow(missing_docs, clippy::unwrap_used)] // a program, not a library

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::{
    Binding, Direction, Freezing, Heartbeat, Holder, Import, LeaseStatus, MemoryStore, NewSession, Owner,
    PageRequest, Patch, RedisStore, Rotation, Session, SessionId, SessionStore, TaskId, Thawed,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use tokio::runtime::Runtime;

#[allow(dead_code)] // the tests need more of it
#[path = "../tests/it/support/server.rs"]
mod server;

const SESSIONS: usize = 10_000;
const OF_A_USER: usize = 5;
/// Sessions made for one call each, before it and at once.
const MADE: u64 = 1000;
/// Expired sessions that one call reads or removes.
const BATCH: usize = 100;
/// A machine that is busy with other things makes a bench slow, and does not end it.
const PATIENCE: Duration = Duration::from_secs(60);
const ATTRIBUTES: [(&str, usize); 5] =
    [("name", 24), ("theme", 8), ("locale", 5), ("cart", 215), ("csrf", 64)];

type Store = Arc<dyn SessionStore>;

/// A session of the crowd: users there have five.
#[derive(Clone)]
struct Stored {
    id: SessionId,
    user: String,
    connection: String,
}

struct Bench<'a> {
    runtime: &'a Runtime,
    group: BenchmarkGroup<'a, WallTime>,
    store: Store,
    crowd: Vec<Stored>,
}

/// How many sessions were made for a call each.
static LIVES: AtomicU64 = AtomicU64::new(0);

fn user_of(life: u64) -> String {
    format!("life-{life}")
}

/// One with a user of its own.
fn new_session() -> NewSession {
    let user = user_of(LIVES.fetch_add(1, Ordering::Relaxed));
    let new = NewSession::new().user(user.as_str()).connection(user);
    ATTRIBUTES.iter().fold(new, |new, (key, length)| new.set(*key, &"x".repeat(*length)).unwrap())
}

async fn create(store: &Store, new: NewSession) -> Session {
    store.create(new).await.unwrap().session
}

async fn create_many(store: &Store, count: u64) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(create(store, new_session()).await);
    }
    sessions
}

/// Has so many batches of expired sessions, those that are there included, but no more than may be made at once.
async fn expire(store: &Store, batches: u64) -> Vec<()> {
    let batches = (batches as usize).min(MADE as usize / BATCH);
    let wanted = batches * BATCH;
    let expired = async || store.expired(None, 0, wanted).await.unwrap().len();
    // A millisecond is the shortest.
    let short = |_| new_session().ttl(Duration::from_millis(1));
    for created in store.create_many((expired().await..wanted).map(short).collect()).await {
        created.unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    while expired().await < wanted {
        assert!(Instant::now() < deadline, "not all have expired");
    }
    vec![(); batches]
}

/// In an order that has nothing to do with that of their creation.
async fn crowd(store: &Store) -> Vec<Stored> {
    let mut crowd = Vec::new();
    for number in 0..SESSIONS {
        let (user, connection) = (format!("user-{}", number / OF_A_USER), format!("connection-{number}"));
        let session = create(store, new_session().user(user.as_str()).connection(connection.as_str())).await;
        crowd.push(Stored { id: session.id().clone(), user, connection });
    }
    fastrand::Rng::with_seed(7).shuffle(&mut crowd);
    crowd
}

impl Bench<'_> {
    /// With what is made beforehand for each call.
    fn measure<I, T>(
        &mut self,
        name: &str,
        prepare: impl AsyncFn(&Store, u64) -> Vec<I>,
        call: impl AsyncFn(&Store, I) -> T,
    ) {
        let Self { runtime, group, store, .. } = self;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| runtime.block_on(elapsed(store, count, &prepare, &call)));
        });
    }

    /// With one of the crowd after the other.
    fn measure_crowd<T>(&mut self, name: &str, call: impl AsyncFn(&Store, Stored) -> T) {
        let crowd = self.crowd.clone();
        let some = async |_: &Store, count| crowd.iter().cycle().take(count as usize).cloned().collect();
        self.measure(name, some, call);
    }
}

/// Sessions that were made for it are deleted again, or fast operations would fill the machine.
async fn elapsed<I, T>(
    store: &Store,
    count: u64,
    prepare: impl AsyncFn(&Store, u64) -> Vec<I>,
    call: impl AsyncFn(&Store, I) -> T,
) -> Duration {
    let (mut left, mut took) = (count, Duration::ZERO);
    while left > 0 {
        let first = LIVES.load(Ordering::Relaxed);
        let prepared = prepare(store, left.min(MADE)).await;
        left -= prepared.len() as u64;
        let start = Instant::now();
        for input in prepared {
            black_box(call(store, input).await);
        }
        took += start.elapsed();
        for life in first..LIVES.load(Ordering::Relaxed) {
            store.delete_user(&user_of(life), None).await.unwrap();
        }
    }
    took
}

/// `other` is a store of the same kind, from which sessions are imported.
fn measure(bench: &mut Bench<'_>, other: &Store) {
    bench.measure_crowd("get", async |store, of| store.get(&of.id).await.unwrap().unwrap());
    bench.measure_crowd("session_by_connection", async |store, of| {
        store.session_by_connection(&of.connection).await.unwrap().unwrap()
    });
    bench.measure_crowd("refresh", async |store, of| store.refresh(&of.id).await.unwrap().unwrap());
    bench.measure_crowd("refresh_and_get", async |store, of| {
        store.refresh_and_get(&of.id).await.unwrap().unwrap()
    });
    bench.measure_crowd("patch", async |store, of| {
        store.patch(&of.id, Patch::new().set("theme", &fastrand::u32(..)).unwrap()).await.unwrap()
    });
    bench.measure_crowd("list of 5", async |store, of| {
        store.list(&Owner::user(of.user), &PageRequest::first(OF_A_USER)).await.unwrap()
    });
    bench.measure_crowd("count of 5", async |store, of| store.count(&Owner::user(of.user)).await.unwrap());
    bench.measure_crowd("export", async |store, of| store.export(&of.id).await.unwrap().unwrap());

    let new = async |_: &Store, count| (0..count).map(|_| new_session()).collect();
    bench.measure("create", new, async |store, new| create(store, new).await);
    let made = async |store: &Store, count| create_many(store, count).await;
    bench.measure("update", made, async |store, mut session| store.update(&mut session).await.unwrap());
    bench.measure("bind", made, async |store, session| {
        store.bind(&session, Binding::new(fastrand::u64(..).to_string()).node("node")).await.unwrap()
    });
    bench.measure("unbind", made, async |store, session| {
        store.unbind(&session, session.connection().unwrap()).await.unwrap()
    });
    bench.measure("rotate", made, async |store, session| {
        store.rotate(&session, Rotation::new()).await.unwrap()
    });
    bench.measure("delete", made, async |store, session| store.delete(&session).await.unwrap());
    bench.measure("delete_user", made, async |store, session| {
        store.delete_user(session.user().unwrap(), None).await.unwrap()
    });
    let exported = async |_: &Store, count| {
        let mut exports = Vec::new();
        for session in create_many(other, count).await {
            exports.push(other.export(session.id()).await.unwrap().unwrap());
            other.delete(&session).await.unwrap();
        }
        exports
    };
    bench.measure("import", exported, async |store, export| store.import(Import::new(export)).await.unwrap());

    bench.measure_crowd("freeze and thaw", async |store, of| {
        let task = TaskId::random();
        store.freeze(&of.id, Freezing::new(task, "elsewhere").span(PATIENCE)).await.unwrap().unwrap();
        assert_eq!(store.thaw(&of.id, task, Direction::Outgoing).await.unwrap(), Thawed::Thawed);
    });
    let holder = Holder::new("node").unwrap();
    let registered = async |store: &Store, count| {
        let status = store.heartbeat(&holder, Heartbeat::register().lease(PATIENCE)).await.unwrap();
        assert!(matches!(status, LeaseStatus::Held { .. }), "{status:?}");
        vec![(); count as usize]
    };
    bench.measure("heartbeat", registered, async |store, ()| {
        let status = store.heartbeat(&holder, Heartbeat::renew().lease(PATIENCE)).await.unwrap();
        assert!(matches!(status, LeaseStatus::Held { .. }), "{status:?}");
    });

    // Reading leaves them there.
    let one_batch = async |store: &Store, count| {
        expire(store, 1).await;
        vec![(); count as usize]
    };
    bench.measure("expired of 100", one_batch, async |store, ()| {
        assert_eq!(store.expired(None, 0, BATCH).await.unwrap().len(), BATCH);
    });
    bench.measure("reap of 100", expire, async |store, ()| {
        assert_eq!(store.reap(BATCH).await.unwrap().sessions.len(), BATCH);
    });
}

fn measure_store(criterion: &mut Criterion, runtime: &Runtime, name: &str, store: Store, other: &Store) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let crowd = runtime.block_on(crowd(&store));
    let mut bench = Bench { runtime, group, store, crowd };
    measure(&mut bench, other);
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
    measure_store(&mut criterion, &runtime, "memory", in_memory(), &in_memory());
    let (server, store, other) = runtime.block_on(async {
        let server = server::Server::spawn(&[]).await;
        let [store, other] = [in_redis(&server, "bench").await, in_redis(&server, "other").await];
        (server, store, other)
    });
    measure_store(&mut criterion, &runtime, "redis", store, &other);
    criterion.final_summary();
    // It is stopped within the runtime that waits for it.
    let _guard = runtime.enter();
    drop(server);
}
