//! Sessions moved between two stores: whole, once, and whatever happens on the way.

mod callbacks;
mod crash;
mod drain;
mod lost;
mod meanwhile;
mod nodes;
mod queue;
mod steps;
mod to_node;

use std::sync::Arc;
use std::time::Duration;

use cloakroom::migration::{Destination, MigrationManager, MigrationTask, Outcome, TaskId};
use cloakroom::{Invalid, Refusal, Rules, Session, SessionId};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::refusal;

/// Two stores, and what is stored in each.
struct World {
    from: Context,
    to: Context,
    local: Store,
    remote: Store,
}

impl World {
    async fn new(from: On, to: On) -> Self {
        let from = Context::on(from).await;
        let to = from.another(to).await;
        Self::of(from, to).await
    }

    async fn of(from: Context, to: Context) -> Self {
        let (local, remote) = (from.store_at(Rules::new()).await, to.store_at(Rules::new()).await);
        Self { from, to, local, remote }
    }

    fn manager(&self) -> MigrationManager {
        MigrationManager::builder(self.local.clone(), self.remote.clone()).build().unwrap()
    }

    /// That the session is there, as it was, and gone from where it was.
    async fn has_moved(&self, session: &Session) {
        assert_eq!(self.remote.get(session.id()).await.unwrap().as_ref(), Some(session));
        let place = Refusal::Departed { place: "remote".to_owned() };
        assert_eq!(refusal(self.local.get(session.id()).await), place);
        self.is_settled().await;
    }

    /// That the session is where it was, as it was, and nothing of it at the other place.
    async fn has_stayed(&self, session: &Session) {
        assert_eq!(self.local.get(session.id()).await.unwrap().as_ref(), Some(session));
        assert_eq!(self.remote.get(session.id()).await.unwrap(), None);
        self.is_settled().await;
    }

    /// That nothing is on its way, and all is whole.
    async fn is_settled(&self) {
        for (context, store) in [(&self.from, &self.local), (&self.to, &self.remote)] {
            assert!(store.migrations(0, 200).await.unwrap().migrations.is_empty());
            context.check().await;
        }
    }
}

async fn moves(manager: &MigrationManager, id: &SessionId) -> Outcome {
    let task = MigrationTask::new(id.clone(), Destination::Remote);
    manager.submit(task).await.unwrap().await.unwrap().outcome.unwrap()
}

#[rstest]
#[case(Memory, Redis)]
#[case(Redis, Memory)]
#[case(Redis, Redis)]
#[case(Memory, Memory)]
#[tokio::test]
async fn a_session_moves_with_all_that_it_has_and_back(#[case] from: On, #[case] to: On) {
    let world = World::new(from, to).await;
    let manager = world.manager();
    let session = world.from.session(&world.local, "a").await;
    let before = world.from.stored(session.id()).await.unwrap();
    world.from.clock.advance(Duration::from_secs(60));
    assert_eq!(moves(&manager, session.id()).await, Outcome::Arrived);
    world.has_moved(&session).await;
    let mut after = world.to.stored(session.id()).await.unwrap();
    after.stored_until = before.stored_until;
    assert_eq!(after, before, "version, times, deadline and ttl are kept");

    let back = MigrationTask::new(session.id().clone(), Destination::Local);
    let report = manager.submit(back).await.unwrap().await.unwrap();
    assert_eq!(report.outcome.unwrap(), Outcome::Arrived);
    assert_eq!(world.local.get(session.id()).await.unwrap(), Some(session));
    world.is_settled().await;
}

#[tokio::test]
async fn a_session_moves_to_another_namespace_of_the_same_server() {
    let from = Context::redis().await;
    let local = from.store_at(Rules::new()).await;
    let other = format!("{}-other", from.namespace);
    let builder = from.builder(Rules::new()).namespace(&other).clock(from.clock.clone());
    let remote: Store = Arc::new(builder.build().await.unwrap());
    let session = from.session(&local, "a").await;
    let manager = MigrationManager::builder(local, remote.clone()).places("one", "other").build().unwrap();
    assert_eq!(moves(&manager, session.id()).await, Outcome::Arrived);
    assert_eq!(remote.get(session.id()).await.unwrap(), Some(session));
    from.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_that_is_not_there_or_is_gone_already_is_told_as_such(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = World::new(on, on).await;
    let manager = world.manager();
    for id in world.from.not_live(&world.local, Duration::from_secs(30 * 60)).await {
        assert_eq!(moves(&manager, &id).await, Outcome::Missing);
    }
    let session = world.from.session(&world.local, "a").await;
    assert_eq!(moves(&manager, session.id()).await, Outcome::Arrived);
    assert_eq!(moves(&manager, session.id()).await, Outcome::Arrived, "it is there already");
    world.has_moved(&session).await;
}

#[rstest]
#[tokio::test]
async fn a_task_that_is_submitted_again_is_the_same_migration(#[values(Redis, Spread, Memory)] on: On) {
    let world = World::new(on, on).await;
    let manager = world.manager();
    let session = world.from.session(&world.local, "a").await;
    let id = TaskId::random();
    for _ in 0..3 {
        let task = MigrationTask::new(session.id().clone(), Destination::Remote).id(id);
        let report = manager.submit(task).await.unwrap().await.unwrap();
        assert_eq!((report.task, report.outcome.unwrap()), (id, Outcome::Arrived));
        world.has_moved(&session).await;
    }
}

#[rstest]
#[tokio::test]
async fn where_the_other_store_refuses_it_the_session_stays_as_it_was(#[values(Redis, Memory)] on: On) {
    let world = World::new(on, on).await;
    let manager = world.manager();
    let session = world.from.session(&world.local, "a").await;
    // Its connection is another's there.
    let other = cloakroom::NewSession::new().connection("connection-a");
    let holder = world.remote.create(other).await.unwrap().session;
    let task = MigrationTask::new(session.id().clone(), Destination::Remote);
    let report = manager.submit(task).await.unwrap().await.unwrap();
    assert_eq!(refusal(report.outcome), Refusal::Taken);
    world.has_stayed(&session).await;
    assert!(world.local.refresh(&session).await.unwrap().is_some());
    world.remote.delete(&holder).await.unwrap();
    assert_eq!(moves(&manager, session.id()).await, Outcome::Arrived);
    world.is_settled().await;
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_named() {
    let world = World::new(Memory, Memory).await;
    let builder = || MigrationManager::builder(world.local.clone(), world.remote.clone());
    for (builder, field) in [
        (builder().queue(0), "queue"),
        (builder().queue(10_001), "queue"),
        (builder().workers(0), "workers"),
        (builder().workers(257), "workers"),
        (builder().places("a", "a"), "place"),
        (builder().places("", "a"), "place"),
        (builder().places("a", "x".repeat(257)), "place"),
        (builder().freeze(Duration::ZERO), "freeze"),
        (builder().freeze(Duration::from_secs(3601)), "freeze"),
    ] {
        match builder.build() {
            Err(cloakroom::Error::Invalid(Invalid { field: named, .. })) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}
