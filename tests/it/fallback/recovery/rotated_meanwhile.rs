//! Sessions that get another id at the moment at which they are written back.

use cloakroom::{Rotation, Session, SessionStore as _};

use super::super::recovers;
use super::{POLICY, World, blue, red, to_user};

/// A session is rotated here once the server has it, and before this process knows.
async fn rotated_after(world: &World, call: &'static str, session: &Session, user: &str) -> Session {
    let gate = world.hooked.stop_after(call);
    world.proxy.cut_off(false);
    gate.reached().await;
    let rotated = world.store.rotate(session, to_user(user)).await.unwrap().session;
    world.store.patch(&rotated, blue()).await.unwrap();
    gate.open();
    recovers(&world.store).await;
    world.context.check().await;
    rotated
}

/// Nobody has it under the old id, but for a while by a plain rotation.
async fn assert_left(world: &World, old: &Session, new: &Session, user: &str) {
    if user.is_empty() {
        assert_eq!(world.there(old.id()).await.unwrap().id(), new.id());
    } else {
        world.assert_gone(old.id()).await;
    }
    assert_eq!(world.seen_color(new.id()).await, "blue");
    let stats = world.store.stats();
    assert_eq!((stats.imported, stats.dropped, stats.conflicts), (1, 0, 0));
}

#[tokio::test]
async fn one_that_was_made_here_is_there_once() {
    for user in ["", "ann"] {
        let world = World::new(POLICY).await;
        world.cut_off().await;
        let session = world.anonymous().await;
        let rotated = rotated_after(&world, "import", &session, user).await;
        assert_left(&world, &session, &rotated, user).await;
    }
}

#[tokio::test]
async fn one_that_was_changed_here_is_there_once() {
    for user in ["", "ann"] {
        let world = World::new(POLICY).await;
        let session = world.changed_here("a").await;
        let rotated = rotated_after(&world, "import", &session, user).await;
        assert_left(&world, &session, &rotated, user).await;
        assert_eq!(world.there(rotated.id()).await.unwrap().version().get(), 4);
    }
}

#[tokio::test]
async fn one_that_was_only_used_here_is_there_once() {
    for user in ["", "ann"] {
        let world = World::new(POLICY).await;
        let session = world.context.session(&world.handle(), "a").await;
        world.cut_off().await;
        world.store.refresh(&session).await.unwrap().unwrap();
        let rotated = rotated_after(&world, "refresh", &session, user).await;
        assert_left(&world, &session, &rotated, user).await;
    }
}

#[tokio::test]
async fn one_that_is_rotated_a_second_time_is_there_once() {
    for user in ["", "ann"] {
        let world = World::new(POLICY).await;
        let session = world.changed_here("a").await;
        let first = world.store.rotate(&session, Rotation::new()).await.unwrap().session;
        let second = rotated_after(&world, "rotate", &first, user).await;
        assert_left(&world, &first, &second, user).await;
        assert!(world.there(session.id()).await.is_none(), "rotated away twice");
        assert_eq!(world.there(second.id()).await.unwrap().version().get(), 5);
    }
}

#[tokio::test]
async fn one_whose_logout_comes_after_its_rotation_is_gone() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let gate = world.hooked.stop_after("import");
    world.proxy.cut_off(false);
    gate.reached().await;
    let rotated = world.store.rotate(&session, Rotation::new().user("ann")).await.unwrap().session;
    world.store.delete(&rotated).await.unwrap();
    gate.open();
    recovers(&world.store).await;
    world.assert_gone(session.id()).await;
    world.assert_gone(rotated.id()).await;
    world.context.check().await;
}

#[tokio::test]
async fn one_that_was_refused_is_tried_again_as_it_is_now() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    world.other.patch(session.id(), red().set("size", &1).unwrap()).await.unwrap();
    let gate = world.hooked.stop_after("import");
    world.proxy.cut_off(false);
    gate.reached().await;
    let rotated = world.store.rotate(&session, Rotation::new().user("ann")).await.unwrap().session;
    gate.open();
    recovers(&world.store).await;
    world.assert_gone(session.id()).await;
    let found = world.there(rotated.id()).await.unwrap();
    assert_eq!((found.user(), found.get::<u32>("size").unwrap()), (Some("ann"), Some(1)));
    assert_eq!(world.store.stats().conflicts, 1);
    world.context.check().await;
}
