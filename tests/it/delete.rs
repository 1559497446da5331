//! delete: a session gone with every entry, and its id closed for a while.

use std::time::Duration;

use cloakroom::{
    Binding, Error, NewSession, Obstacle, OperationId, Refusal, Rotation, Rules, Selector, Status,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::expect::{refusal, session_id as id};
use crate::support::record::DELETED;

const MINUTE: Duration = Duration::from_secs(60);

fn new(name: &str) -> NewSession {
    NewSession::new().id(id(name)).user("ann").connection(format!("socket-{name}")).node("gateway")
}

#[rstest]
#[tokio::test]
async fn delete_removes_every_entry_and_leaves_a_tombstone(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().tombstone(5 * MINUTE)).await;
    for name in ["s", "other"] {
        store.create(new(name).set("n", &1).unwrap()).await.unwrap();
    }
    let live = context.stored(&id("s")).await.unwrap();
    let removed = store.delete(&id("s")).await.unwrap().unwrap();
    assert_eq!((removed.id, removed.user.as_deref()), (id("s"), Some("ann")));
    assert_eq!((removed.connection.as_deref(), removed.node.as_deref()), (Some("socket-s"), Some("gateway")));

    let tombstone = context.stored(&id("s")).await.unwrap();
    assert_eq!((tombstone.kind, tombstone.version, live.version), (DELETED, 2, 1));
    assert_eq!(
        (tombstone.user, tombstone.connection, tombstone.node, tombstone.body),
        (String::new(), String::new(), String::new(), Vec::new())
    );
    context.assert_ttl(&context.record_key(&id("s")), 5 * MINUTE).await;
    for index in [context.user_key("ann"), context.node_key("gateway"), context.key("expiry")] {
        assert_eq!(context.entries(&index).await, ["other"]);
    }
    assert_eq!(context.pointer("socket-s").await, None);
    assert_eq!(context.pointer("socket-other").await.as_deref(), Some("other"));
    assert_eq!(store.get(&id("s")).await.unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_last_session_takes_its_indexes_with_it(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(new("s")).await.unwrap().session;
    store.delete(&session).await.unwrap();
    assert_eq!(context.keys_but_expiry().await, [context.record_key(&id("s"))]);
    assert!(context.entries(&context.key("expiry")).await.is_empty());
    context.check().await;
}

#[tokio::test]
async fn a_second_delete_and_one_of_an_unknown_id_are_missing_and_change_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(new("s")).await.unwrap().session;
    store.delete(&session).await.unwrap();
    let before = context.dump().await;
    assert!(store.delete(&session).await.unwrap().is_none());
    assert!(store.delete(&id("s")).await.unwrap().is_none());
    assert!(store.delete(&id("unknown")).await.unwrap().is_none());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_expired_session_is_missing_and_left_to_the_reaper_untouched(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    let session = store.create(new("s")).await.unwrap().session;
    context.clock.advance(MINUTE);
    let before = context.dump().await;
    assert!(store.delete(&session).await.unwrap().is_none());
    assert!(store.delete(&id("s")).await.unwrap().is_none());
    assert_eq!(context.dump().await, before);
    assert_eq!(store.reap(10).await.unwrap().sessions, [session]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn delete_with_a_stale_copy_in_hand_removes_what_the_session_has_now(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let stale = store.create(new("s")).await.unwrap().session;
    let binding = Binding::new("socket-new").node("gateway-new");
    store.bind(&id("s"), binding).await.unwrap();
    let mut fresh = store.get(&id("s")).await.unwrap().unwrap();
    fresh.set_user("bob");
    store.update(&mut fresh).await.unwrap();

    assert!(store.delete(&stale).await.unwrap().is_some());
    assert_eq!(context.keys_but_expiry().await, [context.record_key(&id("s"))]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn delete_follows_an_id_that_was_rotated_away_with_the_session_in_hand_and_without(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for in_hand in [true, false] {
        let old = format!("old-{in_hand}");
        let session = store.create(new(&old)).await.unwrap().session;
        let to = id(&format!("new-{in_hand}"));
        // With a login, the session is in another user's index than the copy in hand says.
        let login = Rotation::new().new_id(to.clone()).user("bob");
        store.rotate(&session, login).await.unwrap();
        let deleted = if in_hand { store.delete(&session).await } else { store.delete(&id(&old)).await };
        let removed = deleted.unwrap().unwrap();
        assert_eq!((&removed.id, removed.user.as_deref()), (&to, Some("bob")));
        assert_eq!(removed.connection, Some(format!("socket-{old}")));
        assert_eq!(context.stored(&to).await.unwrap().kind, DELETED);
        // Reads do not follow a login, a delete does.
        assert_eq!(context.stored(&id(&old)).await.unwrap().kind, DELETED);
        assert_eq!(refusal(store.get(&id(&old)).await), Refusal::Rotated { to: None });
        assert!(!context.exists(&context.user_key("bob")).await);
        assert_eq!(context.pointer(&format!("socket-{old}")).await, None);
        assert_eq!(refusal(store.create(NewSession::new().id(to)).await), Refusal::Gone);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn delete_follows_the_id_from_before_a_login_until_exactly_the_end_of_the_grace(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().rotation_grace(MINUTE)).await;
    for (left, deleted) in [(Duration::ZERO, false), (Duration::from_millis(1), true)] {
        let anonymous = store.create(NewSession::new()).await.unwrap().session;
        store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap();
        context.clock.advance(MINUTE - left);
        assert_eq!(store.delete(anonymous.id()).await.unwrap().is_some(), deleted);
        assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_repeated_delete_is_recognized_until_exactly_the_end_of_the_tombstone(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().tombstone(MINUTE)).await;
    store.create(new("s")).await.unwrap();
    let same = store.with_operation_id(OperationId::random());
    assert!(same.delete(&id("s")).await.unwrap().is_some());
    context.clock.advance(MINUTE - Duration::from_millis(1));
    assert!(same.delete(&id("s")).await.unwrap().is_some());
    context.clock.advance(Duration::from_millis(1));
    assert!(same.delete(&id("s")).await.unwrap().is_none());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_id_that_was_rotated_away_twice_is_missing_and_the_session_lives_on(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("first")).await.unwrap();
    for (from, to) in [("first", "second"), ("second", "third")] {
        store.rotate(&id(from), Rotation::new().new_id(id(to))).await.unwrap();
    }
    let before = context.dump().await;
    assert!(store.delete(&id("first")).await.unwrap().is_none());
    assert_eq!(context.dump().await, before);
    assert!(store.delete(&id("second")).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn delete_leaves_a_pointer_alone_that_leads_to_another_session() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("s")).await.unwrap();
    let pointer = context.connection_key("socket-s");
    let _: () = context.command(&["SET", &pointer, "another", "KEEPTTL"]).await;
    assert!(store.delete(&id("s")).await.unwrap().is_some());
    assert_eq!(context.pointer("socket-s").await.as_deref(), Some("another"));
}

#[tokio::test]
async fn delete_of_a_session_that_lost_its_entries_still_removes_it() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(new("s")).await.unwrap().session;
    for key in [
        context.user_key("ann"),
        context.node_key("gateway"),
        context.key("expiry"),
        context.connection_key("socket-s"),
    ] {
        let _: i64 = context.command(&["DEL", &key]).await;
    }
    assert!(store.delete(&session).await.unwrap().is_some());
    assert_eq!(context.keys().await, [context.record_key(&id("s"))]);
    context.check().await;
}

#[tokio::test]
async fn a_frozen_session_can_be_deleted() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("s")).await.unwrap();
    context.freeze(&id("s")).await;
    let frozen = store.get(&id("s")).await.unwrap().unwrap();
    assert_eq!(frozen.status(), Status::Migrating);
    assert!(store.delete(&frozen).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn a_foreign_type_at_any_key_is_corrupt_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(new("s")).await.unwrap().session;
    for (key, what) in [
        (context.record_key(&id("s")), "record"),
        (context.user_key("ann"), "user"),
        (context.node_key("gateway"), "node"),
        (context.connection_key("socket-s"), "connection"),
        (context.key("expiry"), "expiry"),
    ] {
        assert_eq!(context.foreign_at(&key, store.delete(&session)).await, what);
        assert_eq!(context.foreign_at(&key, store.delete(&id("s"))).await, what);
        context.check().await;
    }
    assert!(store.delete(&session).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn delete_works_when_memory_is_full_and_create_is_not_executed() {
    let context = Context::own(&["--maxmemory", "24mb", "--maxmemory-policy", "noeviction"]).await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    for name in ["a", "b", "c", "d"] {
        store.create(new(name)).await.unwrap();
    }
    fill(&context).await;

    let before = context.dump().await;
    let connected = new("fresh");
    let anonymous = NewSession::new().id(id("fresh"));
    for fresh in [connected, anonymous] {
        let error = store.create(fresh).await.unwrap_err();
        let obstacle = Obstacle::OutOfMemory;
        assert!(matches!(error, Error::NotExecuted { reason, .. } if reason == obstacle), "{error:?}");
    }
    assert_eq!(context.dump().await, before);

    assert!(store.delete(&id("a")).await.unwrap().is_some());
    assert_eq!(context.stored(&id("a")).await.unwrap().kind, DELETED);
    let kept = id("c");
    let removed = store.delete_user("ann", Some(&kept)).await.unwrap().removed;
    assert_eq!(removed.len(), 2);
    context.clock.advance(MINUTE);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 0);
    context.check().await;
}

/// Fills the server until it refuses to write, and keeps it full whatever is deleted then.
async fn fill(context: &Context) {
    let junk = "x".repeat(64 * 1024);
    let mut number = 0;
    while context.try_command::<()>(&["SET", &format!("junk:{number}"), &junk]).await.is_ok() {
        number += 1;
        assert!(number < 10_000, "the server never fills up");
    }
    // Buffers come and go, and a little free memory would let a small command pass.
    let _: () = context.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
}
