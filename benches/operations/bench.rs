//! How one operation is measured: sessions made for each call beforehand, or one of a crowd after the other.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::{NewSession, Session, SessionId};
use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use tokio::runtime::Runtime;

const SESSIONS: usize = 10_000;
pub(crate) const OF_A_USER: usize = 5;
/// Sessions made at once for calls, before them.
const MADE: u64 = 1000;
/// How many one call takes that takes many.
pub(crate) const BATCH: usize = 100;
/// A machine that is busy with other things makes a bench slow, and does not end it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const ATTRIBUTES: [(&str, usize); 5] =
    [("name", 24), ("theme", 8), ("locale", 5), ("cart", 215), ("csrf", 64)];

pub(crate) type Store = Arc<dyn cloakroom::Store>;

/// A session of the crowd: users there have five.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    pub(crate) connection: String,
}

pub(crate) struct Bench<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) group: BenchmarkGroup<'a, WallTime>,
    pub(crate) store: Store,
    /// A store of the same kind, where sessions come from and go to.
    pub(crate) other: Store,
    pub(crate) crowd: Vec<Stored>,
}

/// How many sessions were made for calls.
static LIVES: AtomicU64 = AtomicU64::new(0);

fn user_of(life: u64) -> String {
    format!("life-{life}")
}

/// One with a user of its own.
pub(crate) fn new_session() -> NewSession {
    let user = user_of(LIVES.fetch_add(1, Ordering::Relaxed));
    let new = NewSession::new().user(user.as_str()).connection(user);
    ATTRIBUTES.iter().fold(new, |new, (key, length)| new.set(*key, &"x".repeat(*length)).unwrap())
}

pub(crate) async fn create(store: &Store, new: NewSession) -> Session {
    store.create(new).await.unwrap().session
}

pub(crate) async fn make(store: &Store, new: impl IntoIterator<Item = NewSession>) -> Vec<Session> {
    let created = store.create_many(new.into_iter().collect()).await;
    created.into_iter().map(|created| created.unwrap().session).collect()
}

/// A new session for each call.
pub(crate) async fn one_each(store: &Store, calls: u64) -> Vec<Session> {
    make(store, (0..calls).map(|_| new_session())).await
}

/// How many calls of a batch may be prepared for at once.
pub(crate) fn batches(calls: u64) -> usize {
    (calls as usize).min(MADE as usize / BATCH)
}

/// In an order that has nothing to do with that of their creation.
pub(crate) async fn crowd(store: &Store) -> Vec<Stored> {
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
    /// With what is made beforehand for each call, or for as many calls as that is for.
    pub(crate) fn measure<I, T>(
        &mut self,
        name: &str,
        prepare: impl AsyncFn(&Store, u64) -> Vec<I>,
        call: impl AsyncFn(&Store, I) -> T,
    ) {
        let Self { runtime, group, store, other, .. } = self;
        let stores = [&*store, &*other];
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| runtime.block_on(elapsed(stores, count, &prepare, &call)));
        });
    }

    /// With one of the crowd after the other.
    pub(crate) fn measure_crowd<T>(&mut self, name: &str, call: impl AsyncFn(&Store, Stored) -> T) {
        let crowd = self.crowd.clone();
        let some = async |_: &Store, count| crowd.iter().cycle().take(count as usize).cloned().collect();
        self.measure(name, some, call);
    }
}

/// Sessions that were made for it are deleted again, or fast operations would fill the machine.
async fn elapsed<I, T>(
    stores: [&Store; 2],
    count: u64,
    prepare: impl AsyncFn(&Store, u64) -> Vec<I>,
    call: impl AsyncFn(&Store, I) -> T,
) -> Duration {
    let [store, _] = stores;
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
            for store in stores {
                store.delete_user(&user_of(life), None).await.unwrap();
            }
        }
    }
    took
}
