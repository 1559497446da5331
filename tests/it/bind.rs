//! bind: gives a live session a connection, and the node that holds it.

use std::time::Duration;

use cloakroom::{Binding, NewSession, Refusal, Rotation, Rules, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::expect::refusal;

const MINUTE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(60 * 60);

#[rstest]
#[tokio::test]
async fn bind_attaches_connection_and_node_and_makes_the_session_active(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(NewSession::new().suspended()).await.unwrap().session;
    context.clock.advance(MINUTE);
    let binding = Binding::new("socket").node("gateway");
    let bound = store.bind(&session, binding).await.unwrap();
    assert!(bound.changed);
    assert_eq!((&bound.id, bound.version.get()), (session.id(), 2));
    assert_eq!((bound.previous_connection, bound.previous_node, bound.taken_from), (None, None, None));

    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!((stored.connection.as_str(), stored.node.as_str(), stored.status), ("socket", "gateway", 1));
    assert_eq!(stored.expires_at, session.expires_at_ms(), "a bind is no refresh");
    assert_eq!(context.pointer("socket").await.as_deref(), Some(session.id().as_str()));
    let left = TTL + GRACE - MINUTE;
    context.assert_ttl(&context.connection_key("socket"), left).await;
    context.assert_ttl(&context.node_key("gateway"), left + GRACE).await;
    context.assert_ttl(&context.record_key(session.id()), left).await;
    let found = store.session_by_connection("socket").await.unwrap().unwrap();
    assert_eq!((found.id(), found.status()), (session.id(), Status::Active));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn bind_returns_the_previous_connection_and_node_and_takes_their_entries_out(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let bound = store.bind(&session, Binding::new("socket").node("gateway")).await.unwrap();
    assert_eq!(bound.previous_connection.as_deref(), Some("connection-a"));
    assert_eq!(bound.previous_node.as_deref(), Some("node-a"));
    assert_eq!(context.pointer("connection-a").await, None);
    assert!(!context.exists(&context.node_key("node-a")).await);
    assert_eq!(store.session_by_connection("connection-a").await.unwrap(), None);

    // With the bare id, and without a node.
    let bound = store.bind(session.id(), Binding::new("other")).await.unwrap();
    assert_eq!(bound.previous_connection.as_deref(), Some("socket"));
    assert_eq!(bound.previous_node.as_deref(), Some("gateway"));
    assert!(!context.exists(&context.node_key("gateway")).await);
    assert_eq!(context.stored(session.id()).await.unwrap().node, "");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_connection_may_move_to_another_node(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let bound = store.bind(&session, Binding::new("connection-a").node("gateway")).await.unwrap();
    assert!(bound.changed);
    assert_eq!(bound.previous_node.as_deref(), Some("node-a"));
    assert!(!context.exists(&context.node_key("node-a")).await);
    assert_eq!(context.members(&context.node_key("gateway")).await.len(), 1);
    assert_eq!(context.pointer("connection-a").await.as_deref(), Some(session.id().as_str()));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_bind_again_writes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    for _ in 0..2 {
        let binding = Binding::new("connection-a").node("node-a").take_over();
        let bound = store.bind(session.id(), binding).await.unwrap();
        assert!(!bound.changed);
        assert_eq!((bound.version.get(), bound.previous_connection.as_deref()), (1, Some("connection-a")));
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn the_same_bind_makes_a_suspended_session_active_and_heals_a_lost_pointer() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    session.suspend();
    store.update(&mut session).await.unwrap();
    let binding = Binding::new("connection-a").node("node-a");
    assert!(store.bind(&session, binding.clone()).await.unwrap().changed);
    assert_eq!(context.stored(session.id()).await.unwrap().status, 1);

    let key = context.connection_key("connection-a");
    let _: i64 = context.command(&["DEL", &key]).await;
    let bound = store.bind(&session, binding).await.unwrap();
    assert!(bound.changed);
    assert_eq!(bound.version.get(), 4);
    assert_eq!(context.pointer("connection-a").await.as_deref(), Some(session.id().as_str()));
    context.assert_ttl(&key, TTL + GRACE).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_connection_of_another_live_session_is_taken_and_nothing_changes(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.session(&store, "b").await;
    let before = context.dump().await;
    let binding = Binding::new("connection-b").node("gateway");
    assert_eq!(refusal(store.bind(&session, binding).await), Refusal::Taken);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_connection_is_taken_over_with_both_sides_right(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let winner = context.session(&store, "a").await;
    let loser = context.session(&store, "b").await;
    let binding = Binding::new("connection-b").node("gateway").take_over();
    let bound = store.bind(&winner, binding).await.unwrap();
    assert_eq!(bound.taken_from.as_ref(), Some(loser.id()));
    assert_eq!(bound.previous_connection.as_deref(), Some("connection-a"));

    let lost = store.get(loser.id()).await.unwrap().unwrap();
    assert_eq!(
        (lost.status(), lost.version().get(), lost.connection(), lost.node()),
        (Status::Suspended, 2, None, None)
    );
    assert_eq!(lost.expires_at_ms(), loser.expires_at_ms());
    assert_eq!(lost.attributes(), loser.attributes());
    assert!(!context.exists(&context.node_key("node-b")).await);
    assert_eq!(context.pointer("connection-b").await.as_deref(), Some(winner.id().as_str()));
    let won = store.session_by_connection("connection-b").await.unwrap().unwrap();
    assert_eq!((won.id(), won.status(), won.node()), (winner.id(), Status::Active, Some("gateway")));
    context.assert_ttl(&context.record_key(loser.id()), TTL + GRACE).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_take_over_on_the_same_node_leaves_the_winner_there(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let winner = context.session(&store, "a").await;
    let loser = context.session(&store, "b").await;
    let binding = Binding::new("connection-b").node("node-b").take_over();
    store.bind(winner.id(), binding).await.unwrap();
    let members: Vec<_> = context.members(&context.node_key("node-b")).await.into_keys().collect();
    assert_eq!(members, [winner.id().as_str()]);
    assert_eq!(context.stored(loser.id()).await.unwrap().status, 2);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_late_disconnect_of_the_loser_does_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let winner = context.session(&store, "a").await;
    let loser = context.session(&store, "b").await;
    store.bind(&winner, Binding::new("connection-b").take_over()).await.unwrap();
    let before = context.dump().await;
    let unbound = store.unbind(&loser, "connection-b").await.unwrap();
    assert!(!unbound);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn a_stale_pointer_is_in_nobodys_way() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let other = context.session(&store, "b").await;
    let deleted = context.session(&store, "deleted").await;
    store.delete(&deleted).await.unwrap();
    for (connection, pointer) in
        [("left-1", "nobody"), ("left-2", other.id().as_str()), ("left-3", deleted.id().as_str())]
    {
        let key = context.connection_key(connection);
        let _: () = context.command(&["SET", &key, pointer, "PX", "600000"]).await;
        let bound = store.bind(&session, Binding::new(connection)).await.unwrap();
        assert_eq!(bound.taken_from, None);
        assert_eq!(context.pointer(connection).await.as_deref(), Some(session.id().as_str()));
    }
    assert_eq!(store.get(other.id()).await.unwrap(), Some(other));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_expired_holder_is_reaped_and_the_connection_free(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let holder = NewSession::new().user("user-b").connection("socket").node("node-b").ttl(MINUTE);
    let holder = store.create(holder).await.unwrap().session;
    context.clock.advance(MINUTE);
    let bound = store.bind(&session, Binding::new("socket")).await.unwrap();
    assert_eq!(bound.taken_from, None);
    for key in [context.record_key(holder.id()), context.user_key("user-b"), context.node_key("node-b")] {
        assert!(!context.exists(&key).await, "{key}");
    }
    context.check().await;
}

#[tokio::test]
async fn a_frozen_session_neither_takes_nor_loses_a_connection() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let frozen = context.session(&store, "a").await;
    let other = context.session(&store, "b").await;
    context.freeze(frozen.id()).await;
    let before = context.dump().await;
    let take = |connection: &str| Binding::new(connection).take_over();
    assert_eq!(refusal(store.bind(&frozen, take("socket")).await), Refusal::Frozen);
    assert_eq!(refusal(store.bind(&other, take("connection-a")).await), Refusal::Frozen);
    assert_eq!(refusal(store.bind(&other, Binding::new("connection-a")).await), Refusal::Taken);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn bind_to_a_session_that_is_not_live_is_missing_and_changes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let not_live = context.not_live(&store, TTL).await;
    let before = context.dump().await;
    for id in &not_live {
        let binding = Binding::new("socket").node("gateway").take_over();
        assert_eq!(refusal(store.bind(id, binding).await), Refusal::Missing);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn bind_follows_a_rotated_id(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let bound = store.bind(&session, Binding::new("socket")).await.unwrap();
    assert_eq!(&bound.id, rotated.id());
    assert_eq!(context.pointer("socket").await.as_deref(), Some(rotated.id().as_str()));
    store.rotate(&rotated, Rotation::new()).await.unwrap();
    let twice = refusal(store.bind(session.id(), Binding::new("other")).await);
    assert_eq!(twice, Refusal::Missing);
    context.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_sessions_that_take_one_connection_over_one_has_it_at_the_end() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let mut tasks = Vec::new();
    // Each that comes between costs a call two rounds, of the twelve that it has.
    for number in 0..5 {
        let session = context.session(&store, &format!("{number}")).await;
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let binding = Binding::new("socket").node(format!("gateway-{}", number % 2)).take_over();
            store.bind(&session, binding).await.unwrap().taken_from
        }));
    }
    let taken_from = futures::future::try_join_all(tasks).await.unwrap();
    assert_eq!(taken_from.iter().flatten().count(), 4);
    let mut held = 0;
    for gateway in ["gateway-0", "gateway-1"] {
        held += context.members(&context.node_key(gateway)).await.len();
    }
    assert_eq!(held, 1);
    assert!(store.session_by_connection("socket").await.unwrap().is_some());
    context.check().await;
}
