//! A logout that was made here holds everywhere once the server is back.

use cloakroom::fallback::BreakerState;
use cloakroom::{NewSession, Obstacle, OnLimit, PageRequest, Rotation, Rules, Selector, SessionStore as _};

use super::super::{obstacle, recovers};
use super::{MOMENT, POLICY, World, red};
use crate::support::context::eventually;

#[tokio::test]
async fn deleted_sessions_are_gone_whether_or_not_they_were_known_here() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let seen = world.context.session(&store, "seen").await;
    let changed = world.context.session(&store, "changed").await;
    let unseen = world.context.session(&world.other, "unseen").await;
    let untouched = world.context.session(&world.other, "untouched").await;
    world.cut_off().await;
    let made = world.context.session(&store, "made").await;
    store.patch(&changed, red()).await.unwrap();
    let gone = [&seen, &changed, &unseen, &made];
    for session in gone {
        assert!(store.delete(session.id()).await.unwrap().is_some());
    }
    assert_eq!(world.store.stats().pending_revocations, 4);
    world.mend().await;
    for session in gone {
        world.assert_gone(session.id()).await;
    }
    assert!(world.there(untouched.id()).await.is_some());
    let report = world.report().await;
    assert_eq!((report.revoked, report.imported.len(), report.dropped.len()), (4, 0, 0));
    assert_eq!(world.store.stats().revoked, 4);
    world.context.check().await;
}

#[tokio::test]
async fn a_logout_everywhere_spares_only_the_one_to_keep() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let of_ann = || NewSession::new().user("ann");
    let seen = store.create(of_ann()).await.unwrap().session;
    let unseen = world.other.create(of_ann()).await.unwrap().session;
    let kept = store.create(of_ann()).await.unwrap().session;
    let of_bob = world.other.create(NewSession::new().user("bob")).await.unwrap().session;
    world.cut_off().await;
    let made = store.create(of_ann()).await.unwrap().session;
    store.patch(&kept, red()).await.unwrap();
    store.delete_user("ann", Some(kept.id())).await.unwrap();
    let later = store.create(of_ann()).await.unwrap().session;
    world.mend().await;
    for session in [&seen, &unseen, &made] {
        world.assert_gone(session.id()).await;
    }
    assert_eq!(world.seen_color(kept.id()).await, "red");
    assert!(world.there(later.id()).await.is_some(), "it was made after the logout");
    assert!(world.there(of_bob.id()).await.is_some());
    let page = world.other.list(&Selector::user("ann"), &PageRequest::first(10)).await.unwrap();
    assert_eq!(page.sessions.len(), 2);
    assert_eq!(world.report().await.revoked, 2, "the user, and the session that was only seen");
    world.context.check().await;
}

#[tokio::test]
async fn a_logout_everywhere_ends_what_was_logged_in_here() {
    let world = World::new(POLICY).await;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    let login = world.store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap().session;
    let gone = world.store.delete_user("ann", None).await.unwrap();
    assert_eq!(gone.removed.len(), 1);
    world.mend().await;
    world.assert_gone(anonymous.id()).await;
    world.assert_gone(login.id()).await;
    world.context.check().await;
}

#[tokio::test]
async fn the_one_to_keep_may_have_been_rotated_or_logged_in_here() {
    for user in ["ann", ""] {
        let world = World::new(POLICY).await;
        let session = world.store.create(NewSession::new().user(user)).await.unwrap().session;
        let other = world.other.create(NewSession::new().user("ann")).await.unwrap().session;
        world.cut_off().await;
        let rotated = world.store.rotate(&session, Rotation::new().user("ann")).await.unwrap().session;
        world.store.delete_user("ann", Some(rotated.id())).await.unwrap();
        world.mend().await;
        world.assert_gone(other.id()).await;
        assert_eq!(world.there(rotated.id()).await.unwrap().user(), Some("ann"));
        world.context.check().await;
    }
}

#[tokio::test]
async fn a_logout_by_an_id_that_was_rotated_away_before_the_outage_holds() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    let rotated = world.store.rotate(&session, Rotation::new()).await.unwrap().session;
    world.cut_off().await;
    world.context.clock.advance(MOMENT);
    world.store.patch(&rotated, red()).await.unwrap();
    assert!(world.store.delete(session.id()).await.unwrap().is_some());
    assert!(world.store.get(rotated.id()).await.unwrap().is_none());
    world.mend().await;
    world.assert_gone(rotated.id()).await;
    world.context.check().await;
}

#[tokio::test]
async fn an_eviction_here_is_one_there_too() {
    let rules = Rules::new().sessions_per_user(1, OnLimit::EvictOldest);
    let world = World::with(POLICY, rules, |builder| builder).await;
    let old = world.store.create(NewSession::new().user("ann")).await.unwrap().session;
    let anonymous = world.anonymous().await;
    world.cut_off().await;
    world.store.patch(&old, red()).await.unwrap();
    world.context.clock.advance(MOMENT);
    let login = world.store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap();
    assert_eq!(&login.evicted[0].id, old.id());
    assert!(world.store.get(old.id()).await.unwrap().is_none());
    world.context.clock.advance(MOMENT);
    let last = world.store.create(NewSession::new().user("ann")).await.unwrap();
    assert_eq!(&last.evicted[0].id, login.session.id());
    world.mend().await;
    for id in [old.id(), anonymous.id(), login.session.id()] {
        world.assert_gone(id).await;
    }
    assert!(world.there(last.session.id()).await.is_some());
    assert_eq!(world.other.count(&Selector::user("ann")).await.unwrap(), 1);
    world.context.check().await;
}

#[tokio::test]
async fn logouts_are_told_before_anything_is_brought_and_before_calls_go_there() {
    let world = World::new(POLICY).await;
    let gone: Vec<_> = futures::future::join_all((0..5).map(|_| world.anonymous())).await;
    let changed = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.store.patch(&changed, red()).await.unwrap();
    for session in &gone {
        world.store.delete(session).await.unwrap();
    }
    world.store.delete_user("nobody", None).await.unwrap();
    let (told, brought) = (world.hooked.stop_before("delete_user"), world.hooked.stop_before("import"));
    world.hooked.take_calls();
    world.proxy.cut_off(false);
    told.reached().await;
    assert_eq!(world.store.stats().breaker, BreakerState::HalfOpen, "not before every logout is told");
    assert_eq!(obstacle(world.store.count(&Selector::user("ann")).await), Obstacle::CircuitOpen);
    told.open();
    brought.reached().await;
    for session in &gone {
        assert!(world.there(session.id()).await.is_none());
    }
    brought.open();
    recovers(&world.store).await;
    let calls = world.hooked.take_calls();
    let first = calls.iter().position(|call| *call == "import").unwrap();
    let last = calls.iter().rposition(|call| call.starts_with("delete")).unwrap();
    assert!(last < first, "{calls:?}");
}

#[tokio::test]
async fn until_all_is_brought_what_is_for_the_server_as_a_whole_fails_and_the_rest_goes_on() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let there = world.context.session(&world.other, "b").await;
    let gate = world.hooked.stop_before("import");
    world.proxy.cut_off(false);
    gate.reached().await;
    assert_eq!(world.store.stats().breaker, BreakerState::Closed);
    let owner = Selector::user("user-a");
    assert_eq!(obstacle(world.store.count(&owner).await), Obstacle::Reconciling);
    assert_eq!(obstacle(world.store.delete_user("user-a", None).await), Obstacle::Reconciling);
    assert!(world.store.get(there.id()).await.unwrap().is_some());
    let created = world.store.create(NewSession::new()).await.unwrap().session;
    assert!(world.there(created.id()).await.is_some());
    assert!(world.store.get(session.id()).await.unwrap().is_some());
    gate.open();
    recovers(&world.store).await;
    eventually("lists work again", async || world.store.count(&owner).await.is_ok()).await;
    world.context.check().await;
}

#[tokio::test]
async fn a_logout_while_the_session_is_on_its_way_is_told_after_it() {
    for made_here in [true, false] {
        let world = World::new(POLICY).await;
        let session = if made_here {
            world.cut_off().await;
            world.context.session(&world.handle(), "a").await
        } else {
            world.changed_here("a").await
        };
        let gate = world.hooked.stop_after("import");
        world.proxy.cut_off(false);
        gate.reached().await;
        assert!(world.store.delete(&session).await.unwrap().is_some());
        assert!(world.store.get(session.id()).await.unwrap().is_none());
        gate.open();
        recovers(&world.store).await;
        world.assert_gone(session.id()).await;
        let report = world.report().await;
        assert_eq!((report.revoked, report.imported.len(), report.dropped.len()), (1, 0, 0));
        world.context.check().await;
    }
}

#[tokio::test]
async fn a_logout_everywhere_that_is_repeated_while_it_is_told_is_told_again() {
    let world = World::new(POLICY).await;
    world.cut_off().await;
    world.store.delete_user("ann", None).await.unwrap();
    let gate = world.hooked.stop_after("delete_user");
    world.proxy.cut_off(false);
    gate.reached().await;
    let session = world.other.create(NewSession::new().user("ann")).await.unwrap().session;
    world.context.clock.advance(MOMENT);
    world.store.delete_user("ann", None).await.unwrap();
    gate.open();
    recovers(&world.store).await;
    world.assert_gone(session.id()).await;
    assert_eq!(world.report().await.revoked, 2);
}
