//! Sessions handed from one node to another of one store: whole, once, and never away from a client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::migration::{Destination, Freezing, MigrationManager, MigrationTask, Outcome, Report, TaskId};
use cloakroom::{Binding, Error, Invalid, NewSession, Refusal, Selector, Session, SessionId, Status};
use rstest::rstest;

use super::World;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{refusal, session_id};
use crate::support::hooked::Hooked;
use crate::support::leases::register;
use crate::support::sessions::create_many;

/// Two stores, of whose local one the node "takes" holds its lease.
async fn world(on: On) -> World {
    let world = World::new(on, Memory).await;
    register(&world.local, "takes").await;
    world
}

/// A manager whose local store can be stopped.
fn hooked(world: &World) -> (MigrationManager, Hooked) {
    let hooked = Hooked::new(world.local.clone());
    let manager = MigrationManager::builder(Arc::new(hooked.clone()), world.remote.clone());
    (manager.build().unwrap(), hooked)
}

fn takes() -> Destination {
    Destination::Node("takes".to_owned())
}

async fn report(manager: &MigrationManager, task: MigrationTask) -> Report {
    manager.submit(task).await.unwrap().await.unwrap()
}

async fn hand_over(manager: &MigrationManager, id: &SessionId, to: &str) -> Result<Outcome, Error> {
    report(manager, MigrationTask::new(id.clone(), Destination::Node(to.to_owned()))).await.outcome
}

async fn found(world: &World, id: &SessionId) -> Session {
    world.local.get(id).await.unwrap().unwrap()
}

/// Its client comes to a third node.
async fn bind_elsewhere(world: &World, session: &Session) {
    world.local.bind(session, Binding::new("new").node("third")).await.unwrap();
}

async fn is_elsewhere(world: &World, id: &SessionId) {
    let found = found(world, id).await;
    assert_eq!(
        (found.node(), found.connection(), found.status()),
        (Some("third"), Some("new"), Status::Active)
    );
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_session_is_handed_over_whole_by_a_task_and_its_callback_is_told(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = world(on).await;
    let session = world.from.session(&world.local, "a").await;
    let other = world.from.session(&world.local, "b").await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    let task = MigrationTask::new(session.id().clone(), takes()).on_report(move |report| {
        let moved = matches!(report.outcome, Ok(Outcome::Arrived));
        tells.lock().unwrap().push((report.task, report.session.clone(), moved));
    });
    let id = task.task_id();
    let report = report(&world.manager(), task).await;
    assert_eq!((report.task, &report.session), (id, session.id()));
    assert_eq!(report.outcome.unwrap(), Outcome::Arrived);
    assert_eq!(*told.lock().unwrap(), [(id, session.id().clone(), true)]);

    let after = found(&world, session.id()).await;
    assert_eq!((after.node(), after.connection(), after.status()), (Some("takes"), None, Status::Suspended));
    assert_eq!((after.user(), after.version().get()), (session.user(), 2));
    assert_eq!(after.get::<String>("color").unwrap().as_deref(), Some("green"));
    assert_eq!(after.expires_at_ms(), session.expires_at_ms());
    assert_eq!(found(&world, other.id()).await, other, "no other is touched");
    assert_eq!(world.remote.get(session.id()).await.unwrap(), None);
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_task_that_is_submitted_again_hands_over_once(#[values(Redis, Spread, Memory)] on: On) {
    let world = world(on).await;
    let session = world.from.session(&world.local, "a").await;
    let (manager, id) = (world.manager(), TaskId::random());
    for _ in 0..3 {
        let report = report(&manager, MigrationTask::new(session.id().clone(), takes()).id(id)).await;
        assert_eq!((report.task, report.outcome.unwrap()), (id, Outcome::Arrived));
        assert_eq!(found(&world, session.id()).await.version().get(), 2);
    }
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn an_answer_that_is_lost_is_invisible(#[values(Redis, Spread, Memory)] on: On) {
    for call in ["get", "recover"] {
        let world = world(on).await;
        let session = world.from.session(&world.local, "a").await;
        let (manager, hooked) = hooked(&world);
        hooked.lose_answer(call);
        assert_eq!(hand_over(&manager, session.id(), "takes").await.unwrap(), Outcome::Arrived, "{call}");
        assert!(hooked.take_calls().iter().filter(|it| **it == call).count() >= 2, "{call}");
        assert_eq!(found(&world, session.id()).await.version().get(), 2, "{call}");
        world.is_settled().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_session_that_its_client_takes_to_a_third_node_meanwhile_is_left_there(
    #[values(Redis, Spread, Memory)] on: On,
    #[values(false, true)] was_taken: bool,
) {
    let world = world(on).await;
    let session = world.from.session(&world.local, "a").await;
    let (manager, hooked) = hooked(&world);
    let gate = if was_taken { hooked.stop_and_lose("recover") } else { hooked.stop_before("recover") };
    let (outcome, ()) = tokio::join!(hand_over(&manager, session.id(), "takes"), async {
        gate.reached().await;
        bind_elsewhere(&world, &session).await;
        gate.open();
    });
    assert_eq!(outcome.unwrap(), Outcome::Elsewhere);
    is_elsewhere(&world, session.id()).await;
}

#[rstest]
#[tokio::test]
async fn a_session_that_was_rotated_is_handed_over_under_its_new_id(#[values(Redis, Memory)] on: On) {
    let world = world(on).await;
    let session = world.from.session(&world.local, "a").await;
    let rotation = cloakroom::Rotation::new().new_id(session_id("new"));
    world.local.rotate(&session, rotation).await.unwrap();
    let report = report(&world.manager(), MigrationTask::new(session.id().clone(), takes())).await;
    assert_eq!((report.session.as_str(), report.outcome.unwrap()), ("new", Outcome::Arrived));
    assert_eq!(found(&world, &session_id("new")).await.node(), Some("takes"));
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_handed_over_says_why_and_nothing_changes(#[values(Redis, Spread, Memory)] on: On) {
    let world = world(on).await;
    let manager = world.manager();
    for id in world.from.not_live(&world.local, Duration::from_secs(30 * 60)).await {
        assert_eq!(hand_over(&manager, &id, "takes").await.unwrap(), Outcome::Missing);
    }
    register(&world.local, "takes").await;
    let session = world.from.session(&world.local, "a").await;
    let frozen = world.from.session(&world.local, "frozen").await;
    let span = Duration::from_secs(30);
    world.local.freeze(&frozen, Freezing::new(TaskId::random(), "elsewhere").span(span)).await.unwrap();
    let nowhere = world.local.create(NewSession::new()).await.unwrap().session;
    let before = world.from.dump().await;
    assert_eq!(refusal(hand_over(&manager, session.id(), "nobody").await), Refusal::Fenced);
    assert_eq!(refusal(hand_over(&manager, frozen.id(), "takes").await), Refusal::Frozen);
    for (id, to, expected) in [
        (nowhere.id(), "takes", "session has no node, must have one"),
        (session.id(), "", "node id is empty"),
    ] {
        let error = hand_over(&manager, id, to).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)));
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(world.from.dump().await, before);
    world.from.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_is_drained_to_another_of_its_store(#[values(Redis, Spread, Memory)] on: On) {
    let world = world(on).await;
    let new = |number: usize| {
        let node = if number < 250 { "leaves" } else { "stays" };
        NewSession::new().user(format!("user-{}", number % 7)).node(node).connection(format!("c-{number}"))
    };
    let sessions = create_many(&world.local, 260, new).await;
    let manager = world.manager();
    let progress = manager.drain_node("leaves", takes(), 1_000_000).unwrap().done().await.unwrap();
    assert_eq!((progress.moved, progress.failed, progress.missing), (250, 0, 0));
    for (node, count) in [("leaves", 0), ("stays", 10), ("takes", 250)] {
        assert_eq!(world.local.count(&Selector::node(node)).await.unwrap(), count, "{node}");
    }
    for session in &sessions[..250] {
        assert_eq!(found(&world, session.id()).await.version().get(), 2);
    }
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_drain_leaves_a_client_alone_that_has_gone_to_a_third_node(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = world(on).await;
    let session = world.from.session(&world.local, "a").await;
    let (manager, hooked) = hooked(&world);
    let gate = hooked.stop_before("get");
    let mut drain = manager.drain_node("node-a", takes(), 1000).unwrap();
    gate.reached().await;
    bind_elsewhere(&world, &session).await;
    gate.open();
    let progress = drain.done().await.unwrap();
    assert_eq!((progress.moved, progress.missing, progress.failed), (0, 1, 0));
    is_elsewhere(&world, session.id()).await;
}

#[rstest]
#[tokio::test]
async fn a_drain_to_a_node_that_cannot_take_them_ends_and_one_to_itself_does_not_begin(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = world(on).await;
    let session = world.from.session(&world.local, "a").await;
    let manager = world.manager();
    let nobody = Destination::Node("nobody".to_owned());
    let progress = manager.drain_node("node-a", nobody, 1000).unwrap().done().await.unwrap();
    assert_eq!((progress.moved, progress.failed > 0), (0, true));
    assert_eq!(found(&world, session.id()).await, session);
    for node in ["", "node-a"] {
        let refused = manager.drain_node("node-a", Destination::Node(node.to_owned()), 1);
        assert!(matches!(refused, Err(Error::Invalid(Invalid { field: "node id", .. }))), "{node:?}");
    }
    world.is_settled().await;
}
