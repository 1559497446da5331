//! Sessions that go to a node of the other store.

use cloakroom::migration::{Destination, Freezing, Import, MigrationTask, Outcome, TaskId};
use cloakroom::{Error, Invalid, NewSession, Patch, Refusal, Selector, Session, SessionId, Status};
use rstest::rstest;

use super::World;
use super::steps::lost_after;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::Store;
use crate::support::expect::refusal;
use crate::support::sessions::create_many;

async fn goes(world: &World, id: &SessionId, destination: Destination) -> cloakroom::Result<Outcome> {
    let task = MigrationTask::new(id.clone(), destination);
    let manager = world.manager();
    let outcome = manager.submit(task).await.unwrap().await.unwrap().outcome;
    manager.close().await;
    outcome
}

fn to(node: &str) -> Destination {
    Destination::RemoteNode(node.to_owned())
}

/// That a session is at a node that was not its own, to which its client has still to connect.
async fn is_at(store: &Store, node: &str, before: &Session) {
    let found = store.get(before.id()).await.unwrap().unwrap();
    assert_eq!((found.node(), found.connection(), found.status()), (Some(node), None, Status::Suspended));
    assert_eq!(found.version().get(), before.version().get() + 1, "no copy in hand is saved over it");
    assert_eq!((found.user(), found.attributes()), (before.user(), before.attributes()));
    assert_eq!(
        (found.expires_at_ms(), found.created_at_ms()),
        (before.expires_at_ms(), before.created_at_ms())
    );
    assert_eq!(store.count(&Selector::node(node)).await.unwrap(), 1);
}

#[rstest]
#[case(Memory, Redis)]
#[case(Redis, Memory)]
#[case(Redis, Redis)]
#[case(Memory, Memory)]
#[tokio::test]
async fn a_session_goes_to_a_node_of_the_other_store_and_to_one_of_its_own(
    #[case] from: On,
    #[case] there: On,
) {
    let world = World::new(from, there).await;
    let mut session = world.from.session(&world.local, "a").await;
    assert_eq!(goes(&world, session.id(), to("m")).await.unwrap(), Outcome::Arrived);
    is_at(&world.remote, "m", &session).await;
    world.is_settled().await;
    let conflict = refusal(world.remote.update(&mut session).await);
    assert!(matches!(conflict, Refusal::Conflict { .. }), "an older copy was saved: {conflict:?}");

    let there = world.remote.get(session.id()).await.unwrap().unwrap();
    let back = Destination::LocalNode("k".to_owned());
    assert_eq!(goes(&world, session.id(), back).await.unwrap(), Outcome::Arrived);
    is_at(&world.local, "k", &there).await;
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_session_that_has_the_node_already_comes_as_it_is(#[values(Redis, Spread, Memory)] on: On) {
    let world = World::new(on, on).await;
    let session = world.from.session(&world.local, "a").await;
    assert_eq!(goes(&world, session.id(), to("node-a")).await.unwrap(), Outcome::Arrived);
    world.has_moved(&session).await;
}

#[rstest]
#[tokio::test]
async fn whoever_resumes_brings_it_to_the_node_that_was_named(#[values(Redis, Spread, Memory)] on: On) {
    let mut moved = 0;
    for calls in 0.. {
        let world = World::new(on, on).await;
        let session = world.from.session(&world.local, "a").await;
        let task = MigrationTask::new(session.id().clone(), to("m"));
        if !lost_after(&world, task, calls).await {
            break;
        }
        let resumed = world.manager().resume().await.unwrap();
        assert_eq!(resumed.failed(), 0, "after {calls} calls: {resumed:?}");
        if world.remote.get(session.id()).await.unwrap().is_some() {
            moved += 1;
            is_at(&world.remote, "m", &session).await;
            world.is_settled().await;
        } else {
            world.has_stayed(&session).await;
        }
    }
    assert!(moved >= 4, "it was finished from {moved} steps on");
}

#[rstest]
#[tokio::test]
async fn a_copy_of_a_later_freeze_takes_the_place_of_one_that_was_handed_over(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = World::new(on, on).await;
    let session = world.from.session(&world.local, "a").await;
    let id = TaskId::random();
    let task = || MigrationTask::new(session.id().clone(), to("m")).id(id);
    assert!(lost_after(&world, task(), 1).await, "frozen and imported");
    world.from.clock.advance(std::time::Duration::from_secs(60));
    let patch = Patch::new().set("color", "red").unwrap();
    world.local.patch(session.id(), patch).await.unwrap();
    let patched = world.local.get(session.id()).await.unwrap().unwrap();
    let manager = world.manager();
    let report = manager.submit(task()).await.unwrap().await.unwrap();
    assert_eq!(report.outcome.unwrap(), Outcome::Arrived);
    manager.close().await;
    is_at(&world.remote, "m", &patched).await;
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_node_is_drained_into_one_of_the_other_store(#[values(Redis, Spread, Memory)] on: On) {
    let world = World::new(on, on).await;
    create_many(&world.local, 20, |number| NewSession::new().node("n").connection(format!("c-{number}")))
        .await;
    let manager = world.manager();
    let mut drain = manager.drain_node("n", to("m"), 1_000_000).unwrap();
    assert_eq!(drain.done().await.unwrap().moved, 20);
    manager.close().await;
    assert_eq!(world.local.count(&Selector::node("n")).await.unwrap(), 0);
    assert_eq!(world.remote.count(&Selector::node("m")).await.unwrap(), 20);
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_node_that_cannot_be_is_named_and_nothing_changes(#[values(Redis, Spread, Memory)] on: On) {
    let world = World::new(on, on).await;
    let session = world.from.session(&world.local, "a").await;
    let export = world.local.export(session.id()).await.unwrap().unwrap();
    let before = (world.from.dump().await, world.to.dump().await);
    let task = TaskId::random();
    for node in ["", &*"x".repeat(257)] {
        let refused = [
            goes(&world, session.id(), to(node)).await.map(drop),
            world.manager().drain_node("n", to(node), 1).map(drop),
            world
                .remote
                .import(Import::new(export.clone()).incoming(task, 1, "local").node(node))
                .await
                .map(drop),
        ];
        for error in refused {
            assert!(matches!(error, Err(Error::Invalid(Invalid { field: "node id", .. }))), "{error:?}");
        }
    }
    let long = Freezing::new(task, "remote").node("x".repeat(257));
    let refused = [
        world.local.freeze(&session, long).await.map(drop),
        // There it would be a change like any other.
        world.remote.import(Import::new(export).node("m")).await.map(drop),
    ];
    for error in refused {
        assert!(matches!(error, Err(Error::Invalid(Invalid { field: "node id", .. }))), "{error:?}");
    }
    assert_eq!((world.from.dump().await, world.to.dump().await), before);
}
