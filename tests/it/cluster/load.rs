//! Calls at a cluster while something happens to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::{Patch, Session, Version};
use tokio::task::JoinSet;

use crate::support::context::{Store, eventually};

/// How late a process may see what another changed that answers from memory.
pub(super) const STALENESS: Duration = Duration::from_millis(300);

/// Calls of all kinds until they are told to end: how many were answered, and what went wrong.
pub(super) struct Load {
    callers: JoinSet<Counts>,
    is_over: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) failed_reads: Vec<String>,
    pub(super) failed_writes: Vec<String>,
}

impl Load {
    /// One store writes, and one reads.
    pub(super) fn begin(store: &Store, reads: &Store, sessions: &[Session]) -> Self {
        let (mut callers, is_over, writes) = (JoinSet::new(), Arc::<AtomicBool>::default(), Arc::default());
        for session in sessions {
            let stores = [store.clone(), reads.clone()];
            callers.spawn(call(stores, session.clone(), is_over.clone(), Arc::clone(&writes)));
        }
        Self { callers, is_over, writes }
    }

    pub(super) async fn goes_on(&self) {
        let before = self.writes.load(Ordering::SeqCst);
        eventually("writes are answered", async || self.writes.load(Ordering::SeqCst) > before + 50).await;
    }

    pub(super) async fn ends_without_an_error(self) {
        let counts = self.end().await;
        let is_good = counts.failed_reads.is_empty() && counts.failed_writes.is_empty();
        assert!(is_good && counts.reads > 0, "{counts:?}");
    }

    pub(super) async fn end(self) -> Counts {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = Counts::default();
        for counts in self.callers.join_all().await {
            all.reads += counts.reads;
            all.writes += counts.writes;
            all.failed_reads.extend(counts.failed_reads);
            all.failed_writes.extend(counts.failed_writes);
        }
        all
    }
}

/// What a reader has to see: each change from the staleness after it was acknowledged, and of its own process at once.
struct Seen {
    is_own: bool,
    floor: Version,
    acknowledged: VecDeque<(Instant, Version)>,
}

impl Seen {
    fn acknowledged(&mut self, version: Version) {
        self.acknowledged.push_back((Instant::now(), version));
    }

    /// The least version that a read has to see which begins now.
    fn floor(&mut self) -> Version {
        let now = Instant::now();
        let late = if self.is_own { Duration::ZERO } else { STALENESS };
        while self.acknowledged.front().is_some_and(|(at, _)| *at + late <= now) {
            self.floor = self.acknowledged.pop_front().unwrap().1;
        }
        self.floor
    }
}

async fn call(
    [store, reads]: [Store; 2],
    session: Session,
    is_over: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
) -> Counts {
    let mut counts = Counts::default();
    let is_own = Arc::ptr_eq(&store, &reads);
    let mut seen = Seen { is_own, floor: session.version(), acknowledged: VecDeque::new() };
    while !is_over.load(Ordering::SeqCst) {
        match store.patch(session.id(), Patch::new().set("n", &counts.writes).unwrap()).await {
            Ok(patched) => {
                counts.writes += 1;
                seen.acknowledged(patched.version);
                writes.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => counts.failed_writes.push(error.to_string()),
        }
        let floor = seen.floor();
        match reads.get(session.id()).await {
            Ok(Some(found)) => {
                assert!(found.version() >= floor, "an older state was read");
                counts.reads += 1;
            }
            Ok(None) => counts.failed_reads.push("missing".to_owned()),
            Err(error) => counts.failed_reads.push(error.to_string()),
        }
    }
    counts
}
