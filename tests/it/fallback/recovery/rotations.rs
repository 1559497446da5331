//! Sessions that got another id here.

use cloakroom::{
    NewSession, OnLimit, PageRequest, Refusal, Rotation, Rules, Selector, Session, SessionStore as _,
};

use super::{MOMENT, POLICY, TTL, World, blue, color, red, to_user};

async fn login(world: &World, session: &Session) -> Session {
    world.store.rotate(session, Rotation::new().user("ann")).await.unwrap().session
}

#[tokio::test]
async fn a_login_here_is_one_there_and_the_id_from_before_leads_nowhere() {
    let world = World::new(POLICY).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = login(&world, &anonymous).await;
    world.mend().await;
    let found = world.there(login.id()).await.unwrap();
    assert_eq!((found.user(), found.version().get()), (Some("ann"), 2));
    world.assert_gone(anonymous.id()).await;
    let page = world.other.list(&Selector::user("ann"), &PageRequest::first(10)).await.unwrap();
    assert_eq!(page.sessions, [found]);
    assert_eq!(world.report().await.imported, [login.id().clone()]);
    world.context.check().await;
}

#[tokio::test]
async fn a_rotation_and_what_came_before_and_after_it_are_there() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let rotated = world.store.rotate(&session, Rotation::new()).await.unwrap().session;
    world.store.patch(session.id(), blue()).await.unwrap();
    let twice = world.store.rotate(&rotated, Rotation::new()).await.unwrap().session;
    assert_eq!(twice.version().get(), 5);
    world.mend().await;
    assert_eq!(world.seen_color(twice.id()).await, "blue");
    let found = world.there(twice.id()).await.unwrap();
    assert_eq!((found.version().get(), found.connection()), (5, Some("connection-a")));
    assert_eq!(world.there(session.id()).await.unwrap().id(), twice.id(), "it leads there for a while");
    assert!(world.there(rotated.id()).await.is_none(), "it never was there");
    assert_eq!(world.report().await.imported, [twice.id().clone()]);
    world.context.check().await;
}

#[tokio::test]
async fn of_a_session_that_was_made_here_only_the_last_id_is_there() {
    let world = World::new(POLICY).await;
    world.cut_off().await;
    let anonymous = world.anonymous().await;
    let login = login(&world, &anonymous).await;
    world.mend().await;
    assert_eq!(world.there(login.id()).await.unwrap().user(), Some("ann"));
    world.assert_gone(anonymous.id()).await;
    world.context.check().await;
}

#[tokio::test]
async fn one_that_was_deleted_there_meanwhile_is_dropped_under_its_new_id_too() {
    for user in ["ann", ""] {
        let world = World::new(POLICY).await;
        let session = world.context.session(&world.handle(), "a").await;
        world.cut_off().await;
        let rotated = world.store.rotate(&session, to_user(user)).await.unwrap().session;
        world.store.patch(&rotated, red()).await.unwrap();
        world.other.delete(&session).await.unwrap();
        world.mend().await;
        world.assert_gone(session.id()).await;
        world.assert_gone(rotated.id()).await;
        assert_eq!(world.report().await.dropped, [rotated.id().clone()]);
        world.context.check().await;
    }
}

#[tokio::test]
async fn one_that_was_rotated_there_meanwhile_goes_on_there() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    let here = world.store.rotate(&session, Rotation::new()).await.unwrap().session;
    let there = world.other.rotate(&session, Rotation::new()).await.unwrap().session;
    world.mend().await;
    world.assert_gone(here.id()).await;
    assert!(world.there(there.id()).await.is_some());
    assert_eq!(world.report().await.dropped, [here.id().clone()]);
    world.context.check().await;
}

#[tokio::test]
async fn one_that_was_changed_there_meanwhile_has_the_new_id_and_their_change() {
    let world = World::new(POLICY).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = login(&world, &anonymous).await;
    world.store.patch(&login, red()).await.unwrap();
    world.other.patch(anonymous.id(), blue()).await.unwrap();
    world.mend().await;
    assert_eq!(world.seen_color(login.id()).await, "blue");
    assert_eq!(world.there(login.id()).await.unwrap().user(), Some("ann"), "it is logged in all the same");
    world.assert_gone(anonymous.id()).await;
    assert_eq!(world.report().await.conflicts.len(), 1);
    world.context.check().await;
}

#[tokio::test]
async fn a_login_that_is_refused_there_leaves_nothing_of_the_session() {
    let rules = Rules::new().sessions_per_user(1, OnLimit::Reject);
    let world = World::with(POLICY, rules, |builder| builder).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = login(&world, &anonymous).await;
    let other = world.other.create(NewSession::new().user("ann")).await.unwrap().session;
    world.mend().await;
    world.assert_gone(anonymous.id()).await;
    world.assert_gone(login.id()).await;
    assert!(world.there(other.id()).await.is_some());
    let report = world.report().await;
    assert_eq!(report.conflicts, [(login.id().clone(), Refusal::Limit { live: 1 })]);
    world.context.check().await;
}

#[tokio::test]
async fn a_login_that_expired_here_leaves_nothing_of_the_session() {
    let world = World::new(POLICY).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = login(&world, &anonymous).await;
    world.context.clock.advance(TTL);
    world.mend().await;
    world.assert_gone(anonymous.id()).await;
    world.assert_gone(login.id()).await;
    world.context.check().await;
}

#[tokio::test]
async fn a_login_that_was_logged_out_again_is_gone_under_both_ids() {
    let world = World::new(POLICY).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = login(&world, &anonymous).await;
    world.store.delete(&login).await.unwrap();
    world.mend().await;
    world.assert_gone(anonymous.id()).await;
    world.assert_gone(login.id()).await;
    world.context.check().await;
}

#[tokio::test]
async fn an_id_that_was_given_by_the_caller_is_the_new_one_there() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let chosen = crate::support::expect::session_id("chosen");
    let rotation = Rotation::new().new_id(chosen.clone());
    world.store.rotate(&session, rotation).await.unwrap();
    world.context.clock.advance(MOMENT);
    world.mend().await;
    assert_eq!(color(&world.there(&chosen).await.unwrap()), "red");
    world.context.check().await;
}
