//! Outages that begin again before everything is written back.

use std::time::Duration;

use cloakroom::fallback::{FallbackPolicy, FallbackStore};
use cloakroom::{NewSession, Patch, Rotation, Session, SessionStore as _};

use super::super::{COOL_DOWN, impatient, opens, recovers};
use super::{POLICY, World, blue, red, to_user};
use crate::support::Context;
use crate::support::context::eventually;

/// The server does something for a session, which goes on here meanwhile, and the answer is lost.
async fn lost(world: &World, call: &'static str, meanwhile: impl AsyncFnOnce()) {
    let gate = world.hooked.stop_and_lose(call);
    world.proxy.cut_off(false);
    gate.reached().await;
    meanwhile().await;
    gate.open();
    recovers(&world.store).await;
    world.context.check().await;
}

/// One that was made here, and one that was changed here.
async fn made_and_changed() -> [(World, Session); 2] {
    let (one, other) = (World::new(POLICY).await, World::new(POLICY).await);
    let changed = other.changed_here("a").await;
    one.cut_off().await;
    let made = one.context.session(&one.handle(), "a").await;
    [(one, made), (other, changed)]
}

fn assert_imported_once(world: &World) {
    let stats = world.store.stats();
    assert_eq!((stats.imported, stats.dropped, stats.conflicts), (1, 0, 0));
}

#[tokio::test]
async fn an_import_whose_answer_was_lost_is_done_once() {
    for (world, session) in made_and_changed().await {
        lost(&world, "import", async || {}).await;
        assert!(world.there(session.id()).await.is_some());
        assert_imported_once(&world);
    }
}

#[tokio::test]
async fn a_change_after_an_import_whose_answer_was_lost_is_there_in_the_end() {
    for (world, session) in made_and_changed().await {
        let change = async || drop(world.store.patch(&session, blue()).await.unwrap());
        lost(&world, "import", change).await;
        assert_eq!(world.seen_color(session.id()).await, "blue");
        assert_imported_once(&world);
    }
}

#[tokio::test]
async fn a_change_of_another_process_after_such_an_import_wins() {
    for (world, session) in made_and_changed().await {
        lost(&world, "import", async || {
            world.other.patch(session.id(), Patch::new().set("color", "theirs").unwrap()).await.unwrap();
            world.store.patch(&session, blue()).await.unwrap();
        })
        .await;
        assert_eq!(world.seen_color(session.id()).await, "theirs");
        assert_eq!(world.store.stats().conflicts, 1);
    }
}

#[tokio::test]
async fn a_logout_after_an_import_whose_answer_was_lost_holds() {
    for (world, session) in made_and_changed().await {
        lost(&world, "import", async || assert!(world.store.delete(&session).await.unwrap().is_some())).await;
        world.assert_gone(session.id()).await;
    }
    for (world, session) in made_and_changed().await {
        let gate = world.hooked.stop_and_lose("import");
        world.proxy.cut_off(false);
        gate.reached().await;
        world.proxy.cut_off(true);
        gate.open();
        opens(&world.store).await;
        world.store.delete_user("user-a", None).await.unwrap();
        world.mend().await;
        world.assert_gone(session.id()).await;
        world.context.check().await;
    }
}

#[tokio::test]
async fn a_session_that_was_deleted_there_after_such_an_import_stays_deleted() {
    for (world, session) in made_and_changed().await {
        lost(&world, "import", async || {
            world.other.delete(session.id()).await.unwrap();
            world.store.patch(&session, blue()).await.unwrap();
        })
        .await;
        world.assert_gone(session.id()).await;
        assert_eq!(world.store.stats().dropped, 1);
    }
}

#[tokio::test]
async fn a_rotation_after_an_import_whose_answer_was_lost_leaves_one_session() {
    for user in ["", "ann"] {
        for (world, session) in made_and_changed().await {
            let mut rotated = None;
            lost(&world, "import", async || {
                let done = world.store.rotate(&session, to_user(user)).await.unwrap();
                rotated = Some(done.session);
            })
            .await;
            let rotated = rotated.unwrap();
            assert!(world.there(rotated.id()).await.is_some());
            if user.is_empty() {
                assert_eq!(world.there(session.id()).await.unwrap().id(), rotated.id());
            } else {
                world.assert_gone(session.id()).await;
            }
            assert_eq!(world.context.entries(&world.context.key("expiry")).await.len(), 1);
            assert_imported_once(&world);
        }
    }
}

#[tokio::test]
async fn a_rotation_whose_answer_was_lost_is_done_once_however_often_it_is_rotated_here() {
    for user in ["", "ann"] {
        let world = World::new(POLICY).await;
        let session = world.changed_here("a").await;
        let first = world.store.rotate(&session, to_user(user)).await.unwrap().session;
        let mut second = None;
        lost(&world, "rotate", async || {
            let done = world.store.rotate(&first, Rotation::new()).await.unwrap();
            world.store.patch(&done.session, blue()).await.unwrap();
            second = Some(done.session);
        })
        .await;
        assert_eq!(world.seen_color(second.unwrap().id()).await, "blue");
        assert_eq!(world.context.entries(&world.context.key("expiry")).await.len(), 1);
        assert_imported_once(&world);
    }
}

#[tokio::test]
async fn a_rotation_whose_answer_was_lost_for_longer_than_the_grace_is_found_to_be_done() {
    let world = World::new(POLICY).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = world.store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap().session;
    lost(&world, "rotate", async || world.context.clock.advance(Duration::from_secs(31))).await;
    assert_eq!(world.there(login.id()).await.unwrap().user(), Some("ann"));
    world.assert_gone(anonymous.id()).await;
    assert_imported_once(&world);
}

#[tokio::test]
async fn an_import_that_expired_on_its_way_is_sent_again_as_the_session_is_now() {
    let world = World::new(POLICY).await;
    world.cut_off().await;
    let new = NewSession::new().ttl(Duration::from_secs(10));
    let session = world.store.create(new).await.unwrap().session;
    let gate = world.hooked.stop_before("import");
    world.proxy.cut_off(false);
    gate.reached().await;
    world.context.clock.advance(Duration::from_secs(9));
    world.store.refresh(&session).await.unwrap().unwrap();
    world.context.clock.advance(Duration::from_secs(9));
    gate.open();
    recovers(&world.store).await;
    assert!(world.there(session.id()).await.is_some(), "it was used and is alive");
    assert_imported_once(&world);
}

/// Cuts a recovery off after some of its calls, goes on here, and lets it finish. Returns false if it had finished.
async fn cut_after(calls: u64) -> bool {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let (changed, rotated) =
        (world.context.session(&store, "a").await, world.context.session(&store, "b").await);
    let (anonymous, gone) = (world.anonymous().await, world.context.session(&store, "c").await);
    world.cut_off().await;
    let made = world.context.session(&store, "d").await;
    store.patch(&changed, red()).await.unwrap();
    let rotated = store.rotate(&rotated, Rotation::new()).await.unwrap().session;
    let login = store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap().session;
    store.delete(&gone).await.unwrap();
    store.delete_user("nobody", None).await.unwrap();
    let live = [&changed, &rotated, &login, &made];

    world.hooked.away_after(calls);
    world.proxy.cut_off(false);
    eventually("it ends or is away again", async || {
        let stats = world.store.stats();
        world.hooked.is_away() || (stats.local == 0 && stats.pending_revocations == 0)
    })
    .await;
    opens(&world.store).await;
    let was_away = world.store.stats().imported < 4;
    for session in live {
        store.patch(session, blue()).await.unwrap();
        assert!(store.get(session.id()).await.unwrap().is_some());
    }
    assert!(store.get(gone.id()).await.map_or(true, |found| found.is_none()));
    world.hooked.back();
    recovers(&world.store).await;
    for session in live {
        assert_eq!(world.seen_color(session.id()).await, "blue", "after {calls} calls");
    }
    for session in [&anonymous, &gone] {
        world.assert_gone(session.id()).await;
    }
    assert_eq!(world.context.entries(&world.context.key("expiry")).await.len(), live.len());
    let stats = world.store.stats();
    assert_eq!((stats.dropped, stats.conflicts), (0, 0), "after {calls} calls");
    world.context.check().await;
    was_away
}

#[tokio::test]
async fn a_recovery_that_is_cut_off_after_any_of_its_calls_finishes_later() {
    let mut calls = 0;
    // What comes first are a probe and two logouts.
    while cut_after(calls).await || calls < 6 {
        calls += 1;
    }
    assert!(calls > 8, "it was hardly cut: {calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_in_the_middle_of_it_gets_the_rest_later() {
    let mut context = Context::own(&[]).await;
    let inner = impatient(&context, context.server().url()).await;
    let other = context.store(Default::default()).await;
    let policy = FallbackPolicy::LocalOnly { ttl: Duration::from_secs(600) };
    let builder = FallbackStore::builder(inner).policy(policy).failures(2).cool_down(COOL_DOWN);
    let store = builder.probe_timeout(Duration::from_millis(300)).build().unwrap();
    let mut sessions = Vec::new();
    for _ in 0..300 {
        sessions.push(store.create(NewSession::new()).await.unwrap().session);
    }
    for round in 1..=3_u64 {
        context.server_mut().freeze().await;
        opens(&store).await;
        for session in &sessions {
            store.patch(session, Patch::new().set("round", &round).unwrap()).await.unwrap();
        }
        let before = store.stats().imported;
        context.server_mut().thaw().await;
        eventually("some are there", async || store.stats().imported > before + 20).await;
    }
    recovers(&store).await;
    for session in &sessions {
        let found = other.get(session.id()).await.unwrap().unwrap();
        assert_eq!((found.get::<u64>("round").unwrap(), found.version().get()), (Some(3), 4));
    }
    assert_eq!((store.stats().dropped, store.stats().conflicts), (0, 0));
    context.check().await;
}
