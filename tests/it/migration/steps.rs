//! Loses every step, and ends the process at every step: simulated in this process by stores that are away from a
//! call on.

use std::time::Duration;

use cloakroom::Session;
use cloakroom::migration::{Destination, Freezing, MigrationManager, MigrationTask, Outcome, Phase, TaskId};
use rstest::rstest;

use super::World;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::hooked::Hooked;
use crate::support::sessions::ids;

/// The stores of a world, as one process sees them that loses its way after some calls.
struct Doomed {
    hooked: Hooked,
    manager: MigrationManager,
}

fn doomed(world: &World) -> Doomed {
    let hooked = Hooked::new(world.local.clone());
    let remote = hooked.beside(world.remote.clone());
    let builder = MigrationManager::builder(std::sync::Arc::new(hooked.clone()), std::sync::Arc::new(remote));
    let manager = builder.workers(1).freeze(Duration::from_millis(50)).build().unwrap();
    Doomed { hooked, manager }
}

fn to_remote(session: &Session, id: TaskId) -> MigrationTask {
    MigrationTask::new(session.id().clone(), Destination::Remote).id(id)
}

/// A task whose process loses both stores after so many calls, of which the last is done and its answer lost. False: it came
/// to its end before.
pub(super) async fn lost_after(world: &World, task: MigrationTask, calls: u64) -> bool {
    let Doomed { hooked, manager } = doomed(world);
    hooked.away_after(calls);
    let _ended_or_not = manager.submit(task).await.unwrap().await.unwrap();
    // Cleaning up comes after the end is told.
    manager.close().await;
    hooked.is_away()
}

#[rstest]
#[tokio::test]
async fn an_answer_that_is_lost_at_any_step_is_invisible(#[values(Redis, Spread, Memory)] on: On) {
    for call in ["freeze", "import", "depart", "thaw", "clean"] {
        let world = World::new(on, on).await;
        let session = world.from.session(&world.local, "a").await;
        let hooked = Hooked::new(world.local.clone());
        let remote = std::sync::Arc::new(hooked.beside(world.remote.clone()));
        let manager = MigrationManager::builder(std::sync::Arc::new(hooked.clone()), remote).build().unwrap();
        hooked.lose_answer(call);
        assert_eq!(super::moves(&manager, session.id()).await, Outcome::Arrived, "{call}");
        manager.close().await;
        assert_eq!(hooked.take_calls().iter().filter(|it| **it == call).count(), 2, "{call}");
        world.has_moved(&session).await;
    }
}

#[rstest]
#[tokio::test]
async fn whoever_resumes_brings_to_its_end_what_another_left_at_any_step(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let mut moved = 0;
    for calls in 0.. {
        let world = World::new(on, on).await;
        let session = world.from.session(&world.local, "a").await;
        let id = TaskId::random();
        if !lost_after(&world, to_remote(&session, id), calls).await {
            break;
        }
        let resumed = world.manager().resume().await.unwrap();
        assert_eq!(resumed.failed(), 0, "after {calls} calls: {resumed:?}");
        assert!(resumed.reports.iter().all(|report| report.task == id));
        if world.remote.get(session.id()).await.unwrap().is_some() {
            moved += 1;
            world.has_moved(&session).await;
        } else {
            world.has_stayed(&session).await;
        }
    }
    assert!(moved >= 4, "it was finished from {moved} steps on");
}

#[rstest]
#[tokio::test]
async fn what_was_changed_when_its_freeze_was_over_is_not_lost_to_an_older_copy(
    #[values(Redis, Spread, Memory)] on: On,
) {
    for calls in 0.. {
        let world = World::new(on, on).await;
        let session = world.from.session(&world.local, "a").await;
        let id = TaskId::random();
        if !lost_after(&world, to_remote(&session, id), calls).await {
            break;
        }
        world.from.clock.advance(Duration::from_secs(60));
        let patch = cloakroom::Patch::new().set("color", "red").unwrap();
        let patched = world.local.patch(session.id(), patch).await.is_ok();
        let manager = world.manager();
        let outcome = manager.submit(to_remote(&session, id)).await.unwrap().await.unwrap().outcome.unwrap();
        assert_eq!(outcome, Outcome::Arrived, "after {calls} calls");
        let found = world.remote.get(session.id()).await.unwrap().unwrap();
        let color = if patched { "red" } else { "green" };
        assert_eq!(found.get::<String>("color").unwrap().unwrap(), color, "after {calls} calls");
        manager.resume().await.unwrap();
        manager.close().await;
        world.is_settled().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_delete_wins_whichever_store_it_comes_to_and_whenever(#[values(Redis, Spread, Memory)] on: On) {
    for at_target in [false, true] {
        for calls in 0.. {
            let world = World::new(on, on).await;
            let session = world.from.session(&world.local, "a").await;
            if !lost_after(&world, to_remote(&session, TaskId::random()), calls).await {
                break;
            }
            let store = if at_target { &world.remote } else { &world.local };
            let deleted = matches!(store.delete(session.id()).await, Ok(Some(_)));
            let resumed = world.manager().resume().await.unwrap();
            assert_eq!(resumed.failed(), 0, "{resumed:?}");
            let left = [world.local.get(session.id()).await, world.remote.get(session.id()).await];
            let left = left.into_iter().filter(|found| matches!(found, Ok(Some(_)))).count();
            assert_eq!(left, usize::from(!deleted), "after {calls} calls, at target: {at_target}");
            world.is_settled().await;
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_freeze_that_nobody_finishes_is_over_and_its_copy_is_cleared_away(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = World::new(on, on).await;
    let session = world.from.session(&world.local, "a").await;
    // The copy is there, and the session has not departed: frozen and imported.
    assert!(lost_after(&world, to_remote(&session, TaskId::random()), 1).await);
    let copy = world.remote.migration(session.id()).await.unwrap().unwrap();
    assert!(matches!(copy.phase, Phase::Incoming { .. }));
    world.from.clock.advance(Duration::from_secs(60));
    assert!(world.local.refresh(&session).await.unwrap().is_some(), "it can be changed again");
    let resumed = world.manager().resume().await.unwrap();
    assert_eq!(resumed.failed(), 0);
    assert!(resumed.reports.iter().all(|it| matches!(it.outcome, Ok(Outcome::Stayed))), "{resumed:?}");
    assert_eq!(world.remote.get(session.id()).await.unwrap(), None);
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn any_number_may_resume_at_once(#[values(Redis, Spread, Memory)] on: On) {
    let world = World::new(on, on).await;
    let mut sessions = Vec::new();
    for number in 0..24 {
        let session = world.from.session(&world.local, &number.to_string()).await;
        lost_after(&world, to_remote(&session, TaskId::random()), number % 6).await;
        sessions.push(session);
    }
    let managers = [(); 4].map(|()| world.manager());
    let resumed = futures::future::join_all(managers.iter().map(MigrationManager::resume)).await;
    assert!(resumed.into_iter().all(|resumed| resumed.is_ok()));
    world.manager().resume().await.unwrap();
    for id in ids(&sessions) {
        let found = [world.local.get(&id).await, world.remote.get(&id).await];
        assert_eq!(found.iter().filter(|found| matches!(found, Ok(Some(_)))).count(), 1);
    }
    world.is_settled().await;
}

#[tokio::test]
async fn what_is_on_its_way_between_other_places_is_left_alone() {
    let world = World::new(Memory, Memory).await;
    let session = world.from.session(&world.local, "a").await;
    let span = Duration::from_secs(30);
    world.local.freeze(&session, Freezing::new(TaskId::random(), "elsewhere").span(span)).await.unwrap();
    let before = world.from.dump().await;
    let resumed = world.manager().resume().await.unwrap();
    assert_eq!((resumed.reports.len(), resumed.foreign), (0, 1));
    assert_eq!(world.from.dump().await, before);
}
