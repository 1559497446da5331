//! The queue: it pushes back, and loses no task silently.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::migration::{Destination, MigrationManager, MigrationTask, Outcome, TaskId};
use cloakroom::{Error, Obstacle};

use super::World;
use crate::support::context::On::Memory;
use crate::support::hooked::{Gate, Hooked};

/// What callbacks were told: the task, and whether it moved.
type Told = Arc<Mutex<Vec<(TaskId, bool)>>>;

/// A manager with one worker that stands still at its first session, and a queue of two.
async fn stuck(world: &World, told: &Told) -> (MigrationManager, Gate, Vec<MigrationTask>) {
    let hooked = Hooked::new(world.local.clone());
    let gate = hooked.stop_before("freeze");
    let manager = MigrationManager::builder(Arc::new(hooked), world.remote.clone());
    let manager = manager.workers(1).queue(2).build().unwrap();
    let mut tasks = Vec::new();
    for number in 0..4 {
        let session = world.from.session(&world.local, &number.to_string()).await;
        let told = told.clone();
        let task = MigrationTask::new(session.id().clone(), Destination::Remote);
        tasks.push(task.on_report(move |report| {
            let moved = matches!(report.outcome, Ok(Outcome::Arrived));
            told.lock().unwrap().push((report.task, moved));
        }));
    }
    (manager, gate, tasks)
}

fn is_closed<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::NotExecuted { reason: Obstacle::Closed, .. }))
}

#[tokio::test]
async fn a_full_queue_pushes_back_and_a_task_that_it_refuses_is_not_called_back() {
    let (world, told) = (World::new(Memory, Memory).await, Told::default());
    let (manager, gate, tasks) = stuck(&world, &told).await;
    let mut submitted = vec![manager.try_submit(tasks[0].clone()).unwrap()];
    gate.reached().await;
    for task in &tasks[1..3] {
        submitted.push(manager.try_submit(task.clone()).unwrap());
    }
    assert_eq!(manager.waiting(), 2);
    let refused = manager.try_submit(tasks[3].clone());
    assert!(matches!(refused, Err(Error::NotExecuted { reason: Obstacle::QueueFull, .. })));
    let mut waiting = Box::pin(manager.submit(tasks[3].clone()));
    // The time jumps when nothing else is left to do, so this is over at once, and nothing could have made it go on.
    tokio::time::pause();
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut waiting).await.is_err(), "it waits");
    tokio::time::resume();
    assert!(told.lock().unwrap().is_empty());
    gate.open();
    submitted.push(waiting.await.unwrap());
    for submitted in submitted {
        assert_eq!(submitted.await.unwrap().outcome.unwrap(), Outcome::Arrived);
    }
    let expected: Vec<_> = tasks.iter().map(|task| (task.task_id(), true)).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    manager.close().await;
    world.is_settled().await;
}

#[tokio::test]
async fn a_manager_that_is_closed_finishes_what_it_accepted() {
    let (world, told) = (World::new(Memory, Memory).await, Told::default());
    let (manager, gate, tasks) = stuck(&world, &told).await;
    for task in &tasks[..3] {
        manager.submit(task.clone()).await.unwrap();
    }
    gate.open();
    manager.close().await;
    assert_eq!(told.lock().unwrap().iter().filter(|(_, moved)| *moved).count(), 3);
    world.is_settled().await;
}

#[tokio::test]
async fn a_manager_hands_back_what_it_has_not_begun() {
    let (world, told) = (World::new(Memory, Memory).await, Told::default());
    let (manager, gate, tasks) = stuck(&world, &told).await;
    let first = manager.submit(tasks[0].clone()).await.unwrap();
    gate.reached().await;
    let mut others = Vec::new();
    for task in &tasks[1..3] {
        others.push(manager.submit(task.clone()).await.unwrap());
    }
    let (back, ()) = tokio::join!(manager.hand_back(), async { gate.open() });
    let expected: Vec<_> = tasks[1..3].iter().map(MigrationTask::task_id).collect();
    assert_eq!(back.iter().map(MigrationTask::task_id).collect::<Vec<_>>(), expected);
    assert_eq!(first.await.unwrap().outcome.unwrap(), Outcome::Arrived);
    for other in others {
        assert!(is_closed(other.await));
    }
    assert_eq!(*told.lock().unwrap(), [(tasks[0].task_id(), true)]);
    world.is_settled().await;
}

#[tokio::test]
async fn a_manager_that_is_dropped_tells_what_was_begun_from_what_was_not() {
    let (world, told) = (World::new(Memory, Memory).await, Told::default());
    let (manager, gate, tasks) = stuck(&world, &told).await;
    let mut submitted = Vec::new();
    for task in &tasks[..3] {
        submitted.push(manager.submit(task.clone()).await.unwrap());
    }
    gate.reached().await;
    drop(manager);
    for (at, (submitted, task)) in submitted.into_iter().zip(&tasks).enumerate() {
        let report = submitted.await.unwrap();
        assert_eq!(report.task, task.task_id());
        if at == 0 {
            assert!(report.outcome.unwrap_err().is_ambiguous(), "it was at work");
        } else {
            assert!(is_closed(report.outcome));
        }
    }
    let mut told = told.lock().unwrap().clone();
    told.sort();
    let mut expected: Vec<_> = tasks[..3].iter().map(|task| (task.task_id(), false)).collect();
    expected.sort();
    assert_eq!(told, expected);
    world.manager().resume().await.unwrap();
    world.is_settled().await;
}
