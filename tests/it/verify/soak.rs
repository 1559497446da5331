//! The same in a size that tells something of speed: `CLOAKROOM_VERIFY` sets how many healthy sessions there are, with a
//! hundredth of that damaged in each way: `CLOAKROOM_VERIFY=100000 cargo test --test it -- verify::soak --nocapture`.

#![expect(clippy::print_stdout, reason = "figures are a part of what it is for")]

use std::time::{Duration, Instant};

use cloakroom::{RedisStore, Rules};

use super::load::Load;
use super::{check_repair, redis, sessions};
use crate::support::Context;
use crate::support::context::Store;

/// How many healthy sessions, if the test is asked for.
fn wanted() -> Option<usize> {
    let wanted = std::env::var("CLOAKROOM_VERIFY").ok()?;
    Some(wanted.parse().expect("CLOAKROOM_VERIFY is a number"))
}

/// Seconds that the server has computed.
async fn server_seconds(context: &Context) -> f64 {
    let info: String = context.command(&["INFO", "cpu"]).await;
    let number = |field: &str| -> f64 {
        info.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().parse().unwrap()
    };
    number("used_cpu_user:") + number("used_cpu_sys:")
}

/// Works on the namespace, and goes through it so fast meanwhile, or not at all.
async fn measure(context: &Context, store: &Store, operator: &RedisStore, per_second: Option<u32>) {
    let (load, began, before) = (Load::start(store, 8), Instant::now(), server_seconds(context).await);
    let mut told = "nobody verifies".to_owned();
    if let Some(per_second) = per_second {
        let mut verifier = operator.verifier().per_second(per_second);
        while began.elapsed() < Duration::from_secs(20) {
            let Some(found) = verifier.next_step().await.unwrap() else { break };
            assert!(found.is_empty(), "a false alarm: {found:?}");
        }
        let (verified, took) = (verifier.verified(), began.elapsed().as_secs_f64());
        let rate = verified.sessions as f64 / took;
        told = format!("{per_second} a second: {verified:?} in {took:.1} s, {rate:.0} sessions a second");
    } else {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let server = (server_seconds(context).await - before) / began.elapsed().as_secs_f64();
    let done = load.stop().await;
    let (rate, p99) = (done.per_second, done.p99);
    println!(
        "{told}; the server is busy {:.0} %; {rate:.0} lives a second, 99 of 100 in {p99:.1?}",
        server * 100.0
    );
}

#[tokio::test]
async fn a_hundred_thousand_sessions_damaged_by_the_thousand_are_mended_under_load() {
    let Some(healthy) = wanted() else { return };
    // What a rotation left, and is damaged, has to be there still when the verifier comes by.
    let rules = Rules::new().rotation_grace(Duration::from_secs(3600));
    for spread in [false, true] {
        let context = Context::own(&[]).await;
        let context = if spread { context.spread() } else { context };
        let (store, operator) = (context.store(rules.clone()).await, redis(&context, 0).await);
        sessions(&store, "more", healthy / 2).await;
        for per_second in [None, Some(10_000_000), None, Some(10_000)] {
            measure(&context, &store, &operator, per_second).await;
        }
        let (began, load) = (Instant::now(), Load::start(&store, 8));
        check_repair(&context, &store, &operator, (healthy / 2, healthy / 100), load).await;
        println!(
            "{} partitions: damaged, mended and looked at in {:.0?}",
            operator.partition_count(),
            began.elapsed()
        );
    }
}
