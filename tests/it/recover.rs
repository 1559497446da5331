//! recover: gives the sessions of a dead node to another.
//!
//! Twice under one operation id: the same state, and the same report while the store itself retries (`retries`). Raced
//! with itself: each session is taken once (`races/recoveries`); with `heartbeat`: a node that came back keeps what was
//! not taken; with `bind`, `delete`, `rotate`, `reap`: what is no longer the node's is not taken. A foreign type at a
//! key: corrupt and nothing changed, or that session reported and left (`bad_input/planted`).

use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, HeartbeatReply, NodeIdentity, RecoveredSession};
use cloakroom::{
    Binding, Error, NewSession, OperationId, Refusal, Rules, Selector, Session, SessionId, Status,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{On, Store};
use crate::support::expect::{ms, refusal, session_id};
use crate::support::leases::{LEASE, register, session_at};
use crate::support::record::Stored;
use crate::support::sessions::create_many;

const MINUTE: Duration = Duration::from_secs(60);
const SUSPENDED: u8 = 2;

/// A node "dead" whose lease has run out, and one "live" that holds its own.
async fn dead_and_live(on: On, rules: Rules) -> (Context, Store) {
    let context = Context::on(on).await;
    let store = context.store_at(rules).await;
    register(&store, "dead").await;
    context.lapse();
    register(&store, "live").await;
    (context, store)
}

fn claim() -> Claim {
    Claim::new("dead", "live")
}

fn ids(recovered: &[RecoveredSession]) -> Vec<&str> {
    recovered.iter().map(|session| session.id.as_str()).collect()
}

async fn stored(context: &Context, id: &str) -> Stored {
    context.stored(&session_id(id)).await.unwrap()
}

/// A call that is refused so and changes nothing.
async fn assert_refused(context: &Context, store: &Store, claim: Claim, expected: Refusal) {
    let before = context.dump().await;
    assert_eq!(refusal(store.recover(claim).await), expected);
    assert_eq!(context.dump().await, before, "a refused call changed something");
}

#[rstest]
#[tokio::test]
async fn the_sessions_of_a_dead_node_go_to_another_suspended_and_without_their_connections(
    #[values(Redis, Memory)] on: On,
) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    let one = session_at(&store, "dead", "one").await;
    session_at(&store, "live", "other").await;
    let guest = NewSession::new().id(session_id("two")).node("dead");
    store.create(guest).await.unwrap();
    let claimed = store.recover(claim()).await.unwrap();
    assert_eq!(ids(&claimed.sessions), ["one", "two"]);
    assert_eq!(claimed.sessions[0].user.as_deref(), Some("user-one"));
    assert_eq!(claimed.sessions[0].connection.as_deref(), Some("connection-one"));
    assert_eq!((&claimed.sessions[1].user, &claimed.sessions[1].connection), (&None, &None));
    assert_eq!(claimed.sessions[0].version.get(), 2);
    assert!(claimed.next.is_none() && claimed.stale.is_empty());

    let found = store.get(one.id()).await.unwrap().unwrap();
    assert_eq!((found.node(), found.connection(), found.status()), (Some("live"), None, Status::Suspended));
    assert_eq!((found.user(), found.version().get()), (Some("user-one"), 2));
    assert_eq!(found.expires_at_ms(), one.expires_at_ms(), "it had time enough");
    assert_eq!(context.pointer("connection-one").await, None);
    assert_eq!(context.entries(&context.node_key("live")).await, ["one", "other", "two"]);
    assert!(!context.exists(&context.node_key("dead")).await);
    let names: Vec<String> = context.leases().await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["live"], "a dead node without sessions is forgotten");
    assert!(!context.exists(&context.lease_key("dead")).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_client_comes_back_at_whatever_node_it_likes(#[values(Redis, Memory)] on: On) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    session_at(&store, "dead", "one").await;
    store.recover(claim()).await.unwrap();
    let bound = store.bind(&session_id("one"), Binding::new("new").node("third")).await.unwrap();
    assert_eq!((bound.previous_node.as_deref(), bound.version.get()), (Some("live"), 3));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_that_holds_its_lease_keeps_its_sessions_and_nothing_changes(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "dead").await;
    register(&store, "live").await;
    session_at(&store, "dead", "one").await;
    let until_ms = context.clock.now_ms() + ms(LEASE);
    assert_refused(&context, &store, claim(), Refusal::Leased { until_ms }).await;
    context.clock.advance(LEASE - Duration::from_millis(1));
    assert_refused(&context, &store, claim(), Refusal::Leased { until_ms }).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_that_is_drained_hands_its_sessions_over_and_stays_registered(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let dead = register(&store, "dead").await;
    register(&store, "live").await;
    session_at(&store, "dead", "one").await;
    let claimed = store.recover(claim().even_if_leased()).await.unwrap();
    assert_eq!(ids(&claimed.sessions), ["one"]);
    assert_eq!(store.nodes().await.unwrap().len(), 2);
    let status = store.heartbeat(&dead, Heartbeat::renew().lease(LEASE)).await.unwrap();
    assert!(matches!(status, HeartbeatReply::Held { .. }));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_that_does_not_hold_its_lease_gets_no_sessions(#[values(Redis, Memory)] on: On) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    session_at(&store, "dead", "one").await;
    assert_refused(&context, &store, Claim::new("dead", "nobody"), Refusal::Fenced).await;
    context.lapse();
    assert_refused(&context, &store, claim(), Refusal::Fenced).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_recoverer_that_lost_its_lease_takes_nothing_though_its_node_came_back(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let old = register(&store, "live").await;
    session_at(&store, "dead", "one").await;
    context.lapse();
    let new = register(&store, "live").await;
    assert_refused(&context, &store, claim().as_node(&old), Refusal::Fenced).await;
    let claimed = store.recover(claim().as_node(&new)).await.unwrap();
    assert_eq!(ids(&claimed.sessions), ["one"], "a node without any lease is dead");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_that_came_back_keeps_what_was_not_taken(#[values(Redis, Memory)] on: On) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    create_many(&store, 5, |number| NewSession::new().id(session_id(&format!("s{number}"))).node("dead"))
        .await;
    let claimed = store.recover(claim().batch(2)).await.unwrap();
    assert_eq!(ids(&claimed.sessions), ["s0", "s1"]);
    register(&store, "dead").await;
    let until_ms = context.clock.now_ms() + ms(LEASE);
    let next = claim().batch(2).after(claimed.next.unwrap());
    assert_refused(&context, &store, next, Refusal::Leased { until_ms }).await;
    assert_eq!(context.entries(&context.node_key("dead")).await, ["s2", "s3", "s4"]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn each_session_has_a_time_left_at_least_but_for_its_deadline_and_none_is_shortened(
    #[values(Redis, Memory)] on: On,
) {
    let rules = Rules::new().max_lifetime(MINUTE * 10).grace(MINUTE);
    let (context, store) = dead_and_live(on, rules).await;
    let expires = context.clock.now_ms() + ms(MINUTE * 2);
    for (name, ttl) in [("short", MINUTE * 2), ("long", MINUTE * 30)] {
        let new = NewSession::new().id(session_id(name)).user(name).node("dead").ttl(ttl);
        store.create(new).await.unwrap();
    }
    context.clock.set_ms(expires - ms(MINUTE));
    store.heartbeat(&NodeIdentity::new("to").unwrap(), Heartbeat::register()).await.unwrap();
    let claim = Claim::new("dead", "to").reconnect(MINUTE * 5);
    assert_eq!(store.recover(claim).await.unwrap().sessions.len(), 2);
    let (short, long) = (stored(&context, "short").await, stored(&context, "long").await);
    assert_eq!(short.expires_at, context.clock.now_ms() + ms(MINUTE * 5));
    assert_eq!(short.stored_until, short.expires_at + ms(MINUTE), "it is kept as long as any other");
    assert_eq!(long.expires_at, long.deadline, "its lifetime ends then");
    assert_eq!((short.status, long.status), (SUSPENDED, SUSPENDED));
    assert_eq!(context.expiry_of(&session_id("short")).await, Some(short.expires_at));
    context.assert_ttl(&context.record_key(&session_id("short")), MINUTE * 6).await;
    context.assert_ttl(&context.user_key("short"), MINUTE * 7).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_deadline_of_a_session_bounds_the_time_that_it_is_given(#[values(Redis, Memory)] on: On) {
    let (context, store) = dead_and_live(on, Rules::new().max_lifetime(MINUTE).ttl(MINUTE / 2)).await;
    let session = session_at(&store, "dead", "one").await;
    store.recover(claim().reconnect(MINUTE * 5)).await.unwrap();
    assert_eq!(stored(&context, "one").await.expires_at, session.created_at_ms() + ms(MINUTE));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_has_expired_is_left_to_the_reaper_and_then_the_node_is_forgotten(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(LEASE)).await;
    register(&store, "dead").await;
    session_at(&store, "dead", "one").await;
    context.lapse();
    register(&store, "live").await;
    let before = context.dump().await;
    let claimed = store.recover(claim()).await.unwrap();
    assert!(claimed.sessions.is_empty() && claimed.next.is_none());
    assert_eq!(context.dump().await, before);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["dead"]);
    let reaped = store.reap(10).await.unwrap().sessions;
    assert_eq!(reaped[0].node(), Some("dead"), "the reaper can tell whose it was");
    store.recover(claim()).await.unwrap();
    assert!(store.lapsed_nodes().await.unwrap().is_empty());
    context.check().await;
}

#[tokio::test]
async fn a_session_that_is_being_migrated_stays_where_it_is_and_is_reported() {
    let (context, store) = dead_and_live(Redis, Rules::new()).await;
    let frozen = session_at(&store, "dead", "frozen").await;
    session_at(&store, "dead", "one").await;
    context.freeze(frozen.id()).await;
    let before = context.stored(frozen.id()).await;
    let claimed = store.recover(claim()).await.unwrap();
    assert_eq!((ids(&claimed.sessions), claimed.frozen), (vec!["one"], vec![frozen.id().clone()]));
    assert_eq!(context.stored(frozen.id()).await, before);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["dead"], "it is found again");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn batches_come_to_an_end_whatever_stays_behind(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "dead").await;
    // Every third has expired when the lease has.
    let made = create_many(&store, 25, |number| {
        let ttl = if number % 3 == 0 { LEASE } else { MINUTE * 30 };
        NewSession::new().id(session_id(&format!("s{number:02}"))).node("dead").ttl(ttl)
    });
    let expected: Vec<SessionId> = made.await.iter().map(Session::id).cloned().collect();
    context.lapse();
    register(&store, "live").await;
    let (mut claim, mut taken, mut calls) = (claim().batch(4), Vec::new(), 0);
    loop {
        calls += 1;
        let claimed = store.recover(claim.clone()).await.unwrap();
        assert!(claimed.sessions.len() <= 4);
        taken.extend(claimed.sessions.into_iter().map(|session| session.id));
        match claimed.next {
            Some(next) => claim = claim.after(next),
            None => break,
        }
    }
    let live = |(number, id): (usize, SessionId)| (number % 3 != 0).then_some(id);
    assert_eq!(taken, expected.into_iter().enumerate().filter_map(live).collect::<Vec<_>>());
    assert_eq!(calls, 7, "six full pages, and the one that is not full");
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), 16);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_recovery_is_gone_on_with_from_its_beginning_too(#[values(Redis, Memory)] on: On) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    create_many(&store, 10, |_| NewSession::new().node("dead")).await;
    for left in [6, 2, 0] {
        store.recover(claim().batch(4)).await.unwrap();
        assert_eq!(store.count(&Selector::node("dead")).await.unwrap(), left);
    }
    assert!(store.lapsed_nodes().await.unwrap().is_empty());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_was_bound_elsewhere_deleted_or_rotated_meanwhile_is_not_taken_or_under_its_new_id(
    #[values(Redis, Memory)] on: On,
) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    for name in ["bound", "deleted", "rotated"] {
        session_at(&store, "dead", name).await;
    }
    store.bind(&session_id("bound"), Binding::new("new").node("third")).await.unwrap();
    store.delete(&session_id("deleted")).await.unwrap();
    let rotation = cloakroom::Rotation::new().new_id(session_id("under its new id"));
    store.rotate(&session_id("rotated"), rotation).await.unwrap();
    let bound = stored(&context, "bound").await;
    let claimed = store.recover(claim()).await.unwrap();
    assert_eq!(ids(&claimed.sessions), ["under its new id"]);
    assert_eq!(stored(&context, "bound").await, bound);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn of_sessions_that_are_named_those_that_are_the_nodes_are_taken_and_no_others(
    #[values(Redis, Memory)] on: On,
) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    for (node, name) in [("dead", "a"), ("dead", "b"), ("dead", "c"), ("third", "other")] {
        session_at(&store, node, name).await;
    }
    let span = Duration::from_secs(30);
    for (node, name) in [("dead", "frozen"), ("third", "frozen elsewhere")] {
        let frozen = session_at(&store, node, name).await;
        store.freeze(&frozen, Freezing::new(TaskId::random(), "elsewhere").span(span)).await.unwrap();
    }
    session_at(&store, "dead", "deleted").await;
    store.delete(&session_id("deleted")).await.unwrap();
    let names = ["c", "other", "a", "none", "deleted", "frozen", "frozen elsewhere", "a"];
    let claim = claim().batch(1).only(names.map(session_id));
    let claimed = store.recover(claim.clone()).await.unwrap();
    assert_eq!((ids(&claimed.sessions), claimed.frozen), (vec!["a", "c"], vec![session_id("frozen")]));
    assert!(claimed.next.is_none() && claimed.stale.is_empty() && claimed.corrupt.is_empty());
    assert_eq!(context.entries(&context.node_key("dead")).await, ["b", "frozen"]);
    assert_eq!(context.entries(&context.node_key("live")).await, ["a", "c"]);
    assert_eq!(stored(&context, "a").await.version, 2, "it was named twice");
    assert_eq!(stored(&context, "other").await.version, 1);
    let before = context.dump().await;
    assert!(store.recover(claim).await.unwrap().sessions.is_empty());
    assert!(store.recover(self::claim().only([])).await.unwrap().sessions.is_empty());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn entries_of_the_node_without_a_session_of_it_are_dropped() {
    let (context, store) = dead_and_live(Redis, Rules::new()).await;
    session_at(&store, "third", "other").await;
    let index = context.node_key("dead");
    for ghost in ["ghost", "other"] {
        context.command::<i64>(&["ZADD", &index, "1", ghost]).await;
    }
    context.command::<i64>(&["PEXPIRE", &index, "600000"]).await;
    let claimed = store.recover(claim()).await.unwrap();
    assert!(claimed.sessions.is_empty() && claimed.corrupt.is_empty());
    assert!(!context.exists(&index).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_recovery_that_is_repeated_under_its_operation_id_changes_nothing_more(
    #[values(Redis, Memory)] on: On,
) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    session_at(&store, "dead", "one").await;
    let claim = claim().operation_id(OperationId::random());
    assert_eq!(store.recover(claim.clone()).await.unwrap().sessions.len(), 1);
    let before = context.dump().await;
    assert!(store.recover(claim).await.unwrap().sessions.is_empty());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn bad_claims_are_refused_with_their_limits(#[values(Redis, Memory)] on: On) {
    let (context, store) = dead_and_live(on, Rules::new()).await;
    let holder = register(&store, "third").await;
    session_at(&store, "dead", "one").await;
    let before = context.dump().await;
    let long = "x".repeat(257);
    let many = (0..201).map(|number| session_id(&format!("s{number}")));
    for (claim, expected) in [
        (Claim::new("", "live"), "node id is empty"),
        (Claim::new("dead", ""), "node id is empty"),
        (Claim::new(&*long, "live"), "node id is 257 bytes, at most 256"),
        (Claim::new("dead", &*long), "node id is 257 bytes, at most 256"),
        (Claim::new("live", "live"), "node id is that of the node itself"),
        (claim().batch(0), "batch is 0, must be 1 to 200"),
        (claim().batch(201), "batch is 201, must be 1 to 200"),
        (claim().only(many), "only names 201 sessions, must be at most 200"),
        (claim().reconnect(Duration::ZERO), "reconnect is 0ns, must be 1ms to 315360000s"),
        (claim().as_node(&holder), "node id is not that of the node that makes the call"),
    ] {
        let error = store.recover(claim).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)));
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}
