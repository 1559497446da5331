//! update: a whole session saved against the version that it was read at.

use std::time::Duration;

use cloakroom::{NewSession, Refusal, Rotation, Rules, Session, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::context::{On, Store};
use crate::support::expect::{ms, refusal};
use crate::support::record::LIVE;

const MINUTE: Duration = Duration::from_secs(60);
/// The defaults of the rules.
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(60 * 60);

#[rstest]
#[tokio::test]
async fn update_saves_all_that_changed_under_the_next_version(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let expires_at = session.expires_at_ms();
    context.clock.advance(MINUTE);
    session.set("color", "blue").unwrap();
    session.set("cart", &[1, 2]).unwrap();
    session.extensions_mut().set("layer", &true).unwrap();
    session.suspend();
    store.update(&mut session).await.unwrap();

    assert_eq!(session.version().get(), 2);
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!((stored.kind, stored.status, stored.version), (LIVE, 2, 2));
    // Saving is a use of the session, which lives longer when less than half of its ttl is left.
    assert_eq!((stored.expires_at, stored.last_active), (expires_at, context.clock.now_ms()));
    context.assert_ttl(&context.record_key(session.id()), TTL + GRACE - MINUTE).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_removes_attributes_that_the_copy_no_longer_has(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    assert!(session.remove("color"));
    store.update(&mut session).await.unwrap();
    assert!(store.get(session.id()).await.unwrap().unwrap().attributes().is_empty());
    assert!(context.stored(session.id()).await.unwrap().body.is_empty());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_copy_in_hand_can_be_saved_again_and_again(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    for round in 2..5_u64 {
        session.set("round", &round).unwrap();
        session.set_user(format!("user-{round}"));
        store.update(&mut session).await.unwrap();
        assert_eq!(session.version().get(), round);
    }
    assert_eq!(store.get(session.id()).await.unwrap(), Some(session));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_at_an_old_version_conflicts_with_the_current_one_and_writes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut first = context.session(&store, "a").await;
    let mut second = first.clone();
    for _ in 0..2 {
        first.set("color", "blue").unwrap();
        store.update(&mut first).await.unwrap();
    }
    second.set("color", "red").unwrap();
    second.set_user("user-b");
    second.set_connection("connection-b");
    second.set_node("node-b");
    let (before, copy) = (context.dump().await, second.clone());
    let Refusal::Conflict { current } = refusal(store.update(&mut second).await) else {
        panic!("no conflict");
    };
    assert_eq!(current, first.version());
    assert_eq!(current.get(), 3);
    assert_eq!(context.dump().await, before);
    assert_eq!(second, copy, "a refused update leaves the copy as it was");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_of_a_deleted_session_is_missing_and_leaves_no_index_entry(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    store.delete(session.id()).await.unwrap();
    assert_missing(&context, &store, &mut session).await;
}

#[rstest]
#[tokio::test]
async fn update_of_an_expired_session_is_missing_and_changes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    context.clock.advance(TTL);
    assert_missing(&context, &store, &mut session).await;
}

async fn assert_missing(context: &Context, store: &Store, session: &mut Session) {
    session.set_user("user-b");
    session.set_connection("connection-b");
    session.set_node("node-b");
    session.set_ttl(MINUTE);
    let before = context.dump().await;
    assert_eq!(refusal(store.update(session).await), Refusal::Missing);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_moves_user_connection_and_node_with_their_entries_and_ttls(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    session.set_user("user-b");
    session.set_connection("connection-b");
    session.set_node("node-b");
    store.update(&mut session).await.unwrap();

    for key in
        [context.user_key("user-a"), context.connection_key("connection-a"), context.node_key("node-a")]
    {
        assert!(!context.exists(&key).await, "{key}");
    }
    let left = TTL + GRACE - MINUTE;
    for key in [context.user_key("user-b"), context.node_key("node-b")] {
        let members = context.members(&key).await;
        assert_eq!(members.len(), 1);
        assert_eq!(members[session.id().as_str()], session.created_at_ms());
        context.assert_ttl(&key, left + GRACE).await;
    }
    assert_eq!(context.pointer("connection-b").await.as_deref(), Some(session.id().as_str()));
    context.assert_ttl(&context.connection_key("connection-b"), left).await;
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!([stored.user, stored.connection, stored.node], ["user-b", "connection-b", "node-b"]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_to_no_user_connection_and_node_takes_the_entries_out(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    session.set_user("");
    session.set_connection("");
    session.set_node("");
    store.update(&mut session).await.unwrap();
    assert_eq!(context.keys().await, [context.key("expiry"), context.record_key(session.id())]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_of_one_session_leaves_those_beside_it_in_the_indexes(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let beside = |connection: &str| NewSession::new().user("ann").node("gateway").connection(connection);
    let stays = store.create(beside("one")).await.unwrap().session;
    let mut goes = store.create(beside("two")).await.unwrap().session;
    goes.set_user("bob");
    goes.set_node("elsewhere");
    store.update(&mut goes).await.unwrap();
    for key in [context.user_key("ann"), context.node_key("gateway")] {
        let members: Vec<_> = context.members(&key).await.into_keys().collect();
        assert_eq!(members, [stays.id().as_str()]);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_to_the_connection_of_another_session_is_taken_and_changes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    context.session(&store, "b").await;
    session.set_connection("connection-b");
    session.set_user("user-c");
    session.set_ttl(MINUTE);
    let before = context.dump().await;
    assert_eq!(refusal(store.update(&mut session).await), Refusal::Taken);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn update_takes_a_connection_whose_pointer_is_stale() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let other = context.session(&store, "b").await;
    // A session that is nowhere, and one that is elsewhere.
    for (connection, pointer) in [("left-1", "nobody"), ("left-2", other.id().as_str())] {
        let key = context.connection_key(connection);
        let _: () = context.command(&["SET", &key, pointer, "PX", "600000"]).await;
        session.set_connection(connection);
        store.update(&mut session).await.unwrap();
        assert_eq!(context.pointer(connection).await.as_deref(), Some(session.id().as_str()));
        let found = store.session_by_connection(connection).await.unwrap().unwrap();
        assert_eq!(found, session);
    }
    assert_eq!(context.pointer("connection-b").await.as_deref(), Some(other.id().as_str()));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_takes_a_connection_from_an_expired_session_which_is_reaped(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let holder = NewSession::new().user("user-b").connection("connection-b").ttl(MINUTE);
    let holder = store.create(holder).await.unwrap().session;
    context.clock.advance(MINUTE);
    session.set_connection("connection-b");
    store.update(&mut session).await.unwrap();
    assert!(!context.exists(&context.record_key(holder.id())).await);
    assert!(!context.exists(&context.user_key("user-b")).await);
    assert_eq!(context.expiry_of(holder.id()).await, None);
    assert_eq!(context.pointer("connection-b").await.as_deref(), Some(session.id().as_str()));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_longer_ttl_starts_now_and_expiry_and_ttls_follow(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    let longer = TTL * 20;
    session.set_ttl(longer);
    store.update(&mut session).await.unwrap();
    assert_times(&context, &session, longer).await;
    for key in [context.user_key("user-a"), context.node_key("node-a")] {
        context.assert_ttl(&key, longer + GRACE + GRACE).await;
    }
    let key = context.connection_key("connection-a");
    context.assert_ttl(&key, longer + GRACE + GRACE).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_shorter_ttl_starts_now_and_expiry_and_ttls_follow(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(TTL * 20)).await;
    let mut session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    session.set_ttl(MINUTE);
    store.update(&mut session).await.unwrap();
    assert_times(&context, &session, MINUTE).await;
    context.check().await;
    context.clock.advance(MINUTE);
    assert_eq!(store.get(session.id()).await.unwrap(), None);
    assert_eq!(store.expired(None, 0, 10).await.unwrap().len(), 1);
}

/// A session whose ttl was changed now.
async fn assert_times(context: &Context, session: &Session, ttl: Duration) {
    let now = context.clock.now_ms();
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!((stored.ttl, stored.last_active, stored.expires_at), (ms(ttl), now, now + ms(ttl)));
    assert_eq!(stored.stored_until, now + ms(ttl + GRACE));
    assert_eq!(context.expiry_of(session.id()).await, Some(now + ms(ttl)));
    assert_eq!((session.last_active_ms(), session.expires_at_ms()), (now, now + ms(ttl)));
    context.assert_ttl(&context.record_key(session.id()), ttl + GRACE).await;
}

#[rstest]
#[tokio::test]
async fn a_longer_ttl_is_clamped_to_the_lifetime(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(TTL * 2)).await;
    let mut session = context.session(&store, "a").await;
    let deadline = session.deadline_ms().unwrap();
    session.set_ttl(TTL * 10);
    store.update(&mut session).await.unwrap();
    assert_eq!(session.expires_at_ms(), deadline);
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!((stored.expires_at, stored.deadline), (deadline, deadline));
    context.check().await;
}

#[tokio::test]
async fn update_of_a_frozen_session_is_refused_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let mut before_it_froze = context.session(&store, "a").await;
    context.freeze(before_it_froze.id()).await;
    let mut frozen = store.get(before_it_froze.id()).await.unwrap().unwrap();
    assert_eq!(frozen.status(), Status::Migrating);
    let before = context.dump().await;
    for session in [&mut before_it_froze, &mut frozen] {
        session.set("color", "blue").unwrap();
        assert_eq!(refusal(store.update(session).await), Refusal::Frozen);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_of_a_rotated_session_conflicts_for_it_changed(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    session.set("color", "blue").unwrap();
    let before = context.dump().await;
    let conflict = Refusal::Conflict { current: rotated.version() };
    assert_eq!(refusal(store.update(&mut session).await), conflict);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn update_with_more_than_a_session_may_hold_is_too_large_and_writes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().session_bytes(100)).await;
    let mut session = store.create(NewSession::new()).await.unwrap().session;
    // Five bytes of header, one of key, two of quotes.
    session.set("a", &"x".repeat(92)).unwrap();
    store.update(&mut session).await.unwrap();
    session.set("a", &"x".repeat(93)).unwrap();
    let before = context.dump().await;
    assert_eq!(refusal(store.update(&mut session).await), Refusal::TooLarge { bytes: 101, entries: 1 });
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn of_many_updates_from_the_same_version_one_wins(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let tries = (0..20).map(|number| {
        let (store, mut copy) = (store.clone(), session.clone());
        async move {
            copy.set("winner", &number).unwrap();
            copy.set_user(format!("user-{number}"));
            store.update(&mut copy).await.map(|()| number)
        }
    });
    let results = futures::future::join_all(tries).await;
    let winners: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.is_conflict()));
    let saved = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(saved.get::<i32>("winner").unwrap(), Some(*winners[0]));
    assert_eq!(saved.version().get(), 2);
    context.check().await;
}
