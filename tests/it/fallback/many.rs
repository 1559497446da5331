//! Many sessions at once, of a store that may be away.

use std::time::Duration;

use cloakroom::fallback::{BreakerState, FallbackPolicy, Origin};
use cloakroom::{NewSession, Obstacle, OperationId, Refusal, SessionStore as _};

use super::{World, obstacle};
use crate::support::expect::{refusal, session_id};

const LOCAL: FallbackPolicy = FallbackPolicy::LocalOnly { ttl: Duration::from_secs(60) };

fn named(name: &str) -> NewSession {
    NewSession::new().id(session_id(name)).user("ann").connection(format!("connection-{name}"))
}

#[tokio::test]
async fn a_batch_is_made_by_one_call_of_the_store_while_that_is_there() {
    let world = World::new(LOCAL).await;
    world.hooked.take_calls();
    let made = world.store.create_many(["a", "b"].map(named).to_vec()).await;
    assert_eq!(world.hooked.take_calls(), ["create_many"]);
    for created in made {
        let session = created.unwrap().session;
        assert_eq!(session.origin(), Origin::Store);
        assert_eq!(world.other.get(session.id()).await.unwrap(), Some(session));
    }
    // What the store was seen to make is known when it is away.
    world.cut_off().await;
    assert!(world.store.refresh(&session_id("a")).await.unwrap().is_some());
    world.mend().await;
}

#[tokio::test]
async fn a_batch_is_made_here_while_the_store_is_away_and_brought_there() {
    let world = World::new(LOCAL).await;
    world.store.create(named("seen")).await.unwrap();
    world.cut_off().await;
    let handle = world.store.with_operation_id(OperationId::random());
    let new = || vec![named("a"), named("seen"), NewSession::new(), NewSession::new()];
    let first = handle.create_many(new()).await;
    assert_eq!(first.len(), 4);
    let mut ids = Vec::new();
    for (at, answer) in first.into_iter().enumerate() {
        if at == 1 {
            assert_eq!(refusal(answer), Refusal::Exists);
        } else {
            let session = answer.unwrap().session;
            assert_eq!(session.origin(), Origin::Local);
            ids.push(session.id().clone());
        }
    }
    let again = handle.create_many(new()).await;
    let again: Vec<_> = again.into_iter().flatten().map(|created| created.session.id().clone()).collect();
    assert_eq!(again, ids, "the same call makes the same");
    world.mend().await;
    for id in &ids {
        assert!(world.other.get(id).await.unwrap().is_some());
    }
    let imported = world.report().await.imported;
    assert!(ids.iter().all(|id| imported.contains(id)), "{imported:?}");
    world.context.check().await;
}

#[tokio::test]
async fn a_batch_that_is_lost_is_one_failure_and_rejected_once_the_breaker_is_open() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let new = || (0..150).map(|_| NewSession::new()).collect::<Vec<_>>();
    world.proxy.cut_off(true);
    assert!(world.store.create_many(new()).await.iter().all(Result::is_err));
    assert_eq!(world.store.stats().breaker, BreakerState::Closed, "the first of two failures");
    assert!(world.store.create_many(new()).await.iter().all(Result::is_err));
    assert_ne!(world.store.stats().breaker, BreakerState::Closed);
    let rejected = world.store.create_many(new()).await;
    assert_eq!(rejected.len(), 150);
    for answer in rejected {
        assert_eq!(obstacle(answer), Obstacle::CircuitOpen);
    }
    world.proxy.cut_off(false);
}
