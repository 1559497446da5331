//! A random run of all operations at once, over few names, so that they meet: no invariant may break.
//!
//! `CLOAKROOM_RANDOM_OPS` sets how many operations, `CLOAKROOM_RANDOM_SEED` repeats a run's choices (the tasks run
//! freely, so not their interleaving).

mod actor;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::{OnLimit, PageRequest, Rules, Selector};
use rstest::rstest;
use tokio::task::JoinSet;

use self::actor::Actor;
use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis, Spread};
use crate::support::context::{On, eventually};
use crate::support::invariants;

const TASKS: u64 = 8;
/// Operations between two checks.
const PHASE: u64 = 4_000;

const USERS: u64 = 5;
const NODES: u64 = 3;
const CONNECTIONS: u64 = 12;
const IDS: u64 = 24;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Tombstones and old ids are short, or a few ids would be blocked all the time.
fn rules() -> Rules {
    Rules::new()
        .ttl(Duration::from_secs(600))
        .max_lifetime(Duration::from_secs(3600))
        .tombstone(Duration::from_millis(5))
        .rotation_grace(Duration::from_millis(20))
        .sessions_per_user(6, OnLimit::EvictOldest)
}

/// The test's clock, moved on by the operations and never slower than the server's, by which the TTLs of keys run.
#[derive(Debug)]
struct Pace {
    clock: cloakroom::testing::TestClock,
    began: Instant,
    began_ms: u64,
    ahead_ms: AtomicU64,
}

impl Pace {
    fn keep(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let due = self.began_ms + passed + self.ahead_ms.load(Ordering::SeqCst);
        let behind = due.saturating_sub(self.clock.now_ms());
        self.clock.advance(Duration::from_millis(behind));
    }

    fn jump(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.ahead_ms.fetch_add(by, Ordering::SeqCst);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn random_operations_leave_no_invariant_broken(#[values(Redis, Near, Spread, Memory)] on: On) {
    let seed = number("CLOAKROOM_RANDOM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let operations = number("CLOAKROOM_RANDOM_OPS").unwrap_or(20_000);
    let context = match on {
        Redis => Context::own(&[]).await,
        Near => Context::own(&[]).await.near(),
        Spread | Memory => Context::on(on).await,
    };
    let context = Arc::new(context);
    let pace = Arc::new(Pace {
        clock: context.clock.clone(),
        began: Instant::now(),
        began_ms: context.clock.now_ms(),
        ahead_ms: AtomicU64::new(0),
    });
    let mut actors = Vec::new();
    for task in 0..TASKS {
        let random = fastrand::Rng::with_seed(seed.wrapping_add(task));
        let store = context.store_at(rules()).await;
        actors.push(Actor::new(context.clone(), store, pace.clone(), random));
    }
    let mut done = 0;
    while done < operations {
        let mut tasks = JoinSet::new();
        for mut actor in actors.drain(..) {
            tasks.spawn(async move {
                for _ in 0..PHASE / TASKS {
                    actor.act().await;
                }
                actor
            });
        }
        while let Some(actor) = tasks.join_next().await {
            actors.push(actor.unwrap_or_else(|error| panic!("seed {seed}, after {done}: {error}")));
        }
        done += PHASE;
        let violations = invariants::violations(&context).await;
        assert!(violations.is_empty(), "seed {seed}, after {done} operations:\n{}", violations.join("\n"));
    }
    Actor::report(&actors, done, pace.began.elapsed());
    nothing_is_left_when_all_has_expired(&context, seed).await;
}

/// All the above, then idle: what the reaper leaves is the expiry index's own note.
async fn nothing_is_left_when_all_has_expired(context: &Context, seed: u64) {
    context.clock.advance(Duration::from_secs(7200));
    let store = context.store_at(rules()).await;
    while store.reap(200).await.unwrap().more {}
    for user in 0..USERS {
        let owner = Selector::user(actor::user(user));
        assert_eq!(store.count(&owner).await.unwrap(), 0, "seed {seed}");
        let page = store.list(&owner, &PageRequest::first(500)).await.unwrap();
        assert!(page.sessions.is_empty(), "seed {seed}");
    }
    // The keys of tombstones and old ids go by the server's clock.
    let empty = async || context.keys_but_expiry().await.is_empty();
    eventually("only the expiry index is left", empty).await;
    for key in context.keys().await {
        assert!(context.entries(&key).await.is_empty(), "seed {seed}: {key}");
    }
}
