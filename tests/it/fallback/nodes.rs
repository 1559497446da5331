//! Leases, recovery and writes by nodes: the store executes them all, whatever the policy.

use std::time::Duration;

use cloakroom::fallback::{FallbackPolicy, Origin};
use cloakroom::nodes::{Claim, Heartbeat, HeartbeatReply, NodeIdentity};
use cloakroom::{Binding, NewSession, Obstacle, Patch, Refusal};

use super::{World, obstacle};
use crate::support::expect::{refusal, session_id};
use crate::support::leases::{register, session_at};

const POLICIES: [FallbackPolicy; 3] = [
    FallbackPolicy::FailClosed,
    FallbackPolicy::ServeStale { max_age: Duration::from_secs(60) },
    FallbackPolicy::LocalOnly { ttl: Duration::from_secs(60) },
];

fn red() -> Patch {
    Patch::new().set("color", "red").unwrap()
}

#[tokio::test]
async fn while_the_store_is_there_they_are_as_without() {
    for policy in POLICIES {
        let world = World::new(policy).await;
        let store = world.handle();
        let dead = register(&store, "dead").await;
        let session = session_at(&store, "dead", "one").await;
        store.as_node(&dead).patch(&session, red()).await.unwrap();
        world.context.lapse();
        let live = register(&store, "live").await;
        assert_eq!(store.lapsed_nodes().await.unwrap(), ["dead"]);
        assert_eq!(store.nodes().await.unwrap().len(), 2);
        let claimed = store.recover(Claim::new("dead", "live").as_node(&live)).await.unwrap();
        assert_eq!(claimed.sessions.len(), 1);
        assert_eq!(refusal(store.as_node(&dead).patch(&session, red()).await), Refusal::Fenced);
        let bound = store.as_node(&live).bind(&session_id("one"), Binding::new("new")).await.unwrap();
        assert_eq!(bound.version.get(), 4);
        world.context.check().await;
    }
}

#[tokio::test]
async fn while_the_store_is_away_they_fail_and_this_process_keeps_nothing_of_them() {
    for policy in POLICIES {
        let world = World::new(policy).await;
        let store = world.handle();
        let holder = register(&store, "n").await;
        let session = session_at(&store, "n", "one").await;
        world.cut_off().await;
        let owner = store.as_node(&holder);
        let open = Obstacle::CircuitOpen;
        assert_eq!(obstacle(store.heartbeat(&holder, Heartbeat::renew()).await), open);
        assert_eq!(obstacle(store.nodes().await), open);
        assert_eq!(obstacle(store.lapsed_nodes().await), open);
        assert_eq!(obstacle(store.recover(Claim::new("n", "live")).await), open);
        assert_eq!(obstacle(owner.create(NewSession::new()).await), open);
        assert_eq!(obstacle(owner.patch(&session, red()).await), open);
        assert_eq!(obstacle(owner.refresh(&session).await), open);
        assert_eq!(obstacle(owner.bind(&session, Binding::new("new")).await), open);
        assert_eq!(obstacle(owner.delete(&session).await), open);
        assert_eq!(world.store.stats().local, 0, "{policy:?}");
        world.mend().await;
        owner.patch(&session, red()).await.unwrap();
        world.context.check().await;
    }
}

#[tokio::test]
async fn a_node_does_not_write_to_a_session_that_this_process_keeps_meanwhile() {
    let world = World::new(POLICIES[2]).await;
    let store = world.handle();
    let holder = register(&store, "n").await;
    let session = session_at(&store, "n", "one").await;
    world.cut_off().await;
    // A call of nobody in particular takes it in.
    store.patch(&session, red()).await.unwrap();
    assert_eq!(store.get(session.id()).await.unwrap().unwrap().origin(), Origin::Local);
    let owner = store.as_node(&holder);
    assert_eq!(obstacle(owner.patch(&session, red()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(owner.delete(&session).await), Obstacle::CircuitOpen);
    assert!(store.get(session.id()).await.unwrap().is_some());
    world.mend().await;
    assert_eq!(
        owner.patch(&session, red()).await.unwrap().version.get(),
        3,
        "behind the one that it did not write to"
    );
    world.context.check().await;
}

#[tokio::test]
async fn what_was_recovered_is_not_answered_with_from_before() {
    let world = World::new(POLICIES[1]).await;
    let store = world.handle();
    let session = session_at(&store, "dead", "one").await;
    register(&store, "live").await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    store.recover(Claim::new("dead", "live")).await.unwrap();
    world.cut_off().await;
    assert_eq!(obstacle(store.get(session.id()).await), Obstacle::CircuitOpen);
    let status =
        world.other.heartbeat(&NodeIdentity::new("live").unwrap(), Heartbeat::register()).await.unwrap();
    assert!(matches!(status, HeartbeatReply::HeldByAnother { .. }));
}
