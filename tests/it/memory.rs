//! The specifics of a store in memory: limited room, leftovers that it removes by itself, and no server.

mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::testing::TestClock;
use cloakroom::{
    Binding, Error, MemoryStore, NewSession, Obstacle, OnLimit, Patch, Refusal, Rotation, Rules, SessionStore,
};

use crate::support::Context;
use crate::support::context::eventually;
use crate::support::expect::{refusal, session_id as id};
use crate::support::traced::{capture, closed};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A store by a clock that the test moves.
fn store(rules: Rules) -> (MemoryStore, TestClock) {
    let clock = TestClock::new();
    let store = MemoryStore::builder().rules(rules).clock(clock.clone()).build().unwrap();
    (store, clock)
}

/// How many records there are, of sessions and of those that were.
fn records(store: &MemoryStore) -> usize {
    store.snapshot("t").unwrap().keys().filter(|key| key.contains(":session:")).count()
}

#[test]
fn each_bad_setting_is_named_with_its_limits() {
    let builder = MemoryStore::builder;
    for (builder, expected) in [
        (builder().max_sessions(0), "max_sessions is 0, must be at least 1"),
        (builder().rules(Rules::new().ttl(Duration::ZERO)), "ttl is 0ns, must be 1ms to 315360000s"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    let (store, _) = store(Rules::new());
    let error = store.with_rules(Rules::new().sessions_per_user(501, OnLimit::Reject)).unwrap_err();
    assert_eq!(error.to_string(), "sessions_per_user is 501, must be 1 to 500");
    let error = store.snapshot("a{b}").unwrap_err();
    assert_eq!(error.to_string(), "namespace has a brace, which would change the hash tag");
}

#[tokio::test]
async fn another_handle_has_the_same_sessions_and_rules_of_its_own() {
    let (store, _) = store(Rules::new().ttl(MINUTE));
    let other = store.with_rules(Rules::new().ttl(HOUR)).unwrap();
    let short = store.create(NewSession::new()).await.unwrap().session;
    let long = other.create(NewSession::new()).await.unwrap().session;
    assert_eq!((short.ttl(), long.ttl()), (MINUTE, HOUR));
    assert_eq!(other.get(short.id()).await.unwrap(), Some(short));
    assert_eq!(store.get(long.id()).await.unwrap(), Some(long));
    assert_eq!((store.stored(), other.stored()), (2, 2));
}

#[tokio::test]
async fn the_end_of_one_handle_is_that_of_all() {
    let (store, _) = store(Rules::new());
    let session = store.create(NewSession::new()).await.unwrap().session;
    let others = [store.clone(), store.with_rules(Rules::new().ttl(HOUR)).unwrap()];
    store.close().await;
    for other in &others {
        let error = other.get(session.id()).await.unwrap_err();
        assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Closed, .. }), "{error:?}");
    }
    assert_eq!(store.stored(), 1);
}

#[tokio::test]
async fn expired_sessions_are_stored_until_they_are_reaped_and_deleted_ones_are_not() {
    let (store, clock) = store(Rules::new().ttl(MINUTE));
    for name in ["a", "b", "c"] {
        store.create(NewSession::new().id(id(name))).await.unwrap();
    }
    store.delete(&id("a")).await.unwrap();
    assert_eq!(store.stored(), 2);
    clock.advance(MINUTE);
    assert_eq!((store.stored(), store.get(&id("b")).await.unwrap()), (2, None));
    assert_eq!(store.reap(1).await.unwrap().sessions.len(), 1);
    assert_eq!(store.stored(), 1);
}

#[tokio::test]
async fn a_session_that_outlived_its_grace_goes_without_a_reaper_as_others_are_made() {
    let (store, clock) = store(Rules::new().ttl(MINUTE).grace(MINUTE));
    const OLD: usize = 500;
    for number in 0..OLD {
        let new = NewSession::new().user("ann").connection(format!("socket-{number}")).node("gateway");
        store.create(new).await.unwrap();
    }
    clock.advance(2 * MINUTE - Duration::from_millis(1));
    store.create(NewSession::new()).await.unwrap();
    assert_eq!(store.stored(), OLD + 1, "a reaper may still come");
    clock.advance(SECOND);
    // Each that is made sees to one of its part of the store, of which there are 64: these meet them all.
    for _ in 0..4 * OLD {
        store.create(NewSession::new()).await.unwrap();
    }
    assert_eq!(store.stored(), 1 + 4 * OLD);
    let snapshot = store.snapshot("t").unwrap();
    assert!(!snapshot.keys().any(|key| key.contains("ann") || key.contains("socket")));
}

#[tokio::test]
async fn leftovers_are_cleared_away_as_time_goes_on() {
    let (store, clock) = store(Rules::new());
    for round in 0..5_000_u32 {
        let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
        let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
        assert!(store.delete(&rotated).await.unwrap().is_some());
        clock.advance(SECOND);
        // Of each second of the last thirty a tombstone and an old id.
        assert!(records(&store) <= 60, "{} records in round {round}", records(&store));
    }
    assert_eq!(store.stored(), 0);
}

/// Those of the last test that a snapshot no longer shows are gone for good too, not only out of sight.
#[tokio::test]
async fn leftovers_do_not_pile_up_out_of_sight() {
    let (store, clock) = store(Rules::new());
    const ROUNDS: usize = 5_000;
    for _ in 0..ROUNDS {
        let session = store.create(NewSession::new()).await.unwrap().session;
        store.delete(session.id()).await.unwrap();
        clock.advance(SECOND);
    }
    // As it was at the beginning, all that is still there would show.
    clock.set_ms(0);
    assert!(records(&store) < ROUNDS / 10, "{} records", records(&store));
}

#[tokio::test]
async fn without_a_test_clock_sessions_live_by_that_of_the_machine() {
    let store = Arc::new(MemoryStore::builder().build().unwrap());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let before = now();
    let session = store.create(NewSession::new().ttl(Duration::from_millis(1))).await.unwrap().session;
    assert!((before..=now()).contains(&u128::from(session.created_at_ms())));
    eventually("it expires", async || store.get(session.id()).await.unwrap().is_none()).await;
    let reaper = Reaper::builder(store.clone()).every(Duration::from_millis(1)).batch(10).spawn().unwrap();
    eventually("it is reaped", async || store.stored() == 0).await;
    assert_eq!(reaper.stop().await.removed, 1);
}

#[tokio::test]
async fn a_task_that_only_calls_lets_others_run() {
    let (store, _) = store(Rules::new());
    let flag = Arc::new(AtomicBool::new(false));
    let raise = flag.clone();
    tokio::spawn(async move { raise.store(true, Ordering::SeqCst) });
    for _ in 0..10_000 {
        store.get(&id("none")).await.unwrap();
        if flag.load(Ordering::SeqCst) {
            return;
        }
    }
    panic!("the other task on this thread never ran");
}

#[tokio::test]
async fn spans_name_operation_and_outcome_and_never_an_id() {
    let (traced, guard) = capture();
    let (store, _) = store(Rules::new());
    let secret = id("a-secret-id");
    let new = NewSession::new().id(secret.clone()).user("ann").connection("socket");
    let session = store.create(new).await.unwrap().session;
    assert_eq!(refusal(store.create(NewSession::new().id(secret.clone())).await), Refusal::Exists);
    store.get(&secret).await.unwrap().unwrap();
    store.rotate(&secret, Rotation::new().new_id(id("a-secret-id-too"))).await.unwrap();
    store.patch(&session, Patch::new()).await.unwrap();
    store.close().await;
    store.bind(&secret, Binding::new("other")).await.unwrap_err();
    drop(guard);
    let text = traced.text();
    for (operation, outcome) in
        [("create", "exists"), ("get", "ok"), ("rotate", "ok"), ("patch", "ok"), ("bind", "not_executed")]
    {
        let line = closed(&text, operation);
        assert!(line.contains(&format!("outcome=\"{outcome}\"")), "{line}");
    }
    assert!(closed(&text, "bind").contains("error.type=\"closed\""), "{text}");
    assert!(!text.contains("a-secret-id"), "{text}");
}

#[tokio::test]
async fn what_is_in_memory_is_the_same_that_a_server_holds() {
    let redis = Context::redis().await;
    let memory = redis.another(crate::support::context::On::Memory).await;
    let mut dumps = Vec::new();
    for context in [&redis, &memory] {
        let store = context.store_at(Rules::new()).await;
        let new = NewSession::new().id(id("a")).user("ann").connection("socket").node("gateway");
        store.create(new.set("color", "green").unwrap()).await.unwrap();
        store.create(NewSession::new().id(id("b")).suspended()).await.unwrap();
        store.rotate(&id("b"), Rotation::new().new_id(id("c")).user("bob")).await.unwrap();
        let mut stored = Vec::new();
        for name in ["a", "b", "c"] {
            stored.push(context.stored(&id(name)).await);
        }
        let mut keys = Vec::new();
        for key in context.keys().await {
            keys.push(key.strip_prefix(&context.key("")).unwrap().to_owned());
        }
        dumps.push((keys, stored));
    }
    assert_eq!(dumps[0], dumps[1]);
}
