//! Writes that were acknowledged while a master is lost, and which of them its replica took over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::{NewSession, SessionId};
use tokio::task::JoinSet;

use super::cluster::tell;
use super::context::{Store, eventually};
use super::server::Server;

const WRITERS: usize = 8;

/// A session whose creation was acknowledged.
pub(crate) struct Acknowledged {
    pub(crate) id: SessionId,
    pub(crate) began: Instant,
    at: Instant,
    /// What the first master had written by then, its own write included. `None`: it did not tell.
    offset: Option<u64>,
}

/// Writers that note what was acknowledged.
pub(crate) struct Load {
    writers: JoinSet<Vec<Acknowledged>>,
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Load {
    /// Of sessions of these users, whose master is the first.
    pub(crate) async fn begin(store: &Store, first: &Server, users: &[impl AsRef<str>]) -> Self {
        let load = Self { writers: JoinSet::new(), is_over: Arc::default(), count: Arc::default() };
        let Load { mut writers, is_over, count } = load;
        for user in users.iter().cycle().take(WRITERS) {
            let (raw, user) = (first.connect().await, user.as_ref().to_owned());
            writers.spawn(write(store.clone(), user, raw, is_over.clone(), count.clone()));
        }
        let load = Self { writers, is_over, count };
        load.goes_on().await;
        load
    }

    /// Waits until more was acknowledged.
    pub(crate) async fn goes_on(&self) {
        let before = self.count.load(Ordering::SeqCst);
        eventually("writes are acknowledged", async || self.count.load(Ordering::SeqCst) > before + 500)
            .await;
    }

    /// All that was acknowledged, in the order in which it was.
    pub(crate) async fn end(self) -> Vec<Acknowledged> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all: Vec<Acknowledged> = self.writers.join_all().await.into_iter().flatten().collect();
        all.sort_by_key(|one| one.at);
        all
    }
}

async fn write(
    store: Store,
    user: String,
    mut first: redis::aio::MultiplexedConnection,
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let began = Instant::now();
        let Ok(created) = store.create(NewSession::new().user(&*user)).await else { continue };
        let (id, at) = (created.session.id().clone(), Instant::now());
        let role = redis::cmd("ROLE");
        let told =
            tokio::time::timeout(Duration::from_millis(100), role.query_async::<redis::Value>(&mut first));
        let offset = match told.await {
            Ok(Ok(redis::Value::Array(parts))) => match parts.get(1) {
                Some(redis::Value::Int(offset)) => u64::try_from(*offset).ok(),
                _ => None,
            },
            _ => None,
        };
        acknowledged.push(Acknowledged { id, began, at, offset });
        count.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

/// Up to which offset of the first master a promoted replica has what that wrote.
async fn taken_over_at(promoted: &Server) -> u64 {
    let info: String = tell(promoted, &["INFO", "replication"]).await.unwrap();
    let offset = info.lines().find_map(|line| line.strip_prefix("second_repl_offset:")).unwrap();
    // It tells the first that it has not.
    offset.trim().parse::<u64>().unwrap() - 1
}

/// Holds what was acknowledged against what is there: all that the promoted replica had, and the rest is counted.
pub(crate) async fn nothing_is_lost_that_was_replicated(
    name: &str,
    all: &[Acknowledged],
    promoted: &Server,
    store: &Store,
) {
    let had = taken_over_at(promoted).await;
    let mut lost = 0;
    for ids in all.chunks(200) {
        let names: Vec<SessionId> = ids.iter().map(|one| one.id.clone()).collect();
        for (one, found) in ids.iter().zip(store.get_many(&names).await) {
            if found.unwrap().is_none() {
                lost += 1;
                assert!(one.offset.is_none_or(|offset| offset > had), "{name}: a replicated write is lost");
            }
        }
    }
    let gap = all.windows(2).map(|two| two[1].at - two[0].at).max().unwrap();
    eprintln!("{name}: {} acknowledged, {lost} of them lost, {gap:?} without service", all.len());
}
