//! Times and sizes at a server, printed: they are the machine's too, so nothing is asserted.
//! `cargo test --test it -- large::measured --ignored --nocapture`

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::time::{Duration, Instant};

use cloakroom::nodes::Claim;
use cloakroom::{OnLimit, Rules};
use redis::Value;

use super::{KIB, MIB, MINUTE, of_size, rules, sent};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::leases::register;

/// How long scripts and commands held the server, in microseconds: the median and the longest.
async fn held(context: &Context) -> [(u64, u64); 2] {
    let log: Vec<Vec<Value>> = context.command(&["SLOWLOG", "GET", "100000"]).await;
    let (mut scripts, mut commands) = (Vec::new(), Vec::new());
    for entry in log {
        let micros: u64 = redis::from_redis_value(entry[2].clone()).unwrap();
        let words: Vec<Vec<u8>> = redis::from_redis_value(entry[3].clone()).unwrap();
        if words[0] == b"EVALSHA" { scripts.push(micros) } else { commands.push(micros) }
    }
    [scripts, commands].map(|mut times| {
        times.sort_unstable();
        (times.get(times.len() / 2).copied().unwrap_or_default(), times.last().copied().unwrap_or_default())
    })
}

async fn measure(context: &Context, what: &str, work: impl Future<Output = usize>) {
    for command in [&["SLOWLOG", "RESET"][..], &["CONFIG", "SET", "slowlog-log-slower-than", "0"]] {
        context.command::<Value>(command).await;
    }
    let (before, began) = (sent(context).await, Instant::now());
    let calls = work.await;
    let (took, bytes) = (began.elapsed(), sent(context).await - before);
    let [script, command] = held(context).await;
    println!(
        "{what}: {calls} calls in {took:?}; scripts {script:?} us, commands {command:?} us; {} KiB a call",
        bytes / 1024 / calls.max(1) as u64
    );
}

/// Sessions made one after the other.
async fn fill(store: &Store, count: usize, bytes: usize) -> usize {
    for at in 0..count {
        store.create(of_size(bytes, &format!("{at:04}"))).await.unwrap();
    }
    count
}

async fn reap(store: &Store) -> usize {
    for calls in 1.. {
        if !store.reap(200).await.unwrap().more {
            return calls;
        }
    }
    0
}

async fn recover(store: &Store) -> usize {
    let mut claim = Claim::new("gateway", "live").reconnect(Duration::from_secs(1));
    for calls in 1.. {
        let claimed = store.recover(claim.clone()).await.unwrap();
        match claimed.next {
            Some(next) => claim = claim.after(next),
            None => return calls,
        }
    }
    0
}

async fn all(count: usize, bytes: usize) {
    println!("{count} sessions of {} KiB", bytes / KIB);
    let context = Context::own(&["--slowlog-max-len", "100000"]).await;
    let store = context.store_at(rules()).await;
    register(&store, "live").await;
    measure(&context, "create", fill(&store, count, bytes)).await;
    measure(&context, "recover", recover(&store)).await;
    measure(&context, "log out everywhere", async {
        store.delete_user("ann", None).await.unwrap();
        1
    })
    .await;
    context.clock.advance(MINUTE);
    fill(&store, count, bytes).await;
    let limited = context.store_at(rules().sessions_per_user(1, OnLimit::EvictOldest)).await;
    measure(&context, "evict", async {
        limited.create(of_size(100, "new")).await.unwrap();
        1
    })
    .await;
    context.clock.advance(MINUTE);
    fill(&store, count, bytes).await;
    context.clock.advance(MINUTE);
    measure(&context, "reap", reap(&store)).await;
    let many = (0..100).map(|at| of_size(bytes, &format!("many{at}"))).collect();
    measure(&context, "create_many of 100", async { store.create_many(many).await.len() / 100 }).await;
}

#[tokio::test]
#[ignore = "prints figures"]
async fn what_large_sessions_cost() {
    assert_eq!(Rules::new().get_session_bytes(), 256 * KIB);
    all(1000, 256 * KIB).await;
    all(200, 4 * MIB).await;
}
