//! Races for the sessions of a dead node.

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::nodes::{Claim, Heartbeat, LeaseStatus, NodeIdentity};
use cloakroom::{Binding, Error, NewSession, Refusal, Result, Rotation, Rules, Selector, Session, SessionId};
use futures::future::{BoxFuture, FutureExt as _};
use rstest::rstest;

use super::{Race, two_stores};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{On, Store};
use crate::support::sessions::{create_many, ids};

const ROUNDS: usize = 20;
const SESSIONS: usize = 40;

/// Registers a node for longer than any test takes.
async fn register(store: &Store, node: &str) -> LeaseStatus {
    let beat = Heartbeat::register().lease(Duration::from_secs(3600));
    store.heartbeat(&NodeIdentity::new(node).unwrap(), beat).await.unwrap()
}

/// Sessions of a node that never held a lease, as one that crashed and is forgotten.
async fn sessions_of(store: &Store, node: &str) -> Vec<Session> {
    create_many(store, SESSIONS, |_| NewSession::new().node(node)).await
}

/// Takes all of a node's sessions, a batch after the other, and returns those that it got.
async fn take_all(store: Store, node: String, to: &'static str) -> (Vec<SessionId>, Option<Error>) {
    let (mut claim, mut taken) = (Claim::new(node, to).batch(3), Vec::new());
    loop {
        match store.recover(claim.clone()).await {
            Ok(claimed) => {
                taken.extend(claimed.sessions.into_iter().map(|session| session.id));
                match claimed.next {
                    Some(next) => claim = claim.after(next),
                    None => return (taken, None),
                }
            }
            Err(error) => return (taken, Some(error)),
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_several_recoverers_each_session_is_taken_by_one_and_none_is_left(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let nodes = ["one", "two", "three"];
    for node in nodes {
        register(&store, node).await;
    }
    for round in 0..ROUNDS {
        let dead = format!("dead-{round}");
        let expected: BTreeSet<SessionId> = ids(&sessions_of(&store, &dead).await).into_iter().collect();
        let mut race = Race::new();
        for (node, store) in nodes.into_iter().zip([&store, &other, &store]) {
            race.add(take_all(store.clone(), dead.clone(), node));
        }
        let mut taken = Vec::new();
        for (ids, error) in race.run().await {
            assert!(error.is_none(), "{error:?}");
            taken.extend(ids);
        }
        assert_eq!(taken.len(), SESSIONS, "taken twice, or not at all");
        assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    let mut total = 0;
    for node in nodes {
        total += store.count(&Selector::node(node)).await.unwrap();
    }
    assert_eq!(total, (ROUNDS * SESSIONS) as u64);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_while_it_is_recovered_keeps_what_was_not_taken(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    register(&store, "live").await;
    for round in 0..ROUNDS {
        let dead = format!("dead-{round}");
        let expected: BTreeSet<SessionId> = ids(&sessions_of(&store, &dead).await).into_iter().collect();
        let recovery = tokio::spawn(take_all(store.clone(), dead.clone(), "live"));
        // Later in each round, so that it comes back before, in and after the recovery.
        while on_its_way(&other, &dead).await > SESSIONS - 2 * round && !recovery.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(register(&other, &dead).await, LeaseStatus::Held { .. }));
        let (taken, error) = recovery.await.unwrap();
        match error {
            None => assert_eq!(taken.len(), SESSIONS),
            Some(Error::Refused(Refusal::Leased { .. })) => {}
            Some(error) => panic!("{error:?}"),
        }
        for id in &expected {
            let session = store.get(id).await.unwrap().unwrap();
            let owner = if taken.contains(id) { "live" } else { &dead };
            assert_eq!(session.node(), Some(owner));
        }
    }
    context.check().await;
}

async fn on_its_way(store: &Store, node: &str) -> usize {
    usize::try_from(store.count(&Selector::node(node)).await.unwrap()).unwrap()
}

type Call = fn(Store, Session) -> BoxFuture<'static, Result<()>>;

/// Runs a call on each session of a dead node while that is recovered, and recovers what is left then.
async fn against_recovery(context: &Context, store: &Store, other: &Store, call: Call) -> Vec<SessionId> {
    register(store, "live").await;
    let sessions = sessions_of(store, "dead").await;
    let mut race = Race::new();
    race.add(take_all(store.clone(), "dead".to_owned(), "live").map(|(_, error)| error.map_or(Ok(()), Err)));
    for session in &sessions {
        race.add(call(other.clone(), session.clone()));
    }
    for outcome in race.run().await {
        outcome.unwrap();
    }
    // What was given a new id between the reading of a page and its taking.
    let (_, error) = take_all(store.clone(), "dead".to_owned(), "live").await;
    assert!(error.is_none(), "{error:?}");
    assert!(!context.exists(&context.node_key("dead")).await, "something is left with the dead node");
    context.check().await;
    ids(&sessions)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_binds_elsewhere_while_its_session_is_recovered_stays_there(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let bind: Call = |store, session| {
        async move {
            let binding = Binding::new(session.id().as_str()).node("third");
            store.bind(&session, binding).await.map(drop)
        }
        .boxed()
    };
    for id in against_recovery(&context, &store, &other, bind).await {
        let session = store.get(&id).await.unwrap().unwrap();
        assert_eq!((session.node(), session.connection()), (Some("third"), Some(id.as_str())));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_deleted_while_it_is_recovered_is_gone(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let delete: Call = |store, session| {
        async move {
            assert!(store.delete(&session).await?);
            Ok(())
        }
        .boxed()
    };
    for id in against_recovery(&context, &store, &other, delete).await {
        assert!(store.get(&id).await.unwrap().is_none(), "it came back");
    }
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_used_while_it_is_recovered_is_taken_and_lives(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new().refresh_threshold(1.0)).await;
    let refresh: Call = |store, session| {
        async move {
            assert!(store.refresh(&session).await?.is_some());
            Ok(())
        }
        .boxed()
    };
    for id in against_recovery(&context, &store, &other, refresh).await {
        assert_eq!(store.get(&id).await.unwrap().unwrap().node(), Some("live"));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_rotated_while_it_is_recovered_is_taken_under_its_new_id(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let rotate: Call = |store, session| {
        async move { store.rotate(&session, Rotation::new().user("ann")).await.map(drop) }.boxed()
    };
    against_recovery(&context, &store, &other, rotate).await;
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), SESSIONS as u64);
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), SESSIONS as u64);
}
