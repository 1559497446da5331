//! A random run of several processes over few sessions, some behind links that fall silent or break: nobody is answered
//! later than promised, and nobody is answered less than what it has done itself.
//!
//! `CLOAKROOM_NEAR_STEPS` sets how many steps, `CLOAKROOM_RANDOM_SEED` repeats a run's choices.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloakroom::{NewSession, Patch, RedisStore, Rotation, Rules, SessionId};
use tokio::task::JoinSet;

use super::HOUR;
use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::expect::session_id;
use crate::support::proxy::Proxy;

const SESSIONS: usize = 8;
const TASKS_PER_STORE: usize = 3;
const STALENESS: Duration = Duration::from_millis(200);

/// What was acknowledged of an id: the highest version, or that it ended.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Known {
    Version(u64),
    Ended,
}

/// A change that was acknowledged: to whom, and when.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    known: Known,
    store: usize,
    at: Instant,
}

#[derive(Debug)]
struct Slot {
    id: SessionId,
    changes: Vec<Acknowledged>,
}

/// What all tasks share.
struct Stage {
    slots: Vec<Mutex<Slot>>,
    stores: Vec<Store>,
    /// Of the stores that have one.
    proxies: Vec<Proxy>,
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

impl Stage {
    fn look(&self, slot: usize) -> (SessionId, Vec<Acknowledged>) {
        let slot = self.slots[slot].lock().unwrap();
        (slot.id.clone(), slot.changes.clone())
    }

    fn note(&self, slot: usize, id: &SessionId, known: Known, store: usize) {
        let mut slot = self.slots[slot].lock().unwrap();
        if slot.id == *id {
            slot.changes.push(Acknowledged { known, store, at: Instant::now() });
            // Old ones say no more than the newest of each that is older than any promise.
            let excess = slot.changes.len().saturating_sub(400);
            slot.changes.drain(..excess);
        }
    }

    /// Whether an answer to a call that began then is as new as promised to the store.
    fn judge(&self, changes: &[Acknowledged], store: usize, began: Instant, answer: Known) -> Option<String> {
        let is_due = |change: &&Acknowledged| {
            change.store == store && change.at <= began || change.at + STALENESS < began
        };
        let late = changes.iter().filter(is_due).find(|change| answer < change.known)?;
        Some(format!("{answer:?} by {store}, {:?} after {late:?}", began - late.at))
    }

    async fn step(&self, store: usize, random: &mut fastrand::Rng) -> Result<bool, String> {
        let slot = random.usize(..SESSIONS);
        let (id, changes) = self.look(slot);
        let began = Instant::now();
        let handle = &self.stores[store];
        match random.u32(..100) {
            0..70 => {
                let found = if random.bool() {
                    handle.get(&id).await.map(|found| found.map(|session| session.version().get()))
                } else {
                    handle.refresh(&id).await.map(|found| found.map(|refreshed| refreshed.version.get()))
                };
                let Ok(found) = found else { return Ok(false) };
                let answer = found.map_or(Known::Ended, Known::Version);
                return self.judge(&changes, store, began, answer).map_or(Ok(true), Err);
            }
            70..90 => {
                let patch = Patch::new().set("n", &random.u64(..)).unwrap();
                if let Ok(patched) = handle.patch(&id, patch).await {
                    self.note(slot, &id, Known::Version(patched.version.get()), store);
                }
            }
            90..95 => {
                // From a login on the old id leads nowhere.
                if handle.rotate(&id, Rotation::new().user("u")).await.is_ok() {
                    self.note(slot, &id, Known::Ended, store);
                }
            }
            _ => {
                if handle.delete(&id).await.is_ok() {
                    self.note(slot, &id, Known::Ended, store);
                }
            }
        }
        // An ended id makes way for another.
        let is_ended = {
            let slot = self.slots[slot].lock().unwrap();
            slot.id == id && slot.changes.iter().any(|change| change.known == Known::Ended)
        };
        if is_ended && random.u32(..4) == 0 {
            let new = session_id(&format!("{:032x}", random.u128(..)));
            if handle.create(NewSession::new().id(new.clone())).await.is_ok() {
                *self.slots[slot].lock().unwrap() = Slot { id: new, changes: Vec::new() };
            }
        }
        Ok(true)
    }

    /// Falls silent for a while, or breaks.
    fn disturb(&self, random: &mut fastrand::Rng) {
        if let Some(proxy) = random.choice(&self.proxies) {
            match random.u32(..3) {
                0 => proxy.cut_replies(1),
                1 => proxy.hold(true),
                _ => proxy.hold(false),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_random_run_no_answer_is_later_than_promised() {
    let seed = number("CLOAKROOM_RANDOM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = number("CLOAKROOM_NEAR_STEPS").unwrap_or(20_000);
    let context = Context::own(&[]).await;
    let rules = Rules::new().ttl(HOUR).touch_interval(Duration::from_secs(60));
    let (mut stores, mut proxies) = (vec![context.store(rules.clone()).await], Vec::new());
    for behind_proxy in [false, true, true] {
        let url = if behind_proxy {
            proxies.push(Proxy::start(context.server().address()).await);
            proxies.last().unwrap().url.clone()
        } else {
            context.server().url().to_owned()
        };
        let builder = RedisStore::builder(url).namespace(&context.namespace).rules(rules.clone());
        let builder = builder.deadline(Duration::from_secs(1));
        stores.push(build(builder.near_cache(SESSIONS).near_cache_staleness(STALENESS)).await);
    }
    let mut slots = Vec::new();
    for _ in 0..SESSIONS {
        let id = stores[0].create(NewSession::new()).await.unwrap().session.id().clone();
        slots.push(Mutex::new(Slot { id, changes: Vec::new() }));
    }
    let stage = Arc::new(Stage { slots, stores, proxies });
    let left = Arc::new(std::sync::atomic::AtomicI64::new(steps.try_into().unwrap()));
    let mut tasks = JoinSet::new();
    for task in 0..stage.stores.len() * TASKS_PER_STORE {
        let (stage, left) = (stage.clone(), left.clone());
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(task as u64));
        let store = task % stage.stores.len();
        tasks.spawn(async move {
            let mut answered = 0_u64;
            while left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 {
                match stage.step(store, &mut random).await {
                    Ok(is_answered) => answered += u64::from(is_answered),
                    Err(late) => return Err(late),
                }
                if random.u32(..200) == 0 {
                    stage.disturb(&mut random);
                }
                tokio::task::yield_now().await;
            }
            Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(task) = tasks.join_next().await {
        answered += task.unwrap().unwrap_or_else(|late| panic!("seed {seed}: {late}"));
    }
    assert!(answered > steps / 2, "seed {seed}: {answered} of {steps} were answered");
}
