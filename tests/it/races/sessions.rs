//! Races for one session.

use std::time::Duration;

use cloakroom::{Binding, NewSession, Patch, Refusal, Result, Rotation, Rules, Session, SessionId};
use futures::future::{BoxFuture, FutureExt as _};
use rstest::rstest;

use super::{Orders, Race, Start, two_stores, two_stores_at};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::unless_left;
use crate::support::record::LIVE;

/// How often a race of two is run: who is first differs.
const ROUNDS: usize = 40;

/// A call that tells whether it found the session.
type Call = fn(Store, Session) -> BoxFuture<'static, Result<bool>>;

/// Runs a call against a delete of the same session: whatever comes first, nothing is left.
async fn against_delete(call: Call) {
    let mut orders = Orders::default();
    let context = Context::redis().await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    for round in 0..ROUNDS {
        let session = context.session(&store, &round.to_string()).await;
        let mut race = Race::new();
        race.add(call(store.clone(), session.clone()));
        race.add({
            let (other, session) = (other.clone(), session.clone());
            async move { other.delete(&session).await.map(|deleted| deleted.is_some()) }
        });
        let start = Start::of(round);
        let [called, deleted] = race.run_as(start).await.try_into().unwrap();
        assert!(deleted.unwrap());
        let was_found = called.unwrap_or_else(|error| {
            assert!(error.is_missing() || error.is_rotated(), "{error:?}");
            false
        });
        orders.note(start, usize::from(!was_found));
        assert!(unless_left(store.get(session.id()).await).is_none(), "it came back");
    }
    for key in context.keys().await {
        let Some(id) = key.strip_prefix(&context.key("session:")) else {
            assert_eq!(key, context.key("expiry"), "an index that nothing should be in");
            continue;
        };
        let stored = context.stored(&SessionId::new(id).unwrap()).await;
        assert!(stored.is_none_or(|stored| stored.kind != LIVE), "a record is live");
    }
    let left = context.members(&context.key("expiry")).await;
    assert!(left.keys().all(String::is_empty), "entries of the expiry index: {left:?}");
    orders.are_both();
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_against_a_delete_leaves_nothing() {
    against_delete(|store, session| {
        async move { store.refresh(&session).await.map(|refreshed| refreshed.is_some()) }.boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_against_a_delete_leaves_nothing() {
    against_delete(|store, mut session| {
        async move {
            session.set_user("another");
            session.set_connection(format!("new-{}", session.id().as_str()));
            session.set_node("another");
            store.update(&mut session).await.map(|()| true)
        }
        .boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_against_a_delete_leaves_nothing() {
    against_delete(|store, session| {
        async move {
            let patch = Patch::new().set("color", "red")?.ttl(Duration::from_secs(7200));
            store.patch(&session, patch).await.map(|_| true)
        }
        .boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_against_a_delete_leaves_nothing() {
    against_delete(|store, session| {
        async move {
            let login = Rotation::new().user("another");
            store.rotate(&session, login).await.map(|_| true)
        }
        .boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_against_a_delete_leaves_nothing() {
    against_delete(|store, session| {
        async move {
            let connection = format!("new-{}", session.id().as_str());
            let binding = Binding::new(connection).node("another");
            store.bind(&session, binding).await.map(|_| true)
        }
        .boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbind_against_a_delete_leaves_nothing() {
    against_delete(|store, session| {
        async move {
            let connection = session.connection().unwrap().to_owned();
            store.unbind(&session, &connection).await
        }
        .boxed()
    })
    .await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_many_creates_with_one_id_one_wins_and_leaves_the_only_entries(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let id = SessionId::new("the-one").unwrap();
    let mut race = Race::new();
    for number in 0..32 {
        let store = [&store, &other][number % 2].clone();
        let new = NewSession::new()
            .id(id.clone())
            .user(format!("user-{number}"))
            .connection(format!("connection-{number}"))
            .node(format!("node-{number}"));
        race.add(async move { store.create(new).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = race.run().await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for outcome in lost {
        let error = outcome.unwrap_err();
        assert!(matches!(error, cloakroom::Error::Refused(Refusal::Exists)), "{error:?}");
    }
    let session = won.into_iter().next().unwrap().unwrap().session;
    let stored = context.stored(&id).await.unwrap();
    assert_eq!((stored.version, stored.user.as_str()), (1, session.user().unwrap()));
    assert_eq!(context.keys().await.len(), 5, "record, expiry, user, connection and node of the winner");
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_reap_and_a_refresh_at_the_edge_agree_on_whether_the_session_lives(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let rules = Rules::new().ttl(Duration::from_secs(60));
    let [store, other] = two_stores_at(&context, rules).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS * 2 {
        let session = context.session(&store, &round.to_string()).await;
        context.clock.set_ms(session.expires_at_ms() - 1 - (round / 4 % 2) as u64);
        let mut race = Race::new();
        race.add({
            let (store, session) = (store.clone(), session.clone());
            async move { store.refresh(&session).await.unwrap().is_some() }
        });
        race.add({
            let (other, clock) = (other.clone(), context.clock.clone());
            let expires_at = session.expires_at_ms();
            async move {
                clock.set_ms(expires_at);
                other.reap(10).await.unwrap().sessions.is_empty()
            }
        });
        let start = Start::of(round);
        let outcomes = race.run_as(start).await;
        // The reap may come first and find the session extended or not yet expired by its own clock: never both.
        assert_eq!(outcomes[0], outcomes[1], "refreshed and reaped, or neither");
        let found = store.get(session.id()).await.unwrap();
        assert_eq!(found.is_some(), outcomes[0]);
        orders.note(start, usize::from(!outcomes[0]));
        context.check().await;
        store.delete(session.id()).await.unwrap();
    }
    orders.are_both();
}

/// Rotates one session so often at once.
async fn rotate_at_once(count: usize) {
    let context = Context::redis().await;
    let stores = two_stores(&context, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..10 {
        let session = context.session(&stores[0], &round.to_string()).await;
        let mut race = Race::new();
        for number in 0..count {
            let (store, session) = (stores[number % 2].clone(), session.clone());
            race.add(async move { store.rotate(&session, Rotation::new()).await.unwrap() });
        }
        let start = Start::of(round);
        let rotated = race.run_as(start).await;
        let first: Vec<usize> = (0..count).filter(|&at| !rotated[at].by_another).collect();
        assert_eq!(first.len(), 1, "one rotation makes the new id");
        orders.note(start, first[0]);
        let new_id = rotated[first[0]].session.id();
        assert_ne!(new_id, session.id());
        // It is a use, and one alone is.
        let expires_at = rotated[first[0]].session.expires_at_ms();
        assert!(expires_at >= session.expires_at_ms());
        for rotated in &rotated {
            assert_eq!(rotated.session.id(), new_id, "all learn the same id");
            assert_eq!(rotated.session.version().get(), 2);
            assert_eq!(rotated.session.expires_at_ms(), expires_at);
        }
        let by_old_id = stores[1].get(session.id()).await.unwrap().unwrap();
        assert_eq!(by_old_id.id(), new_id);
        let users = context.key(format!("user:{}:sessions", session.user().unwrap()));
        let members = context.members(&users).await;
        assert_eq!(members.keys().collect::<Vec<_>>(), [new_id.as_str()]);
    }
    orders.are_both();
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_at_once_end_with_one_new_id_that_both_learn() {
    rotate_at_once(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_rotations_at_once_end_with_one_new_id_that_all_learn() {
    rotate_at_once(16).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_from_one_version_one_wins(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let stores = two_stores(&context, Rules::new()).await;
    let session = context.session(&stores[0], "a").await;
    let mut race = Race::new();
    for number in 0..32_usize {
        let (store, mut session) = (stores[number % 2].clone(), session.clone());
        race.add(async move {
            session.set("winner", &number).unwrap();
            session.set_user(format!("winner-{number}"));
            store.update(&mut session).await.map(|()| number)
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) = race.run().await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for outcome in lost {
        let error = outcome.unwrap_err();
        let current_is_2 =
            |refusal: &Refusal| matches!(refusal, Refusal::Conflict { current } if current.get() == 2);
        assert!(matches!(&error, cloakroom::Error::Refused(refusal) if current_is_2(refusal)), "{error:?}");
    }
    let winner = won.into_iter().next().unwrap().unwrap();
    let saved = stores[0].get(session.id()).await.unwrap().unwrap();
    assert_eq!(saved.get::<usize>("winner").unwrap(), Some(winner));
    assert_eq!(saved.user(), Some(format!("winner-{winner}").as_str()));
    assert_eq!(saved.version().get(), 2);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_patches_of_different_attributes_are_all_there(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let stores = two_stores(&context, Rules::new()).await;
    let session = context.session(&stores[0], "a").await;
    let mut race = Race::new();
    for number in 0..100_usize {
        let (store, session) = (stores[number % 2].clone(), session.clone());
        race.add(async move {
            let patch = Patch::new().set(format!("key-{number}"), &number).unwrap();
            store.patch(&session, patch).await.unwrap().version.get()
        });
    }
    let mut versions = race.run().await;
    versions.sort_unstable();
    assert_eq!(versions, (2..=101).collect::<Vec<u64>>(), "each patch made a version of its own");
    let session = stores[0].get(session.id()).await.unwrap().unwrap();
    for number in 0..100_usize {
        assert_eq!(session.get(&format!("key-{number}")).unwrap(), Some(number));
    }
    assert_eq!(session.get::<String>("color").unwrap().as_deref(), Some("green"));
    context.check().await;
}
