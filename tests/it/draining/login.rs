//! A login out of the old store: three calls, each of which may be the last.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::draining::DrainingStore;
use cloakroom::{Error, Obstacle, OperationId, Patch, RedisStore, Refusal, Rotation, Rules, Selector};

use super::{Draining, TTL};
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, unless_left};
use crate::support::hooked::Hooked;
use crate::support::proxy::Proxy;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_login_takes_the_session_over_whole() {
    for (from, to) in [(On::Redis, On::Spread), (On::Memory, On::Redis), (On::Redis, On::Memory)] {
        let place = Draining::between(from, to, Rules::new().max_lifetime(10 * TTL)).await;
        let store = place.store();
        let old = place.visitor().await;
        place.old_place.clock.advance(MINUTE);
        let rotated = store.rotate(old.id(), Rotation::new().user("ann")).await.unwrap();
        let new = rotated.session;
        assert!(!rotated.by_another && rotated.evicted.is_empty());
        assert_eq!(new.user(), Some("ann"));
        assert_eq!(new.get::<u32>("cart").unwrap(), Some(7));
        assert_eq!((new.connection(), new.node()), (old.connection(), old.node()));
        assert_eq!(new.created_at_ms(), old.created_at_ms());
        assert_eq!(
            new.deadline_ms(),
            old.deadline_ms().map(|deadline| deadline + 60_000),
            "from the login on"
        );
        assert_eq!(new.expires_at_ms(), place.old_place.clock.now_ms() + 1_800_000);
        assert_eq!(place.new.get(new.id()).await.unwrap(), Some(new.clone()));
        assert_eq!(refusal(store.get(old.id()).await), Refusal::Rotated { to: None });
        assert!(place.both.is_drained().await.unwrap());
        let second = store.rotate(&old, Rotation::new().user("ann")).await;
        assert_eq!(refusal(second), Refusal::Rotated { to: None });
        assert!(store.delete(&old).await.unwrap().is_some(), "a logout is a logout all the same");
        assert_eq!(store.get(new.id()).await.unwrap(), None);
        place.check().await;
    }
}

#[tokio::test]
async fn a_change_that_comes_between_the_copy_and_the_login_is_not_lost() {
    let place = Draining::begin(Rules::new()).await;
    let (hooked, old) = (Hooked::new(place.old.clone()), place.visitor().await);
    let store = Arc::new(DrainingStore::new(Arc::new(hooked.clone()), place.new.clone()));
    let gate = hooked.stop_before("leave");
    let (logging_in, id) = (store.clone(), old.id().clone());
    let login = tokio::spawn(async move {
        let store: Store = logging_in;
        store.rotate(&id, Rotation::new().user("ann")).await
    });
    gate.reached().await;
    // A process that knows the old store alone.
    place.old.patch(old.id(), Patch::new().set("cart", &8).unwrap()).await.unwrap();
    gate.open();
    let rotated = login.await.unwrap().unwrap();
    assert_eq!(rotated.session.get::<u32>("cart").unwrap(), Some(8));
    assert_eq!(place.new.count(&Selector::user("ann")).await.unwrap(), 1);
    place.check().await;
}

/// The same store through a proxy, which loses the reply of the call behind so many, and all after that.
async fn dying(context: &crate::support::Context, partitions: u16) -> (Proxy, Store) {
    let proxy = Proxy::start(context.server().address()).await;
    let store = RedisStore::builder(&proxy.url)
        .namespace(&context.namespace)
        .partitions(partitions)
        .rules(Rules::new().ttl(TTL))
        .clock(context.clock.clone())
        .deadline(Duration::from_millis(700))
        .pool_size(1)
        .build()
        .await
        .unwrap();
    (proxy, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_reply_is_the_last_the_data_is_there_once_and_the_old_id_never_has_the_user() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    for (answered_by_old, answered_by_new) in [(0, 9), (1, 9), (2, 9), (9, 0), (9, 1), (9, 2), (9, 3)] {
        for is_repeated in [false, true] {
            let old = place.visitor().await;
            let (old_proxy, old_store) = dying(&place.old_place, 1).await;
            let (new_proxy, new_store) = dying(&place.new_place, 16).await;
            let dying: Store = Arc::new(DrainingStore::new(old_store, new_store));
            old_proxy.silence_after(answered_by_old);
            new_proxy.silence_after(answered_by_new);
            let operation = OperationId::random();
            let new_id = store.with_operation_id(operation).new_id("ann").id;
            let login = || Rotation::new().user("ann").new_id(new_id.clone());
            let ended = dying.with_operation_id(operation).rotate(&old, login()).await;
            let told = format!("{answered_by_old} {answered_by_new}: {ended:?}");
            let found = unless_left(store.get(old.id()).await);
            assert!(found.is_none_or(|old| old.user().is_none()), "{told}");
            if is_repeated {
                let id = match ended {
                    Err(Error::Ambiguous { operation_id, .. }) => operation_id,
                    _ => operation,
                };
                let rotated = store.with_operation_id(id).rotate(&old, login()).await;
                let rotated = rotated.unwrap_or_else(|error| panic!("{told}, then {error:?}"));
                assert_eq!(rotated.session.id(), &new_id, "{told}");
                assert_eq!(refusal(store.get(old.id()).await), Refusal::Rotated { to: None }, "{told}");
            }
            place.old_place.clock.advance(MINUTE);
            let mut left = 0;
            for id in [old.id(), &new_id] {
                let found = unless_left(store.get(id).await);
                left += usize::from(found.is_some_and(|found| found.get::<u32>("cart").unwrap() == Some(7)));
            }
            assert!(left <= 1 && (left == 1 || !is_repeated), "{told}");
            while store.reap(200).await.unwrap().more {}
            store.delete_user("ann", None).await.unwrap();
            store.delete(&old).await.unwrap();
            place.check().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_changes_and_logouts_at_once_end_with_one_session() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    for round in 0..30 {
        let old = place.visitor().await;
        let mut tasks = tokio::task::JoinSet::new();
        for user in ["ann", "ann", "bob"] {
            let (store, id) = (store.clone(), old.id().clone());
            tasks.spawn(async move {
                match store.rotate(&id, Rotation::new().user(user)).await {
                    Ok(_) => 1,
                    Err(Error::Refused(Refusal::Missing | Refusal::Rotated { to: None })) => 0,
                    Err(Error::NotExecuted { reason: Obstacle::Contended, .. }) => 0,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        let (changing, id) = (place.old.clone(), old.id().clone());
        tasks.spawn(async move {
            for number in 0..5 {
                let _ = changing.patch(&id, Patch::new().set("number", &number).unwrap()).await;
                let found = unless_left(changing.get(&id).await);
                assert!(found.is_none_or(|found| found.user().is_none()), "the old id has a user");
            }
            0
        });
        let is_ended = round % 3 == 0;
        if is_ended {
            let (deleting, id) = (store.clone(), old.id().clone());
            tasks.spawn(async move {
                deleting.delete(&id).await.unwrap();
                0
            });
        }
        let mut winners = 0;
        while let Some(won) = tasks.join_next().await {
            winners += won.unwrap();
        }
        assert!(winners <= 1);
        place.old_place.clock.advance(MINUTE);
        while store.reap(200).await.unwrap().more {}
        let mut left = 0;
        for user in ["ann", "bob"] {
            left += store.count(&Selector::user(user)).await.unwrap();
            store.delete_user(user, None).await.unwrap();
        }
        assert_eq!(store.get(old.id()).await.unwrap(), None);
        let most = if is_ended { 0..=1 } else { 1..=1 };
        assert!(most.contains(&left), "round {round}: {left}");
        place.check().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_session_of_the_old_store_that_lost_its_reply_is_repeated_once() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    let (proxy, old_store) = dying(&place.old_place, 1).await;
    let old = place.visitor().await;
    let dying: Store = Arc::new(DrainingStore::new(old_store, place.new.clone()));
    proxy.silence_after(0);
    let patch = || Patch::new().set("n", &1).unwrap();
    let Err(Error::Ambiguous { operation_id, .. }) = dying.patch(&old, patch()).await else {
        panic!("it was answered");
    };
    let patched = store.with_operation_id(operation_id).patch(&old, patch()).await.unwrap();
    assert_eq!(patched.version.get(), old.version().get() + 1);
    assert!(store.with_operation_id(operation_id).refresh(&old).await.unwrap().is_some());
    assert_eq!(store.get(old.id()).await.unwrap().unwrap().version(), patched.version);
}
