//! The circuit breaker: what opens it, what a probe is, what closes it.

use std::time::Duration;

use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore};
use cloakroom::{NewSession, Obstacle, Patch, Rules, SessionStore as _};

use super::{COOL_DOWN, World, obstacle, recovers};
use crate::support::Context;
use crate::support::context::eventually;
use crate::support::expect::{refusal, session_id};
use crate::support::record::{DELETED, Stored};
use crate::support::stopped_time::polls;

/// The records that probes have left.
async fn of_probes(context: &Context) -> Vec<Stored> {
    let prefix = context.key("session:cloakroom-probe-");
    let mut found = Vec::new();
    for key in context.keys().await {
        if key.starts_with(&prefix)
            && let Some(bytes) = context.string(&key).await
        {
            found.push(Stored::parse(&bytes));
        }
    }
    found
}

#[tokio::test]
async fn while_it_is_open_calls_wait_for_nothing_and_do_not_reach_the_store() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    let (rejected, probes) = (world.store.stats().rejected, world.store.stats().probes);
    world.hooked.take_calls();
    for _ in 0..10_000 {
        let (polls, answer) = polls(world.store.get(session.id())).await;
        assert_eq!((polls, obstacle(answer)), (1, Obstacle::CircuitOpen), "it waited");
        // Probes go on meanwhile.
        tokio::task::yield_now().await;
    }
    assert_eq!(world.store.stats().rejected, rejected + 10_000);
    eventually("some probes", async || world.store.stats().probes >= probes + 2).await;
    assert!(!world.hooked.take_calls().contains(&"get"), "a call reached the store");
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_opens_nothing() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let store = world.handle();
    let session = world.context.session(&store, "a").await;
    let missing = session_id("never");
    for _ in 0..10 {
        refusal(store.create(NewSession::new().id(session.id().clone())).await);
        refusal(store.patch(&missing, Patch::new().remove("color")).await);
        assert!(store.get(&missing).await.unwrap().is_none());
        assert!(!store.unbind(&missing, "connection-a").await.unwrap());
        assert!(store.create(NewSession::new().user("x".repeat(300))).await.is_err());
    }
    let stats = world.store.stats();
    assert_eq!((stats.breaker, stats.opened, stats.probes), (BreakerState::Closed, 0, 0));
}

#[tokio::test]
async fn a_single_failure_between_successes_opens_nothing() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let session = world.context.session(&world.handle(), "a").await;
    for _ in 0..5 {
        world.proxy.cut_off(true);
        assert!(world.store.get(session.id()).await.is_err());
        world.proxy.cut_off(false);
        assert!(world.store.get(session.id()).await.unwrap().is_some());
    }
    assert_eq!(world.store.stats().opened, 0);
}

#[tokio::test]
async fn half_open_lets_nothing_but_the_probe_through() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let session = world.context.session(&world.handle(), "a").await;
    let gate = world.hooked.stop_after("delete");
    world.cut_off().await;
    world.proxy.cut_off(false);
    gate.reached().await;
    assert_eq!(world.store.stats().breaker, BreakerState::HalfOpen);
    let (before, probes) = (world.context.count().await, world.store.stats().probes);
    for _ in 0..1_000 {
        assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
    }
    let cost = world.context.cost_since(&before).await;
    assert!(!cost.commands.contains_key("get") && cost.scripts == 0, "{cost:?}");
    assert_eq!(world.store.stats().probes, probes);
    gate.open();
    recovers(&world.store).await;
    assert_eq!(world.store.stats().probes, probes, "that very probe found the server back");
    assert!(world.store.get(session.id()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_probe_that_hangs_is_given_up_and_the_next_one_gets_through() {
    let short =
        |builder: cloakroom::fallback::FallbackStoreBuilder| builder.probe_timeout(Duration::from_millis(50));
    let world = World::with(FallbackPolicy::FailClosed, Rules::new(), short).await;
    let gates: Vec<_> = (0..6).map(|_| world.hooked.stop_after("create")).collect();
    world.cut_off().await;
    world.proxy.cut_off(false);
    for gate in &gates {
        gate.reached().await;
        assert_ne!(world.store.stats().breaker, BreakerState::Closed);
        assert_eq!(of_probes(&world.context).await.len(), 1, "all of one outage have one id");
    }
    recovers(&world.store).await;
    // On a busy machine one that worked may have been given up too, and the next takes another id.
    assert!(of_probes(&world.context).await.iter().all(|record| record.kind == DELETED));
    world.context.check().await;
}

#[tokio::test]
async fn a_probe_leaves_nothing_but_a_tombstone() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    world.cut_off().await;
    world.mend().await;
    let left = of_probes(&world.context).await;
    assert_eq!(left.iter().map(|record| record.kind).collect::<Vec<_>>(), [DELETED]);
    assert_eq!(world.context.keys_but_expiry().await.len(), 1);
    assert_eq!(world.context.entries(&world.context.key("expiry")).await, Vec::<String>::new());
    world.context.check().await;
}

#[tokio::test]
async fn a_full_server_that_serves_reads_keeps_it_open() {
    let context = Context::own(&[]).await;
    let inner = context.store(Rules::new()).await;
    let session = context.session(&inner, "a").await;
    let store = FallbackStore::builder(inner.clone()).failures(3).cool_down(COOL_DOWN).build().unwrap();
    context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut round = 0_u32;
    while store.stats().breaker == BreakerState::Closed {
        round += 1;
        let patch = Patch::new().set("round", &round).unwrap();
        assert_eq!(obstacle(store.patch(&session, patch).await), Obstacle::OutOfMemory);
        // A read that works in between does not hide that writes fail.
        if store.stats().breaker == BreakerState::Closed {
            assert!(store.get(session.id()).await.unwrap().is_some());
        }
    }
    assert_eq!(round, 3);
    eventually("some probes", async || store.stats().probes >= 5).await;
    assert_ne!(store.stats().breaker, BreakerState::Closed, "a server that refuses writes is not back");
    assert!(inner.get(session.id()).await.unwrap().is_some(), "it does read");
    assert_eq!(of_probes(&context).await, []);
    context.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    recovers(&store).await;
    store.patch(&session, Patch::new().set("round", &0).unwrap()).await.unwrap();
    context.check().await;
}

#[tokio::test]
async fn a_replica_keeps_it_open_until_it_is_promoted() {
    let context = Context::own(&[]).await;
    let inner = context.store(Rules::new()).await;
    let session = context.session(&inner, "a").await;
    let store = FallbackStore::builder(inner).failures(3).cool_down(COOL_DOWN).build().unwrap();
    context.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let patch = || Patch::new().set("color", "red").unwrap();
    while store.stats().breaker == BreakerState::Closed {
        assert_eq!(obstacle(store.patch(&session, patch()).await), Obstacle::Unavailable);
    }
    eventually("some probes", async || store.stats().probes >= 5).await;
    assert_ne!(store.stats().breaker, BreakerState::Closed, "a replica is not the store");
    assert_eq!(of_probes(&context).await, []);
    context.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    recovers(&store).await;
    store.patch(&session, patch()).await.unwrap();
    context.check().await;
}

#[tokio::test]
async fn a_probe_that_meets_its_own_tombstone_still_finds_out_whether_writes_work() {
    let world = World::new(FallbackPolicy::LocalOnly { ttl: Duration::from_secs(60) }).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.store.delete(&session).await.unwrap();
    // The probe works: its id is closed now. Then telling of the logout does not.
    let told = world.hooked.stop_before("delete_user");
    world.store.delete_user("user-b", None).await.unwrap();
    world.proxy.cut_off(false);
    told.reached().await;
    world.context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    world.hooked.lose_answer("delete_user");
    told.open();
    let before = world.store.stats().probes;
    eventually("some probes", async || world.store.stats().probes >= before + 5).await;
    assert_ne!(world.store.stats().breaker, BreakerState::Closed);
    world.context.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    recovers(&world.store).await;
    world.context.check().await;
}
