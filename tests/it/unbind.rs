//! unbind: a connection that is gone, detached from the session that still has it.

use std::time::Duration;

use cloakroom::{Binding, NewSession, Refusal, Rotation, Rules, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::expect::{refusal, session_id};

const MINUTE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(60 * 60);

#[rstest]
#[tokio::test]
async fn unbind_detaches_connection_and_node_and_suspends_the_session(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    let unbound = store.unbind(&session, "connection-a").await.unwrap();
    assert!(unbound);

    let left = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(
        (left.status(), left.version().get(), left.connection(), left.node()),
        (Status::Suspended, 2, None, None)
    );
    assert_eq!(left.user(), Some("user-a"));
    assert_eq!(left.attributes(), session.attributes());
    assert_eq!(left.expires_at_ms(), session.expires_at_ms());
    assert!(!context.exists(&context.connection_key("connection-a")).await);
    assert!(!context.exists(&context.node_key("node-a")).await);
    assert_eq!(context.members(&context.user_key("user-a")).await.len(), 1);
    context.assert_ttl(&context.record_key(session.id()), TTL + GRACE - MINUTE).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn unbind_with_a_bare_id_and_with_a_stale_copy_finds_the_node(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let stale = context.session(&store, "a").await;
    let binding = Binding::new("connection-a").node("gateway");
    store.bind(&stale, binding).await.unwrap();
    assert!(store.unbind(&stale, "connection-a").await.unwrap());
    assert!(!context.exists(&context.node_key("gateway")).await);
    context.check().await;

    let binding = Binding::new("connection-a").node("gateway");
    store.bind(&stale, binding).await.unwrap();
    assert!(store.unbind(stale.id(), "connection-a").await.unwrap());
    assert!(!context.exists(&context.node_key("gateway")).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_late_disconnect_of_an_old_connection_does_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let binding = Binding::new("connection-b").node("node-b");
    store.bind(&session, binding).await.unwrap();
    let before = context.dump().await;
    // The copy in hand still has the old connection.
    let unbound = store.unbind(&session, "connection-a").await.unwrap();
    assert!(!unbound);
    assert_eq!(context.dump().await, before);
    let found = store.session_by_connection("connection-b").await.unwrap();
    assert_eq!(found.unwrap().status(), Status::Active);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_second_unbind_does_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    store.unbind(&session, "connection-a").await.unwrap();
    let before = context.dump().await;
    assert!(!store.unbind(&session, "connection-a").await.unwrap());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn a_pointer_that_is_another_sessions_stays() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let key = context.connection_key("connection-a");
    let _: () = context.command(&["SET", &key, "somebody", "PX", "600000"]).await;
    assert!(store.unbind(&session, "connection-a").await.unwrap());
    assert_eq!(context.pointer("connection-a").await.as_deref(), Some("somebody"));
    assert_eq!(context.stored(session.id()).await.unwrap().connection, "");
}

#[rstest]
#[tokio::test]
async fn a_connection_without_a_node_is_detached_too(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let new = NewSession::new().connection("socket");
    let session = store.create(new).await.unwrap().session;
    assert!(store.unbind(&session, "socket").await.unwrap());
    assert_eq!(context.keys().await, [context.key("expiry"), context.record_key(session.id())]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn unbind_of_a_session_that_is_not_live_is_missing_and_changes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let expired = context.session(&store, "expired").await;
    context.clock.advance(TTL);
    let deleted = context.session(&store, "deleted").await;
    store.delete(&deleted).await.unwrap();
    let before = context.dump().await;
    for (id, connection) in [
        (expired.id(), "connection-expired"),
        (deleted.id(), "connection-deleted"),
        (&session_id("never"), "never"),
    ] {
        assert!(!store.unbind(id, connection).await.unwrap());
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn unbind_of_a_frozen_session_is_refused_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.freeze(session.id()).await;
    let before = context.dump().await;
    assert_eq!(refusal(store.unbind(&session, "connection-a").await), Refusal::Frozen);
    assert!(!store.unbind(&session, "another").await.unwrap());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn unbind_follows_a_rotated_id_once(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    assert!(store.unbind(&session, "connection-a").await.unwrap());
    assert_eq!(context.stored(rotated.id()).await.unwrap().status, 2);
    store.rotate(&rotated, Rotation::new()).await.unwrap();
    assert!(!store.unbind(session.id(), "connection-a").await.unwrap());
    context.check().await;
}
