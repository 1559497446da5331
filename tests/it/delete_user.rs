//! delete_user: all of a user's sessions, or all but one.

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::{Error, Invalid, NewSession, Removed, Rules, Selector, SessionId};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::expect::session_id as id;
use crate::support::record::{DELETED, LIVE};
use crate::support::sessions::{create_many, ids};

const MINUTE: Duration = Duration::from_secs(60);

fn of(user: &str, name: &str) -> NewSession {
    let new = NewSession::new().id(id(name)).user(user);
    new.connection(format!("socket-{name}")).node("gateway")
}

fn removed_ids(removed: &[Removed]) -> Vec<SessionId> {
    removed.iter().map(|removed| removed.id.clone()).collect()
}

#[rstest]
#[tokio::test]
async fn all_sessions_of_a_user_go_with_their_entries_and_their_connections_are_returned(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for name in ["c", "a", "b"] {
        store.create(of("ann", name)).await.unwrap();
        context.clock.advance(MINUTE);
    }
    store.create(NewSession::new().id(id("plain")).user("ann")).await.unwrap();
    store.create(of("bob", "other")).await.unwrap();
    let done = store.delete_user("ann", None).await.unwrap();

    assert_eq!(removed_ids(&done.removed), ["c", "a", "b", "plain"].map(id));
    assert!(done.corrupt.is_empty());
    let parts = |removed: &Removed| (removed.connection.clone(), removed.node.clone());
    assert_eq!(parts(&done.removed[0]), (Some("socket-c".into()), Some("gateway".into())));
    assert_eq!(parts(&done.removed[3]), (None, None));
    assert!(!context.exists(&context.user_key("ann")).await);
    for index in [context.node_key("gateway"), context.key("expiry"), context.user_key("bob")] {
        assert_eq!(context.entries(&index).await, ["other"]);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(context.pointer(&format!("socket-{name}")).await, None);
        let tombstone = context.stored(&id(name)).await.unwrap();
        assert_eq!((tombstone.kind, tombstone.version), (DELETED, 2));
        let key = context.record_key(&id(name));
        context.assert_ttl(&key, Duration::from_secs(30)).await;
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn all_but_one_go(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for name in ["a", "b", "c"] {
        store.create(of("ann", name)).await.unwrap();
    }
    let kept = store.get(&id("b")).await.unwrap();
    let done = store.delete_user("ann", Some(&id("b"))).await.unwrap();
    assert_eq!(removed_ids(&done.removed), ["a", "c"].map(id));
    assert_eq!(store.get(&id("b")).await.unwrap(), kept);
    assert_eq!(context.entries(&context.user_key("ann")).await, ["b"]);
    context.check().await;

    // The one left is kept again; one that is not the user's keeps nothing.
    let before = context.dump().await;
    let done = store.delete_user("ann", Some(&id("b"))).await.unwrap();
    assert!(done.removed.is_empty());
    assert_eq!(context.dump().await, before);
    let done = store.delete_user("ann", Some(&id("stranger"))).await.unwrap();
    assert_eq!(removed_ids(&done.removed), [id("b")]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn more_sessions_than_a_batch_all_go_wherever_the_kept_one_stands(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for kept in [None, Some(0), Some(200), Some(449)] {
        let user = format!("ann-{kept:?}");
        let made = create_many(&store, 450, |number| {
            let name = id(&format!("{user}-{number:03}"));
            NewSession::new().id(name).user(&user).connection(format!("{user}-{number}"))
        })
        .await;
        let kept = kept.map(|number: usize| made[number].id().clone());
        let done = store.delete_user(&user, kept.as_ref()).await.unwrap();
        let mut expected = ids(&made);
        expected.retain(|id| Some(id) != kept.as_ref());
        assert_eq!(removed_ids(&done.removed), expected);
        let left = store.count(&Selector::user(&user)).await.unwrap();
        assert_eq!(left, u64::from(kept.is_some()));
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn exactly_one_and_two_batches_go_and_one_more_or_less(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for count in [1, 199, 200, 201, 202, 203, 400, 401] {
        create_many(&store, count, |_| NewSession::new().user("ann")).await;
        let done = store.delete_user("ann", None).await.unwrap();
        assert_eq!(done.removed.len(), count);
        assert!(!context.exists(&context.user_key("ann")).await);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn expired_sessions_go_too_and_no_reaper_finds_them_later(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    store.create(of("ann", "expired")).await.unwrap();
    context.clock.advance(MINUTE);
    store.create(of("ann", "live")).await.unwrap();
    let done = store.delete_user("ann", None).await.unwrap();
    assert_eq!(removed_ids(&done.removed), ["expired", "live"].map(id));
    assert_eq!(done.removed[0].connection.as_deref(), Some("socket-expired"));
    assert!(store.reap(10).await.unwrap().sessions.is_empty());
    assert!(context.entries(&context.key("expiry")).await.is_empty());
    context.check().await;
}

#[tokio::test]
async fn entries_that_lead_to_no_session_of_the_user_are_dropped_and_not_returned() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(of("ann", "s")).await.unwrap();
    store.create(of("bob", "bob's")).await.unwrap();
    store.create(of("bob", "deleted")).await.unwrap();
    store.delete(&id("deleted")).await.unwrap();
    let index = context.user_key("ann");
    for planted in ["ghost", "bob's", "deleted"] {
        let _: i64 = context.command(&["ZADD", &index, "1", planted]).await;
    }
    let done = store.delete_user("ann", None).await.unwrap();
    assert_eq!(removed_ids(&done.removed), [id("s")]);
    assert!(done.corrupt.is_empty() && !context.exists(&index).await);
    assert_eq!(context.stored(&id("bob's")).await.unwrap().kind, LIVE);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_user_without_sessions_has_nothing_to_delete_and_nothing_is_written(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    store.create(of("ann", "s")).await.unwrap();
    let before = context.dump().await;
    let done = store.delete_user("nobody", None).await.unwrap();
    assert!(done.removed.is_empty() && done.corrupt.is_empty());
    for name in [String::new(), "x".repeat(257)] {
        let error = store.delete_user(&name, None).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field: "user id", .. })), "{error:?}");
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn a_corrupt_record_is_reported_and_left_alone_while_the_others_go() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    for name in ["a", "b", "c", "d"] {
        store.create(of("ann", name)).await.unwrap();
    }
    let (broken, foreign) = (context.record_key(&id("a")), context.record_key(&id("c")));
    let _: () = context.command(&["SET", &broken, "garbage"]).await;
    let _: i64 = context.command(&["DEL", &foreign]).await;
    let _: i64 = context.command(&["LPUSH", &foreign, "x"]).await;
    let done = store.delete_user("ann", None).await.unwrap();
    assert_eq!(removed_ids(&done.removed), ["b", "d"].map(id));
    assert_eq!(done.corrupt, ["a", "c"].map(id));
    assert_eq!(context.command::<String>(&["GET", &broken]).await, "garbage");
    assert_eq!(context.command::<i64>(&["LLEN", &foreign]).await, 1);
    for index in [context.user_key("ann"), context.node_key("gateway"), context.key("expiry")] {
        assert_eq!(context.entries(&index).await, ["a", "c"]);
    }
    assert_eq!(context.pointer("socket-a").await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_session_with_a_foreign_type_at_its_node_or_connection_is_reported_and_left_alone() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    for foreign in [context.node_key("gateway"), context.connection_key("socket-a")] {
        store.create(of("ann", "a")).await.unwrap();
        store.create(NewSession::new().id(id("b")).user("ann")).await.unwrap();
        let _: i64 = context.command(&["DEL", &foreign]).await;
        let _: i64 = context.command(&["LPUSH", &foreign, "x"]).await;
        let stored = context.stored(&id("a")).await;
        let done = store.delete_user("ann", None).await.unwrap();
        assert_eq!((removed_ids(&done.removed), done.corrupt), (vec![id("b")], vec![id("a")]));
        assert_eq!(context.stored(&id("a")).await, stored);
        assert_eq!(context.entries(&context.user_key("ann")).await, ["a"]);
        assert_eq!(context.entries(&context.key("expiry")).await, ["a"]);
        for key in context.keys().await {
            let _: i64 = context.command(&["DEL", &key]).await;
        }
    }
}

#[tokio::test]
async fn more_corrupt_sessions_than_a_batch_do_not_keep_the_others_from_going() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let made =
        create_many(&store, 450, |number| NewSession::new().id(id(&format!("s{number:03}"))).user("ann"))
            .await;
    for session in &made[..250] {
        let _: () = context.command(&["SET", &context.record_key(session.id()), "garbage"]).await;
    }
    let done = store.delete_user("ann", None).await.unwrap();
    assert_eq!(removed_ids(&done.removed), ids(&made[250..]));
    let corrupt: BTreeSet<_> = done.corrupt.iter().cloned().collect();
    assert_eq!(corrupt, ids(&made[..250]).into_iter().collect());
    assert_eq!(done.corrupt.len(), 250);
}

#[tokio::test]
async fn a_foreign_type_at_an_index_is_corrupt_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(of("ann", "s")).await.unwrap();
    for key in [context.user_key("ann"), context.key("expiry")] {
        context.foreign_at(&key, store.delete_user("ann", None)).await;
    }
    assert_eq!(store.delete_user("ann", None).await.unwrap().removed.len(), 1);
    context.check().await;
}
