//! Races for what several sessions share: a user, a connection, the expiry index.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::{
    Binding, Error, NewSession, OnLimit, PageRequest, Refusal, Rotation, Rules, Selector, SessionId, Status,
};
use futures::future::FutureExt as _;
use rstest::rstest;
use tokio::sync::Barrier;

use super::{Orders, Race, Start, two_stores, two_stores_at};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};

fn text(id: &SessionId) -> String {
    id.as_str().to_owned()
}

/// The ids of the live sessions of a user.
async fn live(store: &Store, user: &str) -> BTreeSet<String> {
    let page = store.list(&Selector::user(user), &PageRequest::first(500)).await;
    page.unwrap().sessions.iter().map(|session| text(session.id())).collect()
}

/// Repeats a call that lost every one of its rounds to others, as `NotExecuted` allows.
macro_rules! contended {
    ($call:expr) => {
        loop {
            match $call.await {
                Err(Error::NotExecuted { reason: cloakroom::Obstacle::Contended, .. }) => {}
                outcome => break outcome,
            }
        }
    };
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_logins_at_a_limit_that_evicts_leave_that_many_and_evict_each_once(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let rules = Rules::new().sessions_per_user(3, OnLimit::EvictOldest);
    let stores = two_stores(&context, rules).await;
    let mut race = Race::new();
    for number in 0..32_usize {
        let store = stores[number % 2].clone();
        let new = NewSession::new().user("ann").connection(format!("c{number}")).node("n");
        race.add(async move { contended!(store.create(new.clone())).unwrap() });
    }
    let created = race.run().await;
    let mut gone = BTreeSet::new();
    for removed in created.iter().flat_map(|created| &created.evicted) {
        assert!(gone.insert(text(&removed.id)), "evicted twice");
        assert!(removed.connection.is_some(), "its connection is to be closed");
    }
    let live = live(&stores[0], "ann").await;
    assert_eq!(live.len(), 3);
    assert_eq!(stores[1].count(&Selector::user("ann")).await.unwrap(), 3);
    let all: BTreeSet<_> = created.iter().map(|created| text(created.session.id())).collect();
    assert!(live.is_disjoint(&gone));
    assert_eq!(all, live.union(&gone).cloned().collect());
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_logins_at_a_limit_that_rejects_leave_exactly_that_many(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let rules = Rules::new().sessions_per_user(3, OnLimit::Reject);
    let stores = two_stores(&context, rules).await;
    let mut race = Race::new();
    for number in 0..32_usize {
        let store = stores[number % 2].clone();
        race.add(async move { store.create(NewSession::new().user("ann")).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = race.run().await.into_iter().partition(Result::is_ok);
    for outcome in lost {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Refused(Refusal::Limit { live: 3 })), "{error:?}");
    }
    let won: BTreeSet<_> = won.iter().map(|created| text(created.as_ref().unwrap().session.id())).collect();
    assert_eq!(won.len(), 3);
    assert_eq!(live(&stores[0], "ann").await, won);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn two_creates_at_limit_1_leave_one_live_and_tell_whom_the_other_was(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let rules = Rules::new().sessions_per_user(1, OnLimit::EvictOldest);
    let stores = two_stores(&context, rules).await;
    let mut orders = Orders::default();
    for round in 0..20 {
        let user = format!("user-{round}");
        let mut race = Race::new();
        for store in stores.clone() {
            let new = NewSession::new().user(&user);
            race.add(async move { contended!(store.create(new.clone())).unwrap() });
        }
        let start = Start::of(round);
        let created = race.run_as(start).await;
        let evicted: Vec<_> = created.iter().flat_map(|created| &created.evicted).collect();
        let live = live(&stores[0], &user).await;
        assert_eq!((live.len(), evicted.len()), (1, 1));
        assert!(!live.contains(evicted[0].id.as_str()));
        orders.note(start, usize::from(created[1].session.id() == &evicted[0].id));
    }
    orders.are_both();
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_reapers_return_each_expired_session_to_one_of_them(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = Rules::new().ttl(Duration::from_secs(60));
    let stores = two_stores_at(&context, rules).await;
    let mut all = BTreeSet::new();
    for number in 0..300 {
        let new = NewSession::new().user(format!("u{}", number % 7)).connection(format!("c{number}"));
        all.insert(text(stores[0].create(new).await.unwrap().session.id()));
    }
    context.clock.advance(Duration::from_secs(60));
    let mut race = Race::new();
    // None takes a second batch before all have one.
    let all_have_one = Arc::new(Barrier::new(8));
    for number in 0..8 {
        let (store, all_have_one) = (stores[number % 2].clone(), all_have_one.clone());
        race.add(async move {
            let mut reaped = Vec::new();
            while !store.expired(None, 0, 1).await.unwrap().is_empty() {
                let batch = store.reap(7 + number).await.unwrap();
                // One whose batch the others took meanwhile gets nothing, and tries again.
                if reaped.is_empty() && !batch.sessions.is_empty() {
                    all_have_one.wait().await;
                }
                reaped.extend(batch.sessions.iter().map(|session| text(session.id())));
            }
            reaped
        });
    }
    let reaped = race.run().await;
    assert!(reaped.iter().all(|reaped| !reaped.is_empty()), "each took part");
    let reaped = reaped.concat();
    assert_eq!(reaped.len(), 300, "none is returned twice");
    assert_eq!(reaped.into_iter().collect::<BTreeSet<_>>(), all);
    assert!(context.keys_but_expiry().await.is_empty(), "nothing is left of them");
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn one_connection_bound_by_many_with_takeover_has_one_holder_at_the_end(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let stores = two_stores(&context, Rules::new()).await;
    let mut race = Race::new();
    let mut ids = Vec::new();
    for number in 0..16_usize {
        let (store, name) = (stores[number % 2].clone(), number.to_string());
        let session = context.session(&store, &name).await;
        ids.push(session.id().clone());
        race.add(async move {
            let binding = Binding::new("shared").node(format!("gateway-{name}")).take_over();
            contended!(store.bind(&session, binding.clone())).unwrap()
        });
    }
    let bound = race.run().await;
    let losers: BTreeSet<_> = bound.iter().filter_map(|bound| bound.taken_from.as_ref().map(text)).collect();
    assert_eq!(losers.len(), 15, "all but the last lost it, each once");
    let holder = stores[0].session_by_connection("shared").await.unwrap().unwrap();
    assert!(!losers.contains(holder.id().as_str()));
    for id in &ids {
        let session = stores[1].get(id).await.unwrap().unwrap();
        if id == holder.id() {
            assert_eq!((session.connection(), session.status()), (Some("shared"), Status::Active));
        } else {
            assert_eq!((session.connection(), session.node()), (None, None));
            assert_eq!((session.status(), session.version().get()), (Status::Suspended, 3));
        }
    }
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_bind_to_a_new_connection_stands_whenever_the_old_one_disconnects(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..40 {
        let session = context.session(&store, &round.to_string()).await;
        let (old, new) = (format!("connection-{round}"), format!("new-{round}"));
        let mut race = Race::new();
        race.add({
            let (store, session, new) = (store.clone(), session.clone(), new.clone());
            async move {
                store.bind(&session, Binding::new(new).node("gateway")).await.unwrap();
                false
            }
            .boxed()
        });
        race.add({
            let (other, session) = (other.clone(), session.clone());
            async move { other.unbind(&session, &old).await.unwrap() }.boxed()
        });
        let start = Start::of(round);
        let was_detached = race.run_as(start).await[1];
        orders.note(start, usize::from(was_detached));
        let found = store.session_by_connection(&new).await.unwrap().unwrap();
        assert_eq!(found.id(), session.id());
        assert_eq!(
            found.version().get(),
            if was_detached { 3 } else { 2 },
            "the disconnect came first, or did nothing"
        );
        assert_eq!((found.status(), found.node()), (Status::Active, Some("gateway")));
        assert!(!context.exists(&context.key(format!("connection:connection-{round}:session"))).await);
    }
    orders.are_both();
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_everywhere_against_logins_removes_what_there_was_and_loses_track_of_none() {
    let context = Context::redis().await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let mut orders: [Orders; 3] = Default::default();
    for round in 0..20 {
        let user = format!("user-{round}");
        let mut before = Vec::new();
        for _ in 0..3 {
            let new = NewSession::new().user(&user);
            before.push(store.create(new).await.unwrap().session);
        }
        let guest = store.create(NewSession::new()).await.unwrap().session;
        let mut race = Race::new();
        race.add({
            let (store, user) = (store.clone(), user.clone());
            async move {
                let removed = store.delete_user(&user, None).await.unwrap().removed;
                (removed.iter().map(|removed| text(&removed.id)).collect::<Vec<_>>(), false)
            }
            .boxed()
        });
        race.add({
            let (other, user, session) = (other.clone(), user.clone(), before[1].clone());
            async move {
                let new = NewSession::new().user(&user);
                let rotation = Rotation::new().user(&user);
                let binding = Binding::new(format!("c-{round}")).node("gateway");
                let calls =
                    (other.create(new), other.rotate(&guest, rotation), other.bind(&session, binding));
                let (created, rotated, bound) = tokio::join!(calls.0, calls.1, calls.2);
                let is_bound = bound.map(|_| true).unwrap_or_else(|error| {
                    assert!(error.is_missing(), "{error:?}");
                    false
                });
                (vec![text(created.unwrap().session.id()), text(rotated.unwrap().session.id())], is_bound)
            }
            .boxed()
        });
        let start = Start::of(round);
        let [(removed, _), (made, is_bound)] = race.run_as(start).await.try_into().unwrap();
        for (orders, came_first) in
            orders.iter_mut().zip([removed.contains(&made[0]), removed.contains(&made[1]), is_bound])
        {
            orders.note(start, usize::from(came_first));
        }
        let ids = [removed, made];
        let live = live(&store, &user).await;
        for session in &before {
            let id = session.id().as_str();
            assert!(!live.contains(id), "it was there when it began");
        }
        let named: Vec<&String> = ids.iter().flatten().collect();
        let times = |id: &String| named.iter().filter(|named| **named == id).count();
        assert!(live.iter().all(|id| times(id) == 1), "made, not removed");
        let distinct: BTreeSet<&String> = named.iter().copied().collect();
        assert_eq!(distinct.len(), 5, "three of before, one created, one logged in");
        let removed_of_new = named.len() - distinct.len();
        assert_eq!(live.len() + removed_of_new, 2);
    }
    orders.iter().for_each(Orders::are_both);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_everywhere_does_not_miss_a_session_that_rotates_meanwhile(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..60 {
        let user = format!("user-{round}");
        let new = NewSession::new().user(&user);
        let session = store.create(new).await.unwrap().session;
        let mut race = Race::new();
        race.add({
            let (store, user) = (store.clone(), user.clone());
            async move { store.delete_user(&user, None).await.unwrap().removed.len() == 1 }.boxed()
        });
        race.add({
            let other = other.clone();
            async move {
                let rotated = other.rotate(&session, Rotation::new()).await;
                rotated.map(|_| true).unwrap_or_else(|error| {
                    assert!(error.is_missing(), "{error:?}");
                    false
                })
            }
            .boxed()
        });
        let start = Start::of(round);
        let [is_logged_out, is_rotated] = race.run_as(start).await.try_into().unwrap();
        assert!(is_logged_out, "it was logged out, once");
        orders.note(start, usize::from(is_rotated));
        assert_eq!(live(&store, &user).await.len(), 0);
        assert_eq!(store.count(&Selector::user(&user)).await.unwrap(), 0);
    }
    orders.are_both();
    context.check().await;
}
