use std::time::Duration;

use cloakroom::migration::{Direction, Freezing, Import, TaskId};
use cloakroom::{Patch, Refusal, Rules, Session, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::refusal;
use crate::support::record::Stored;

const SPAN: Duration = Duration::from_secs(30);

/// A copy of a session of another store, incoming.
async fn incoming(context: &Context, on: On, store: &Store, task: TaskId) -> Session {
    let source = context.another(on).await;
    let there = source.store_at(Rules::new()).await;
    let session = source.session(&there, "a").await;
    let frozen = there.freeze(&session, Freezing::new(task, "here").span(SPAN)).await.unwrap();
    store.import(Import::new(frozen.export).incoming(task, frozen.until_ms, "there")).await.unwrap();
    session
}

#[rstest]
#[tokio::test]
async fn a_thawed_session_is_as_it_was_before_its_freeze(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.stored(session.id()).await.unwrap();
    let task = TaskId::random();
    store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    assert!(store.thaw(session.id(), task, Direction::Outgoing).await.unwrap());
    assert_eq!(store.get(session.id()).await.unwrap().unwrap(), session);
    // And it is known that a copy of it may wait.
    let copies_until = before.stored_until;
    assert_eq!(context.stored(session.id()).await.unwrap(), Stored { copies_until, ..before });
    assert!(!store.thaw(session.id(), task, Direction::Outgoing).await.unwrap());
    store.patch(&session, Patch::new().set("color", "red").unwrap()).await.unwrap();
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_incoming_copy_is_the_session_once_it_is_thawed(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let task = TaskId::random();
    let session = incoming(&context, on, &store, task).await;
    let found = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((found.status(), found.version()), (Status::Migrating, session.version()));
    // The end of the freeze at its source is nothing to it.
    context.clock.advance(SPAN * 2);
    assert_eq!(refusal(store.refresh(&session).await), Refusal::Frozen);
    assert!(store.thaw(session.id(), task, Direction::Incoming).await.unwrap());
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    assert!(store.refresh(&session).await.unwrap().is_some());
    assert!(!context.exists(&context.key("migrations")).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn nobody_thaws_by_another_task_or_in_the_other_direction(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let (task, coming) = (TaskId::random(), TaskId::random());
    let copy = incoming(&context, on, &store, coming).await;
    let session = context.session(&store, "b").await;
    store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    let before = context.dump().await;
    for (id, task, direction) in [
        (session.id(), coming, Direction::Outgoing),
        (session.id(), task, Direction::Incoming),
        (copy.id(), task, Direction::Incoming),
        (copy.id(), coming, Direction::Outgoing),
    ] {
        assert_eq!(refusal(store.thaw(id, task, direction).await), Refusal::Frozen);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_freeze_that_is_over_is_taken_off_by_its_own_task_only(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let task = TaskId::random();
    store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    context.clock.advance(SPAN);
    let thaw = async |task| store.thaw(session.id(), task, Direction::Outgoing).await.unwrap();
    assert!(!thaw(TaskId::random()).await);
    assert_eq!(store.migrations(0, 10).await.unwrap().migrations.len(), 1);
    assert!(thaw(task).await);
    assert!(store.migrations(0, 10).await.unwrap().migrations.is_empty());
    context.check().await;
}
