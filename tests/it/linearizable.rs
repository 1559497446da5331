//! Every operation happens at one instant between its call and its answer, or not at all: random histories of a few clients
//! on a few ids, with replies that are lost, requests that arrive in halves, connections that are killed, scripts that are
//! flushed, calls that are dropped and memory that is full, each searched for an order that explains all of its answers.
//!
//! `CLOAKROOM_HISTORIES` sets how many (500 if not). A failure names the seed of its history; `CLOAKROOM_HISTORY_SEED` makes
//! it, and those behind it, again. The calls and the faults are the same then, but not how they interleave, so a history
//! may take some tries.

mod again;
mod call;
mod client;
#[cfg(target_os = "linux")]
mod clocks;
mod history;
mod listing;
mod model;
mod mutations;
mod overtaken;
mod random;
mod resp;
mod search;
mod stage;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use self::random::{Lane, Tally};
use self::wire::{Aim, At, Fault, Wire};
use crate::support::Context;
use crate::support::context::eventually;
use crate::support::repository::root;

/// Histories that run side by side: most of their time they wait.
const LANES: u64 = 32;

/// So many come to everything, or the test asks for too much of chance.
const COVERING: u64 = 500;

/// How many of those that fail are told.
const SHOWN: usize = 3;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn some_order_of_the_calls_explains_the_answers_of_every_history() {
    let count = number("CLOAKROOM_HISTORIES").unwrap_or(500);
    let first = number("CLOAKROOM_HISTORY_SEED").unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    let began = Instant::now();
    let context = Arc::new(Context::own(&[]).await);
    let next = Arc::new(AtomicU64::new(0));
    let lanes = (0..LANES.min(count)).map(|_| {
        let (context, next) = (context.clone(), next.clone());
        tokio::spawn(async move {
            let mut lane = Lane::new(&context, None).await;
            let mut violations = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::SeqCst);
                if at >= count {
                    return (lane.tally, violations);
                }
                violations.extend(lane.run(first + at).await.map(|history| (first + at, history)));
            }
        })
    });
    let (mut tally, mut violations) = (Tally::new(), Vec::new());
    for lane in lanes.collect::<Vec<_>>() {
        let (counted, found) = lane.await.unwrap();
        counted.into_iter().for_each(|(key, count)| *tally.entry(key).or_default() += count);
        violations.extend(found);
    }
    eprintln!("{count} histories in {:.1} s", began.elapsed().as_secs_f64());
    let shown =
        violations.iter().take(SHOWN).map(|(seed, history)| format!("seed {seed}: {}", history.report()));
    let shown: Vec<String> = shown.collect();
    assert!(shown.is_empty(), "{} of {count} are not linearizable\n{}", violations.len(), shown.join("\n"));
    context.check().await;
    if count >= COVERING {
        let missed: Vec<_> = expected().into_iter().filter(|key| !tally.contains_key(key)).collect();
        assert!(missed.is_empty(), "it never came to this: {missed:?}, but to {tally:?}");
    }
}

/// What so many histories have to come to.
fn expected() -> Vec<(&'static str, &'static str)> {
    const READS: [&str; 6] = ["get", "session_by_connection", "refresh", "refresh_and_get", "list", "count"];
    const WRITES: [&str; 8] =
        ["create", "update", "patch", "rotate", "bind", "unbind", "delete", "delete_user"];
    const REFUSED: [&str; 5] = ["create", "update", "patch", "rotate", "bind"];
    let faults = Fault::RANDOM.map(|fault| ("fault", fault.name()));
    let mut expected = faults.to_vec();
    expected.extend(["scripts flushed", "memory full"].map(|what| ("server", what)));
    expected.extend(READS.iter().chain(&WRITES).map(|call| (*call, "answered")));
    expected.extend(WRITES.map(|call| (call, "unknown")));
    expected.extend(REFUSED.map(|call| (call, "refused")));
    expected
}

/// How many scripts a store loads: one of each operation that it runs, and that of the start.
fn loaded() -> usize {
    let is_loaded = |stem: &str| stem != "get" && !stem.starts_with("mend_");
    let of_operations = std::fs::read_dir(root().join("lua/dist")).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".lua").is_some_and(is_loaded)
    });
    of_operations.count() + 1
}

/// The server reads the long pipeline of a start in parts, and others' commands come in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_starts_though_its_scripts_are_flushed_after_it_loaded_them() {
    let context = Context::own(&[]).await;
    let wire = Wire::start(context.server().address(), None).await;
    wire.aim(Aim { fault: Fault::Wait, skips: 0, times: 1, at: At::Scripts, then_wait: true });
    let start = random::behind(&wire, &context.namespace, random::rules());
    let scripts = loaded();
    let flush = async {
        wire.fires(0).await;
        eventually("all scripts are loaded", async || {
            let memory: String = context.command(&["INFO", "memory"]).await;
            memory.contains(&format!("number_of_cached_scripts:{scripts}\r"))
        })
        .await;
        context.command::<()>(&["SCRIPT", "FLUSH", "SYNC"]).await;
        wire.go_on();
    };
    tokio::join!(start, flush);
}
