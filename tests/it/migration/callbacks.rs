//! Callbacks that panic: waiting callers still get their reports, and the sessions move.

use std::sync::{Arc, Mutex};

use cloakroom::migration::{Destination, MigrationManager, MigrationTask, Outcome, Report, TaskId};
use rstest::rstest;

use super::{World, steps};
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::traced::capture;

/// The tasks that callbacks were told of.
type Told = Arc<Mutex<Vec<TaskId>>>;

/// Notes each task, and panics at one.
fn fatal_at(fatal: TaskId, told: &Told) -> impl Fn(&Report) + Send + Sync + 'static {
    let told = told.clone();
    move |report: &Report| {
        assert!(report.task != fatal, "planted");
        told.lock().unwrap().push(report.task);
    }
}

#[rstest]
#[tokio::test]
async fn a_callback_that_panics_is_logged_and_counted_and_all_others_are_told(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = World::new(on, on).await;
    let tasks: Vec<TaskId> = (0..4).map(|_| TaskId::random()).collect();
    let (told, told_own) = (Told::default(), Told::default());
    let builder = MigrationManager::builder(world.local.clone(), world.remote.clone());
    let manager = builder.workers(1).on_report(fatal_at(tasks[0], &told)).build().unwrap();
    assert_eq!(manager.callback_panics(), 0);
    let (traced, _guard) = capture();
    // The manager's callback panics at the first, and the second task's own.
    for (number, task) in tasks.iter().enumerate() {
        let session = world.from.session(&world.local, &number.to_string()).await;
        let migration = MigrationTask::new(session.id().clone(), Destination::Remote).id(*task);
        let migration = migration.on_report(fatal_at(tasks[1], &told_own));
        let report = manager.submit(migration).await.unwrap().await.unwrap();
        assert_eq!((report.task, report.outcome), (*task, Ok(Outcome::Arrived)));
        assert_eq!(world.remote.get(session.id()).await.unwrap().as_ref(), Some(&session));
    }
    assert_eq!(*told.lock().unwrap(), tasks[1..]);
    assert_eq!(*told_own.lock().unwrap(), [tasks[0], tasks[2], tasks[3]]);
    assert_eq!(manager.callback_panics(), 2);
    assert_eq!(traced.text().matches("a callback panicked").count(), 2);
    manager.close().await;
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn a_callback_that_panics_does_not_end_a_resumption(#[values(Redis, Spread, Memory)] on: On) {
    let world = World::new(on, on).await;
    let mut tasks = Vec::new();
    for name in ["a", "b", "c"] {
        let session = world.from.session(&world.local, name).await;
        let task = MigrationTask::new(session.id().clone(), Destination::Remote);
        tasks.push(task.task_id());
        assert!(steps::lost_after(&world, task, 2).await);
    }
    let told = Told::default();
    let builder = MigrationManager::builder(world.local.clone(), world.remote.clone());
    let manager = builder.on_report(fatal_at(tasks[0], &told)).build().unwrap();
    let resumed = manager.resume().await.unwrap();
    assert_eq!((resumed.reports.len(), resumed.failed()), (3, 0));
    assert_eq!(manager.callback_panics(), 1);
    let mut told = told.lock().unwrap().clone();
    told.sort();
    let mut expected = tasks[1..].to_vec();
    expected.sort();
    assert_eq!(told, expected);
    world.is_settled().await;
}
