//! A process that dies at every step of a migration, and a store that lost its data; or a session that ended at its
//! source while its copy waited.

use std::fmt::Debug;
use std::time::Duration;

use cloakroom::migration::{
    Destination, Freezing, Import, LostSource, MigrationManager, MigrationTask, Outcome, Phase, Resumed,
    TaskId,
};
use cloakroom::{
    Binding, Error, NewSession, OnLimit, Patch, Refusal, Removed, Result, Rotation, Rules, Session,
    SessionId, Status,
};
use rstest::rstest;

use super::World;
use super::steps::lost_after;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{Context, On, Store};
use crate::support::expect::{refusal, session_id};
use crate::support::hooked::Hooked;
use crate::support::record::Stored;

const MINUTE: Duration = Duration::from_secs(60);

/// When each world begins, in milliseconds since the epoch.
const START: u64 = 1_800_000_000_000;

/// The calls of a migration: freeze, import, depart, thaw, clean.
const STEPS: u64 = 5;

impl World {
    /// The source comes back without anything.
    async fn lose_source(&mut self, on: On) {
        self.from = self.from.another(on).await;
        self.local = self.from.store_at(Rules::new()).await;
    }

    async fn lose_target(&mut self, on: On) {
        self.to = self.from.another(on).await;
        self.remote = self.to.store_at(Rules::new()).await;
    }

    fn manager_by(&self, policy: LostSource) -> MigrationManager {
        let builder = MigrationManager::builder(self.local.clone(), self.remote.clone());
        builder.lost_source(policy).build().unwrap()
    }

    async fn resume_by(&self, policy: LostSource) -> Resumed {
        let resumed = self.manager_by(policy).resume().await.unwrap();
        assert_eq!(resumed.failed(), 0, "{resumed:?}");
        resumed
    }

    /// At which of the two stores the session is, frozen or not.
    async fn places(&self, id: &SessionId) -> [bool; 2] {
        let found = [self.local.get(id).await, self.remote.get(id).await];
        found.map(|found| matches!(found, Ok(Some(_))))
    }
}

/// A world whose migration stopped after so many calls were answered and one more was done.
async fn stopped(on: On, calls: u64) -> (World, Session, TaskId) {
    let world = World::new(on, on).await;
    world.from.clock.set_ms(START);
    let session = world.from.session(&world.local, "a").await;
    let task = TaskId::random();
    let moving = MigrationTask::new(session.id().clone(), Destination::Remote).id(task);
    assert!(lost_after(&world, moving, calls).await, "there are {STEPS} calls");
    (world, session, task)
}

/// That it is one, and can be changed.
async fn lives(store: &Store, id: &SessionId) {
    let found = store.get(id).await.unwrap().expect("it is there");
    assert_eq!(found.status(), Status::Active);
    assert!(store.refresh(id).await.unwrap().is_some());
}

fn outcomes(resumed: &Resumed) -> Vec<Outcome> {
    resumed.reports.iter().map(|report| *report.outcome.as_ref().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn a_source_that_lost_what_it_knew_leaves_the_copy_to_be_the_session(#[values(Redis, Memory)] on: On) {
    for calls in 0..STEPS {
        let (mut world, session, _) = stopped(on, calls).await;
        world.lose_source(on).await;
        let resumed = world.resume_by(LostSource::Keep).await;
        assert_eq!(resumed.unclaimed(), 0);
        // Before the import nothing was anywhere but at the source.
        assert_eq!(world.places(session.id()).await, [false, calls >= 1], "after {calls} calls");
        if calls >= 1 {
            lives(&world.remote, session.id()).await;
        }
        world.is_settled().await;
    }
}

#[rstest]
#[tokio::test]
async fn by_the_other_policy_it_waits_and_is_reported_until_somebody_keeps_it(
    #[values(Redis, Memory)] on: On,
) {
    for calls in 1..=2 {
        let (mut world, session, task) = stopped(on, calls).await;
        world.lose_source(on).await;
        for _ in 0..2 {
            let resumed = world.resume_by(LostSource::Report).await;
            assert_eq!((outcomes(&resumed), resumed.unclaimed()), (vec![Outcome::Unclaimed], 1));
            assert_eq!(resumed.reports[0].task, task);
            let copy = world.remote.get(session.id()).await.unwrap().unwrap();
            assert_eq!(copy.status(), Status::Migrating);
        }
        let again = MigrationTask::new(session.id().clone(), Destination::Remote);
        let report = world.manager_by(LostSource::Report).submit(again).await.unwrap().await.unwrap();
        assert_eq!(report.outcome, Ok(Outcome::Unclaimed), "whoever submits it anew is told the same");
        assert_eq!(outcomes(&world.resume_by(LostSource::Keep).await), [Outcome::Arrived]);
        lives(&world.remote, session.id()).await;
        world.is_settled().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_copy_that_nobody_claims_may_be_deleted_and_goes_when_it_expires(#[values(Redis, Memory)] on: On) {
    let (mut world, session, _) = stopped(on, 1).await;
    world.lose_source(on).await;
    assert!(world.remote.delete(session.id()).await.unwrap().is_some());
    world.resume_by(LostSource::Keep).await;
    assert_eq!(world.places(session.id()).await, [false, false]);
    world.is_settled().await;

    let (mut world, session, _) = stopped(on, 1).await;
    world.lose_source(on).await;
    world.from.clock.advance(30 * MINUTE);
    assert!(world.resume_by(LostSource::Keep).await.reports.is_empty());
    assert_eq!(world.places(session.id()).await, [false, false]);
    assert_eq!(world.remote.reap(10).await.unwrap().sessions.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_target_that_lost_what_it_knew_is_given_the_session_again_unless_that_departed(
    #[values(Redis, Memory)] on: On,
) {
    for calls in 0..STEPS {
        let (mut world, session, _) = stopped(on, calls).await;
        world.lose_target(on).await;
        world.resume_by(LostSource::Keep).await;
        assert_eq!(world.places(session.id()).await, [false, calls < 2], "after {calls} calls");
        if calls < 2 {
            lives(&world.remote, session.id()).await;
        }
        world.is_settled().await;
    }
}

#[rstest]
#[tokio::test]
async fn where_both_lost_what_they_knew_there_is_nothing(#[values(Redis, Memory)] on: On) {
    for calls in 0..STEPS {
        let (mut world, session, _) = stopped(on, calls).await;
        world.lose_source(on).await;
        world.lose_target(on).await;
        assert!(world.resume_by(LostSource::Keep).await.reports.is_empty());
        assert_eq!(world.places(session.id()).await, [false, false]);
    }
}

#[rstest]
#[tokio::test]
async fn a_session_that_was_deleted_at_its_source_before_does_not_revive_when_its_tombstone_is_silent(
    #[values(Redis, Memory)] on: On,
) {
    for calls in 0..STEPS {
        let (world, session, _) = stopped(on, calls).await;
        match world.local.delete(session.id()).await {
            Ok(deleted) => assert!(deleted.is_some() && calls < 2),
            Err(error) => {
                assert!(calls >= 2);
                assert_eq!(error, Error::Refused(Refusal::Departed { place: "remote".to_owned() }));
            }
        }
        world.from.clock.advance(10 * MINUTE);
        world.resume_by(LostSource::Keep).await;
        assert_eq!(world.places(session.id()).await, [false, calls >= 2], "after {calls} calls");
        world.is_settled().await;
    }
}

/// How a session ends at its source, or leaves its id, once the freeze is over.
#[derive(Clone, Copy, Debug)]
enum End {
    Delete,
    DeleteUser,
    Evict,
    Rotate,
    Login,
    /// It expires before its copy, for its ttl was shortened, and is reaped.
    Reap,
    /// The same, and another is made in its place, and deleted.
    Replace,
    /// Changed in every way that keeps it, and then deleted.
    ChangeAndDelete,
    /// A newer version of it comes in, and is deleted.
    ImportAndDelete,
    /// Thawed by whoever turned back and did not come to clear the copy away, and then deleted.
    ThawAndDelete,
    /// It goes to a third place by another task, and that is cleaned up.
    Depart,
    /// It goes there and comes back, and is deleted then.
    DepartAndReturn,
}

async fn end(how: End, world: &World, session: &Session, task: TaskId) {
    let (store, id) = (&world.local, session.id());
    let gone = |deleted: Result<Option<Removed>>| assert!(deleted.unwrap().is_some());
    match how {
        End::Delete => gone(store.delete(id).await),
        End::DeleteUser => {
            assert_eq!(store.delete_user("user-a", None).await.unwrap().removed.len(), 1);
        }
        End::Evict => {
            let strict = world.from.store_at(Rules::new().sessions_per_user(1, OnLimit::EvictOldest)).await;
            let made = strict.create(NewSession::new().user("user-a")).await.unwrap();
            assert_eq!(made.evicted.len(), 1);
        }
        End::Rotate => drop(store.rotate(id, Rotation::new()).await.unwrap()),
        End::Login => drop(store.rotate(id, Rotation::new().user("bob")).await.unwrap()),
        End::Reap | End::Replace => {
            store.patch(id, Patch::new().ttl(MINUTE)).await.unwrap();
            world.from.clock.advance(2 * MINUTE);
            assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
            if let End::Replace = how {
                store.create(NewSession::new().id(id.clone())).await.unwrap();
                gone(store.delete(id).await);
            }
        }
        End::ChangeAndDelete => {
            store.refresh(id).await.unwrap();
            store.patch(id, Patch::new().set("color", "red").unwrap()).await.unwrap();
            store.bind(id, Binding::new("other").node("node-b")).await.unwrap();
            store.unbind(id, "other").await.unwrap();
            let mut saved = store.get(id).await.unwrap().unwrap();
            saved.set_user("carol");
            store.update(&mut saved).await.unwrap();
            gone(store.delete(id).await);
        }
        End::ImportAndDelete => {
            let elsewhere = world.from.another(Memory).await.store_at(Rules::new()).await;
            let export = store.export(id).await.unwrap().unwrap();
            elsewhere.import(Import::new(export)).await.unwrap();
            elsewhere.patch(id, Patch::new().set("color", "red").unwrap()).await.unwrap();
            let newer = elsewhere.export(id).await.unwrap().unwrap();
            assert!(store.import(Import::new(newer)).await.unwrap());
            gone(store.delete(id).await);
        }
        End::ThawAndDelete => {
            assert!(store.thaw(id, task, cloakroom::migration::Direction::Outgoing).await.unwrap());
            gone(store.delete(id).await);
        }
        End::Depart | End::DepartAndReturn => {
            let third = world.from.another(Memory).await.store_at(Rules::new()).await;
            let builder = MigrationManager::builder(store.clone(), third.clone()).places("local", "third");
            let manager = builder.build().unwrap();
            let there = MigrationTask::new(id.clone(), Destination::Remote);
            assert_eq!(manager.submit(there).await.unwrap().await.unwrap().outcome, Ok(Outcome::Arrived));
            if let End::DepartAndReturn = how {
                let back = MigrationTask::new(id.clone(), Destination::Local);
                assert_eq!(manager.submit(back).await.unwrap().await.unwrap().outcome, Ok(Outcome::Arrived));
            }
            manager.close().await;
            let last = if let End::Depart = how { &third } else { store };
            gone(last.delete(id).await);
        }
    }
}

#[rstest]
#[tokio::test]
async fn however_a_session_ended_at_its_source_its_copy_does_not_revive_it(
    #[values(Redis, Memory)] on: On,
    #[values(
        End::Delete,
        End::DeleteUser,
        End::Evict,
        End::Rotate,
        End::Login,
        End::Reap,
        End::Replace,
        End::ChangeAndDelete,
        End::ImportAndDelete,
        End::ThawAndDelete,
        End::Depart,
        End::DepartAndReturn
    )]
    how: End,
    #[values(false, true)] is_frozen: bool,
) {
    // Only these act on a session that is frozen.
    if is_frozen && !matches!(how, End::Delete | End::DeleteUser | End::Evict | End::ThawAndDelete) {
        return;
    }
    let (world, session, task) = stopped(on, 1).await;
    if !is_frozen {
        world.from.clock.advance(MINUTE);
    }
    end(how, &world, &session, task).await;
    world.from.check().await;
    // What was left under the id is silent by now, and the copy would live for a while.
    world.from.clock.advance(10 * MINUTE);
    let copy = world.remote.migration(session.id()).await.unwrap().unwrap();
    assert!(matches!(copy.phase, Phase::Incoming { .. }));
    assert_eq!(world.local.get(session.id()).await.unwrap(), None, "{how:?}");
    assert!(world.local.knows(session.id()).await.unwrap());
    world.resume_by(LostSource::Keep).await;
    assert_eq!(world.places(session.id()).await, [false, false], "{how:?}");
    world.to.check().await;
    world.from.check().await;
}

#[tokio::test]
async fn both_stores_leave_the_same_under_an_id_of_which_a_copy_may_wait() {
    for how in [
        End::Delete,
        End::Evict,
        End::Rotate,
        End::Login,
        End::Reap,
        End::Replace,
        End::ChangeAndDelete,
        End::ImportAndDelete,
        End::ThawAndDelete,
        End::Depart,
        End::DepartAndReturn,
    ] {
        let mut left = Vec::new();
        for on in [Redis, Memory] {
            let (world, session, task) = stopped(on, 1).await;
            world.from.clock.advance(MINUTE);
            if !matches!(how, End::ThawAndDelete) {
                world.local.refresh(&session).await.unwrap();
            }
            // The task is another in each world.
            let lapsed = Stored { freeze: None, ..world.from.stored(session.id()).await.unwrap() };
            end(how, &world, &session, task).await;
            let mut after = world.from.stored(session.id()).await.unwrap();
            if let End::Rotate | End::Login = how {
                assert!(!std::mem::take(&mut after.body).is_empty(), "its new id");
            }
            left.push((lapsed, after));
        }
        assert_eq!(left[0], left[1], "left Redis, right memory: {how:?}");
    }
}

#[rstest]
#[tokio::test]
async fn an_id_that_is_known_for_the_sake_of_a_copy_is_free_once_it_is_silent(
    #[values(Redis, Memory)] on: On,
) {
    let (world, session, _) = stopped(on, 1).await;
    let id = session.id();
    world.from.clock.advance(MINUTE);
    let renamed = world.local.rotate(id, Rotation::new()).await.unwrap().session;
    assert_eq!(world.local.get(id).await.unwrap().unwrap().id(), renamed.id());
    world.from.clock.advance(MINUTE);
    assert_eq!(world.local.get(id).await.unwrap(), None, "it leads on for the grace of a rotation only");
    assert_eq!(refusal(world.local.patch(id, Patch::new()).await), Refusal::Missing);
    let before = world.from.stored(id).await.unwrap();
    let new = NewSession::new().id(id.clone()).user("bob").ttl(24 * 60 * MINUTE);
    let made = world.local.create(new).await.unwrap().session;
    let after = world.from.stored(id).await.unwrap();
    assert_eq!((after.copies_until, after.user.as_str()), (before.stored_until, "bob"));
    let outcomes = outcomes(&world.resume_by(LostSource::Keep).await);
    assert_eq!(outcomes, [Outcome::Stayed], "the copy makes way for the session that is here");
    assert_eq!(world.places(id).await, [true, false]);

    // And when no copy can be left, that is forgotten.
    world.from.clock.set_ms(after.copies_until - 1);
    world.local.refresh(&made).await.unwrap();
    assert_eq!(world.from.stored(id).await.unwrap().copies_until, after.copies_until);
    world.from.clock.set_ms(after.copies_until);
    world.local.refresh(&made).await.unwrap();
    assert_eq!(world.from.stored(id).await.unwrap().copies_until, 0);
    world.from.check().await;
}

/// The namespace of a server, emptied while somebody moves a session out of it.
async fn forget(context: &Context) {
    for key in context.keys().await {
        context.command::<()>(&["DEL", &key]).await;
    }
}

#[tokio::test]
async fn a_source_that_forgets_while_a_session_is_on_its_way_does_not_take_the_copy_with_it() {
    for (call, policy, outcome) in [
        ("import", LostSource::Keep, Outcome::Arrived),
        ("depart", LostSource::Keep, Outcome::Arrived),
        ("depart", LostSource::Report, Outcome::Unclaimed),
    ] {
        let world = World::new(Redis, Redis).await;
        let session = world.from.session(&world.local, "a").await;
        let hooked = Hooked::new(world.local.clone());
        let remote = std::sync::Arc::new(hooked.beside(world.remote.clone()));
        let builder = MigrationManager::builder(std::sync::Arc::new(hooked.clone()), remote);
        let manager = builder.lost_source(policy).build().unwrap();
        let gate = hooked.stop_before(call);
        let task = MigrationTask::new(session.id().clone(), Destination::Remote);
        let submitted = manager.submit(task).await.unwrap();
        gate.reached().await;
        forget(&world.from).await;
        gate.open();
        assert_eq!(submitted.await.unwrap().outcome, Ok(outcome), "{call}");
        assert_eq!(world.places(session.id()).await, [false, true]);
        manager.close().await;
        world.resume_by(LostSource::Keep).await;
        lives(&world.remote, session.id()).await;
    }
}

#[tokio::test]
async fn the_copies_of_a_memory_store_whose_process_has_ended_are_kept() {
    let mut world = World::new(Memory, Redis).await;
    let session = world.from.session(&world.local, "a").await;
    let task = TaskId::random();
    let frozen = world.local.freeze(&session, Freezing::new(task, "remote")).await.unwrap();
    let import = Import::new(frozen.export).incoming(task, frozen.until_ms, "local");
    assert!(world.remote.import(import).await.unwrap());
    world.lose_source(Memory).await;
    assert_eq!(outcomes(&world.resume_by(LostSource::default()).await), [Outcome::Arrived]);
    lives(&world.remote, session.id()).await;
    world.is_settled().await;
}

#[rstest]
#[tokio::test]
async fn what_a_store_knows_of_an_id_is_a_session_or_what_is_left_of_one(#[values(Redis, Memory)] on: On) {
    async fn knows<T: Debug>(store: &Store, id: &SessionId, of: T) -> bool {
        store.knows(id).await.unwrap_or_else(|error| panic!("{of:?}: {error}"))
    }
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    assert!(!knows(&store, &session_id("never"), "nothing").await);
    let session = context.session(&store, "a").await;
    assert!(knows(&store, session.id(), "a live one").await);
    store.delete(&session).await.unwrap();
    assert!(knows(&store, session.id(), "a deleted one").await);
    context.clock.advance(MINUTE);
    assert!(!knows(&store, session.id(), "one that was deleted a while ago").await);
    let expired = context.session(&store, "b").await;
    context.clock.advance(60 * MINUTE);
    assert!(knows(&store, expired.id(), "an expired one").await);
}
