//! rotate: gives a live session a new id, and a user in the same step.

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::{Binding, Error, NewSession, OnLimit, OperationId, Patch, Refusal, Rotation, Rules, Session};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::{ms, refusal, session_id};
use crate::support::record::{DELETED, LIVE, MOVED};

const MINUTE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(60 * 60);

#[rstest]
#[tokio::test]
async fn rotate_keeps_data_and_deadline_under_a_new_id(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(TTL * 3)).await;
    let session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap();
    assert!(!rotated.by_another && rotated.evicted.is_empty());
    let rotated = rotated.session;
    assert_ne!(rotated.id(), session.id());
    assert_eq!(rotated.version().get(), 2);

    let stored = context.stored(rotated.id()).await.unwrap();
    assert_eq!((stored.kind, stored.version), (LIVE, 2));
    assert_eq!(
        (stored.created_at, stored.last_active, stored.expires_at, stored.deadline),
        (
            session.created_at_ms(),
            context.clock.now_ms(),
            session.expires_at_ms() + ms(MINUTE),
            session.created_at_ms() + ms(TTL * 3)
        )
    );
    assert_eq!(rotated.attributes(), session.attributes());
    assert_eq!(store.get(rotated.id()).await.unwrap(), Some(rotated.clone()));
    context.assert_ttl(&context.record_key(rotated.id()), TTL + GRACE - MINUTE).await;
    context.check().await;
}

#[tokio::test]
async fn rotate_moves_all_indexes_and_the_pointer() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let old = context.session(&store, "a").await;
    let new = store.rotate(&old, Rotation::new()).await.unwrap().session;
    for key in [context.user_key("user-a"), context.node_key("node-a")] {
        let members = context.members(&key).await;
        assert_eq!(
            members.into_iter().collect::<Vec<_>>(),
            [(new.id().as_str().to_owned(), old.created_at_ms())]
        );
        assert!(context.pttl(&key).await >= i64::try_from(ms(TTL + GRACE)).unwrap() - 60_000);
    }
    assert_eq!(context.expiry_of(old.id()).await, None);
    assert_eq!(context.expiry_of(new.id()).await, Some(old.expires_at_ms()));
    assert_eq!(context.pointer("connection-a").await.as_deref(), Some(new.id().as_str()));
    context.assert_ttl(&context.connection_key("connection-a"), TTL + GRACE).await;
    let found = store.session_by_connection("connection-a").await.unwrap();
    assert_eq!(found, Some(new));
    context.check().await;
}

/// A rotation does not ask for the TTLs of indexes that the session was in, for they live long enough.
#[tokio::test]
async fn the_indexes_of_a_rotated_session_live_as_long_as_it_even_those_that_were_lost() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let indexes = [context.user_key("user-a"), context.node_key("node-a"), context.key("expiry")];
    let lost = [&[][..], &indexes[..1], &indexes[1..2], &indexes[2..], &indexes[..], &[]];
    for lost in lost {
        for key in lost {
            assert_eq!(context.command::<u64>(&["DEL", key]).await, 1);
        }
        session = store.rotate(&session, Rotation::new()).await.unwrap().session;
        let record = context.pttl(&context.record_key(session.id())).await;
        for key in &indexes {
            assert!(context.pttl(key).await >= record, "{key} after {lost:?} were lost");
        }
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn the_old_id_leads_to_the_new_one_until_exactly_the_end_of_the_rotation_grace(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().rotation_grace(10 * MINUTE)).await;
    let old = context.session(&store, "a").await;
    let new = store.rotate(&old, Rotation::new()).await.unwrap().session;
    let stored = context.stored(old.id()).await.unwrap();
    assert_eq!((stored.kind, stored.version), (MOVED, 2));
    assert_eq!(stored.body, new.id().as_str().as_bytes());
    assert_eq!([stored.user, stored.connection, stored.node], ["", "", ""], "no data is left under it");
    assert_eq!(stored.stored_until, context.clock.now_ms() + ms(10 * MINUTE));
    context.assert_ttl(&context.record_key(old.id()), 10 * MINUTE).await;
    context.clock.advance(10 * MINUTE - Duration::from_millis(1));
    assert_eq!(store.get(old.id()).await.unwrap(), Some(new));
    context.clock.advance(Duration::from_millis(1));
    assert_eq!(store.get(old.id()).await.unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn after_the_rotation_grace_the_old_id_is_missing_to_every_operation_and_free(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().rotation_grace(MINUTE)).await;
    let mut old = context.session(&store, "a").await;
    let new = store.rotate(&old, Rotation::new()).await.unwrap().session;
    context.clock.advance(MINUTE);
    let id = old.id().clone();
    let before = context.dump().await;
    assert_eq!(store.get(&id).await.unwrap(), None);
    assert!(store.refresh(&id).await.unwrap().is_none());
    assert_eq!(store.refresh_and_get(&id).await.unwrap(), None);
    assert_eq!(refusal(store.update(&mut old).await), Refusal::Missing);
    assert_eq!(refusal(store.patch(&id, Patch::new().ttl(MINUTE)).await), Refusal::Missing);
    assert_eq!(refusal(store.bind(&id, Binding::new("b")).await), Refusal::Missing);
    assert!(!store.unbind(&id, "connection-a").await.unwrap());
    assert_eq!(refusal(store.rotate(&id, Rotation::new()).await), Refusal::Missing);
    assert!(store.delete(&id).await.unwrap().is_none());
    assert_eq!(context.dump().await, before);

    let back = store.rotate(&new, Rotation::new().new_id(id.clone())).await.unwrap();
    assert_eq!(store.get(&id).await.unwrap(), Some(back.session));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_repeated_rotation_is_recognized_until_the_end_of_the_grace(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().rotation_grace(MINUTE)).await;
    let old = context.session(&store, "a").await;
    let same = store.with_operation_id(OperationId::random());
    let first = same.rotate(&old, Rotation::new()).await.unwrap();
    context.clock.advance(MINUTE - Duration::from_millis(1));
    let again = same.rotate(&old, Rotation::new()).await.unwrap();
    assert_eq!(again.session, first.session);
    context.clock.advance(Duration::from_millis(1));
    assert_eq!(refusal(same.rotate(&old, Rotation::new()).await), Refusal::Missing);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn login_makes_an_anonymous_session_the_users_in_the_same_step(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let visit = NewSession::new().set("cart", &[3, 5]).unwrap();
    let visit = store.create(visit).await.unwrap().session;
    context.clock.advance(MINUTE);
    let login = store.rotate(visit.id(), Rotation::new().user("ann")).await.unwrap();
    let session = login.session;
    assert_eq!(session.user(), Some("ann"));
    assert_eq!(session.get::<Vec<u32>>("cart").unwrap(), Some(vec![3, 5]));
    assert_eq!(
        context.members(&context.user_key("ann")).await.into_iter().collect::<Vec<_>>(),
        [(session.id().as_str().to_owned(), visit.created_at_ms())]
    );
    context.assert_ttl(&context.user_key("ann"), TTL + GRACE * 2 - MINUTE).await;
    assert_eq!(context.stored(session.id()).await.unwrap().user, "ann");
    context.check().await;
}

/// What a request finds that comes with the id from before a login: the refusals of all operations but a delete.
async fn under_the_old_id(store: &Store, old: &Session) -> Vec<Refusal> {
    let id = old.id();
    let mut refused = vec![
        refusal(store.get(id).await),
        refusal(store.get_fresh(id).await),
        refusal(store.refresh(id).await),
        refusal(store.refresh(old).await),
        refusal(store.refresh_and_get(id).await),
        refusal(store.export(id).await),
        refusal(store.update(&mut old.clone()).await),
        refusal(store.patch(id, Patch::new().suspend()).await),
        refusal(store.patch(id, Patch::new().set("cart", &0).unwrap()).await),
        refusal(store.bind(id, Binding::new("eve")).await),
        refusal(store.unbind(id, "connection-a").await),
        refusal(store.freeze(id, Freezing::new(TaskId::random(), "elsewhere")).await),
        // Another's login with a planted id would else be handed the session.
        refusal(store.rotate(id, Rotation::new().user("eve")).await),
        refusal(store.rotate(id, Rotation::new()).await),
    ];
    refused.extend(store.get_many(&[id.clone(), id.clone()]).await.into_iter().map(refusal));
    refused
}

#[rstest]
#[tokio::test]
async fn whoever_planted_an_id_learns_nothing_after_a_login_but_that_there_is_a_newer_one(
    #[values(Redis, Near, Memory)] on: On,
    #[values(Rules::new(), Rules::new().touch_interval(MINUTE))] rules: Rules,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules.rotation_grace(MINUTE * 2)).await;
    let planted = context.session(&store, "a").await;
    store.get(planted.id()).await.unwrap();
    let login = store.rotate(&planted, Rotation::new().user("ann")).await.unwrap().session;
    let before = context.dump().await;
    for _ in 0..2 {
        for refused in under_the_old_id(&store, &planted).await {
            assert_eq!(refused, Refusal::Rotated { to: None });
        }
        context.clock.advance(MINUTE - Duration::from_millis(1));
    }
    assert_eq!(context.dump().await, before, "nothing came of it");
    let error = store.get(planted.id()).await.unwrap_err();
    assert!(error.is_rotated() && !error.is_missing());
    assert!(!format!("{error} {error:?}").contains(login.id().as_str()));
    assert_eq!(refusal(store.create(NewSession::new().id(planted.id().clone())).await), Refusal::Gone);
    assert_eq!(store.session_by_connection("connection-a").await.unwrap().as_ref(), Some(&login));
    assert_eq!(store.get(login.id()).await.unwrap().as_ref(), Some(&login));

    context.clock.advance(Duration::from_millis(2));
    assert_eq!(store.get(planted.id()).await.unwrap(), None);
    assert!(store.refresh(&planted).await.unwrap().is_none());
    assert_eq!(refusal(store.patch(&planted, Patch::new().suspend()).await), Refusal::Missing);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_id_that_leads_to_one_that_a_login_left_says_the_same(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let first = context.session(&store, "a").await;
    let second = store.rotate(&first, Rotation::new()).await.unwrap().session;
    store.rotate(&second, Rotation::new().user("ann")).await.unwrap();
    for refused in under_the_old_id(&store, &first).await {
        assert_eq!(refused, Refusal::Rotated { to: None });
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_logout_with_the_id_from_before_a_login_is_one_all_the_same(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let visit = store.create(NewSession::new()).await.unwrap().session;
    let login = store.rotate(&visit, Rotation::new().user("ann")).await.unwrap().session;
    assert!(store.delete(visit.id()).await.unwrap().is_some());
    assert_eq!(store.get(login.id()).await.unwrap(), None);
    context.check().await;
}

#[tokio::test]
async fn a_pointer_to_an_id_that_a_login_left_is_stale() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let visit = store.create(NewSession::new()).await.unwrap().session;
    store.rotate(&visit, Rotation::new().user("ann")).await.unwrap();
    let key = context.connection_key("c");
    let _: () = context.command(&["SET", &key, visit.id().as_str(), "PX", "600000"]).await;
    assert_eq!(store.session_by_connection("c").await.unwrap(), None);
    assert_eq!(store.delete_user("eve", Some(visit.id())).await.unwrap().removed, []);
}

#[rstest]
#[tokio::test]
async fn a_logout_keeps_what_is_in_the_session_and_nothing_of_the_user(
    #[values(Redis, Near, Memory, Spread)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(TTL)).await;
    let visit = store.create(NewSession::new().set("cart", &[3]).unwrap()).await.unwrap().session;
    let login = Rotation::new().user("ann").set("name", "Ann").unwrap();
    let session = store.rotate(&visit, login).await.unwrap().session;
    context.clock.advance(MINUTE);
    let logout = Rotation::new().anonymous().remove("name");
    let nobody = store.rotate(&session, logout.clone()).await.unwrap().session;
    assert_eq!((nobody.user(), nobody.get::<Vec<u8>>("cart").unwrap()), (None, Some(vec![3])));
    assert_eq!(nobody.get::<String>("name").unwrap(), None);
    assert_eq!(nobody.deadline_ms(), Some(context.clock.now_ms() + ms(TTL)));
    assert_eq!(store.get(nobody.id()).await.unwrap().as_ref(), Some(&nobody));
    assert!(!context.exists(&context.user_key("ann")).await);
    // Who has the id of the user has nothing of the next one's.
    assert_eq!(refusal(store.get(session.id()).await), Refusal::Rotated { to: None });

    // Where there is no user it is a rotation as any other.
    let again = store.rotate(&nobody, logout).await.unwrap().session;
    assert_eq!(store.get(nobody.id()).await.unwrap(), Some(again));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_login_sets_ttl_deadline_and_attributes_in_the_same_step(
    #[values(Redis, Near, Memory, Spread)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(TTL * 2)).await;
    let begin = || NewSession::new().set("a", &1).unwrap().set("b", &2).unwrap();
    let mut deadlines = Vec::new();
    for (user, login) in [
        ("ann", Rotation::new()),
        ("bob", Rotation::new().keep_deadline()),
        ("eve", Rotation::new().lifetime(TTL * 9)),
    ] {
        let visit = store.create(begin()).await.unwrap().session;
        context.clock.advance(MINUTE);
        let login = login.user(user).ttl(MINUTE).remove("a").set("c", &3).unwrap();
        let session = store.rotate(&visit, login).await.unwrap().session;
        let now = context.clock.now_ms();
        assert_eq!((session.user(), session.ttl()), (Some(user), MINUTE));
        assert_eq!((session.last_active_ms(), session.expires_at_ms()), (now, now + ms(MINUTE)));
        assert_eq!(session.attributes().iter().collect::<Vec<_>>(), [("b", "2"), ("c", "3")]);
        assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
        deadlines.push(session.deadline_ms().unwrap() - now);
        context.check().await;
    }
    assert_eq!(deadlines, [ms(TTL * 2), ms(TTL * 2 - MINUTE), ms(TTL * 9)]);
}

#[rstest]
#[tokio::test]
async fn a_deadline_of_a_visit_ends_with_the_login_where_the_rules_have_none(
    #[values(Redis, Memory, Spread)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let visit = store.create(NewSession::new().lifetime(MINUTE)).await.unwrap().session;
    assert_eq!(visit.deadline_ms(), Some(visit.created_at_ms() + ms(MINUTE)));
    assert_eq!(visit.expires_at_ms(), visit.created_at_ms() + ms(MINUTE));
    let login = store.rotate(&visit, Rotation::new().user("ann")).await.unwrap().session;
    assert_eq!(login.deadline_ms(), None);
    assert_eq!(login.expires_at_ms(), context.clock.now_ms() + ms(TTL));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_rotation_that_would_make_a_session_too_large_changes_nothing(
    #[values(Redis, Memory, Spread)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().session_entries(1)).await;
    let visit = store.create(NewSession::new().set("a", &1).unwrap()).await.unwrap().session;
    let before = context.dump().await;
    for rotation in [Rotation::new(), Rotation::new().user("ann"), Rotation::new().user("eve")] {
        let refused = refusal(store.rotate(&visit, rotation.set("b", &1).unwrap()).await);
        assert!(matches!(refused, Refusal::TooLarge { entries: 2, .. }), "{refused:?}");
    }
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn a_rotation_to_an_empty_user_is_invalid_and_names_the_field(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    for (rotation, field) in [
        (Rotation::new().user(""), "user id"),
        (Rotation::new().ttl(Duration::ZERO), "ttl"),
        (Rotation::new().lifetime(Duration::ZERO), "lifetime"),
    ] {
        match store.rotate(&session, rotation).await {
            Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn login_as_another_user_leaves_the_first_users_index(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let login = Rotation::new().user("ann").new_id(session_id("chosen"));
    let session = store.rotate(&session, login).await.unwrap().session;
    assert_eq!((session.id().as_str(), session.user()), ("chosen", Some("ann")));
    assert!(!context.exists(&context.user_key("user-a")).await);
    assert_eq!(context.members(&context.node_key("node-a")).await["chosen"], session.created_at_ms());
    context.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_at_once_end_with_one_new_id_that_all_learn() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    for tasks in [2, 20] {
        let session = context.session(&store, &format!("{tasks}")).await;
        let rotations = (0..tasks).map(|_| {
            let (store, session) = (store.clone(), session.clone());
            tokio::spawn(async move { store.rotate(&session, Rotation::new()).await.unwrap() })
        });
        let rotated = futures::future::try_join_all(rotations).await.unwrap();
        let ids: BTreeSet<_> = rotated.iter().map(|rotated| rotated.session.id().clone()).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(rotated.iter().filter(|rotated| !rotated.by_another).count(), 1);
        assert_eq!(context.members(&context.user_key(&format!("user-{tasks}"))).await.len(), 1);
    }
    assert_eq!(context.members(&context.key("expiry")).await.len(), 3, "two sessions and the note");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn rotate_of_an_id_that_was_rotated_away_changes_nothing_and_tells_the_new_one(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let first = context.session(&store, "a").await;
    let second = store.rotate(&first, Rotation::new()).await.unwrap().session;
    let before = context.dump().await;
    let late = store.rotate(&first, Rotation::new().user("ann")).await.unwrap();
    assert!(late.by_another);
    assert_eq!(late.session, second);
    assert_eq!(context.dump().await, before);

    // And when it was rotated again meanwhile, the one after that.
    let third = store.rotate(&second, Rotation::new()).await.unwrap().session;
    let late = store.rotate(&first, Rotation::new()).await.unwrap();
    assert!(late.by_another);
    assert_eq!(late.session, third);
    store.delete(&third).await.unwrap();
    assert_eq!(refusal(store.rotate(&second, Rotation::new()).await), Refusal::Missing);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_new_id_that_is_in_use_is_refused_and_nothing_changes(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let expired = NewSession::new().ttl(MINUTE);
    let expired = store.create(expired).await.unwrap().session;
    context.clock.advance(MINUTE);
    let deleted = context.session(&store, "deleted").await;
    store.delete(&deleted).await.unwrap();
    let rotated = context.session(&store, "rotated").await;
    store.rotate(&rotated, Rotation::new()).await.unwrap();
    let live = context.session(&store, "live").await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    for taken in [live.id(), expired.id(), deleted.id(), rotated.id(), session.id()] {
        let rotation = Rotation::new().new_id(taken.clone()).user("ann");
        assert_eq!(refusal(store.rotate(&session, rotation).await), Refusal::Exists);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn rotate_of_a_session_that_is_not_live_changes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let not_live = context.not_live(&store, TTL).await;
    let before = context.dump().await;
    for id in &not_live {
        let login = Rotation::new().user("ann");
        assert_eq!(refusal(store.rotate(id, login).await), Refusal::Missing);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn rotate_of_a_frozen_session_is_refused_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.freeze(session.id()).await;
    let before = context.dump().await;
    assert_eq!(refusal(store.rotate(&session, Rotation::new()).await), Refusal::Frozen);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn a_pointer_that_is_another_sessions_is_not_taken_along() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let other = context.session(&store, "b").await;
    let key = context.connection_key("connection-a");
    let _: () = context.command(&["SET", &key, other.id().as_str(), "PX", "600000"]).await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    assert_eq!(context.pointer("connection-a").await.as_deref(), Some(other.id().as_str()));
    assert_eq!(store.session_by_connection("connection-a").await.unwrap(), None);
    assert!(store.get(rotated.id()).await.unwrap().is_some());
}

#[rstest]
#[tokio::test]
async fn a_stale_copy_and_a_bare_id_rotate_as_well(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let stale = context.session(&store, "a").await;
    let mut moved = stale.clone();
    moved.set_user("user-b");
    moved.set_connection("connection-b");
    moved.set_node("");
    store.update(&mut moved).await.unwrap();
    let first = store.rotate(&stale, Rotation::new()).await.unwrap().session;
    assert_eq!(
        (first.user(), first.connection(), first.node()),
        (Some("user-b"), Some("connection-b"), None)
    );
    let second = store.rotate(first.id(), Rotation::new()).await.unwrap().session;
    assert_eq!((second.version().get(), second.user()), (4, Some("user-b")));
    context.check().await;
}

/// Sessions of a user, oldest first, each with a connection of its own, the clock a minute on after each.
async fn sessions_of(context: &Context, store: &Store, user: &str, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for number in 0..count {
        let new = NewSession::new().user(user).node("gateway");
        let new = new.connection(format!("{user}-{number}"));
        sessions.push(store.create(new).await.unwrap().session);
        context.clock.advance(Duration::from_millis(1));
    }
    sessions
}

#[rstest]
#[tokio::test]
async fn a_login_over_the_limit_is_refused_and_changes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().sessions_per_user(2, OnLimit::Reject)).await;
    let own = sessions_of(&context, &store, "ann", 2).await;
    let visit = store.create(NewSession::new()).await.unwrap().session;
    let before = context.dump().await;
    let login = Rotation::new().user("ann");
    assert_eq!(refusal(store.rotate(&visit, login.clone()).await), Refusal::Limit { live: 2 });
    assert_eq!(context.dump().await, before);

    // A session that is the user's already is not one more.
    let again = store.rotate(&own[0], login.clone()).await.unwrap().session;
    store.delete(&again).await.unwrap();
    store.rotate(&visit, login).await.unwrap();
    assert_eq!(context.members(&context.user_key("ann")).await.len(), 2);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn expired_sessions_do_not_count_against_a_login(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().sessions_per_user(1, OnLimit::Reject)).await;
    sessions_of(&context, &store, "ann", 1).await;
    context.clock.advance(TTL);
    let visit = store.create(NewSession::new()).await.unwrap().session;
    let login = store.rotate(&visit, Rotation::new().user("ann")).await.unwrap();
    assert!(login.evicted.is_empty());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_login_evicts_the_oldest_with_all_that_they_have(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let unlimited = context.store_at(Rules::new()).await;
    let store = context.store_at(Rules::new().sessions_per_user(2, OnLimit::EvictOldest)).await;
    let own = sessions_of(&context, &unlimited, "ann", 4).await;
    let visit = store.create(NewSession::new()).await.unwrap().session;
    let login = store.rotate(&visit, Rotation::new().user("ann")).await.unwrap();

    let evicted: Vec<_> = login.evicted.iter().map(|removed| &removed.id).collect();
    assert_eq!(evicted, [own[0].id(), own[1].id(), own[2].id()]);
    assert_eq!(login.evicted[1].connection.as_deref(), Some("ann-1"));
    assert_eq!(login.evicted[1].node.as_deref(), Some("gateway"));
    for gone in &own[..3] {
        let tombstone = context.stored(gone.id()).await.unwrap();
        assert_eq!((tombstone.kind, tombstone.version), (DELETED, 2));
        assert_eq!(context.expiry_of(gone.id()).await, None);
        assert_eq!(context.pointer(gone.connection().unwrap()).await, None);
    }
    let left: BTreeSet<_> = context.members(&context.user_key("ann")).await.into_keys().collect();
    assert_eq!(left, BTreeSet::from([own[3].id(), login.session.id()].map(|id| id.as_str().to_owned())));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_login_with_hundreds_over_the_limit_evicts_them_by_batches(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let unlimited = context.store_at(Rules::new()).await;
    let store = context.store_at(Rules::new().sessions_per_user(1, OnLimit::EvictOldest)).await;
    let own = sessions_of(&context, &unlimited, "ann", 450).await;
    let visit = store.create(NewSession::new()).await.unwrap().session;
    let login = store.rotate(&visit, Rotation::new().user("ann")).await.unwrap();
    let evicted: BTreeSet<_> = login.evicted.iter().map(|removed| &removed.id).collect();
    assert_eq!((login.evicted.len(), evicted.len()), (own.len(), own.len()));
    let left: Vec<_> = context.members(&context.user_key("ann")).await.into_keys().collect();
    assert_eq!(left, [login.session.id().as_str()]);
    context.check().await;
}
