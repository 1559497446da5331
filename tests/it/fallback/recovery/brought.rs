//! What becomes of sessions that were made or changed here.

use std::time::Duration;

use cloakroom::fallback::Origin;
use cloakroom::{
    Entries, NewSession, PageRequest, Patch, Refusal, Rules, Selector, SessionStore as _, Status,
};

use super::{MOMENT, POLICY, TTL, World, blue, color, red};
use crate::support::expect::{ms, session_id};

#[tokio::test]
async fn a_session_that_was_made_here_is_there_with_all_it_has() {
    let world = World::new(POLICY).await;
    world.cut_off().await;
    let mut extensions = Entries::default();
    extensions.set("layer", &[1, 2, 3]).unwrap();
    let new =
        NewSession::new().user("ann").connection("c").node("n").extensions(extensions).set("color", "blue");
    let session = world.store.create(new.unwrap()).await.unwrap().session;
    world.store.patch(&session, red().suspend()).await.unwrap();
    world.context.clock.advance(TTL - MOMENT);
    let used_at = world.context.clock.now_ms();
    world.store.refresh(&session).await.unwrap().unwrap();
    let here = world.store.get(session.id()).await.unwrap().unwrap();
    world.mend().await;

    let found = world.there(session.id()).await.unwrap();
    assert_eq!((found.id(), found.version().get(), found.origin()), (session.id(), 2, Origin::Store));
    assert_eq!((found.user(), found.connection(), found.node()), (Some("ann"), Some("c"), Some("n")));
    assert_eq!((found.attributes(), found.extensions()), (here.attributes(), here.extensions()));
    assert_eq!((found.status(), color(&found).as_str()), (Status::Suspended, "red"));
    assert_eq!((found.created_at_ms(), found.last_active_ms()), (session.created_at_ms(), used_at));
    let full = world.other.create(NewSession::new()).await.unwrap().session.ttl();
    assert_eq!((found.ttl(), found.expires_at_ms()), (full, used_at + ms(full)));
    let page = world.other.list(&Selector::user("ann"), &PageRequest::first(10)).await.unwrap();
    assert_eq!(page.sessions, std::slice::from_ref(&found));
    assert_eq!(world.other.count(&Selector::node("n")).await.unwrap(), 1);
    assert_eq!(world.other.session_by_connection("c").await.unwrap().unwrap(), found);
    assert_eq!(world.store.get(session.id()).await.unwrap().unwrap(), found);

    let report = world.report().await;
    assert_eq!((report.imported.as_slice(), report.revoked), ([session.id().clone()].as_slice(), 0));
    assert!(report.dropped.is_empty() && report.conflicts.is_empty());
    let stats = world.store.stats();
    assert_eq!((stats.imported, stats.dropped, stats.conflicts, stats.revoked), (1, 0, 0, 0));
    assert_eq!((stats.local, stats.pending_revocations, stats.opened), (0, 0, 1));
    world.context.check().await;
}

#[tokio::test]
async fn a_lifetime_is_kept() {
    let rules = Rules::new().max_lifetime(Duration::from_secs(90));
    let world = World::with(POLICY, rules, |builder| builder).await;
    world.cut_off().await;
    let session = world.store.create(NewSession::new()).await.unwrap().session;
    world.mend().await;
    let found = world.there(session.id()).await.unwrap();
    assert_eq!(found.deadline_ms(), Some(session.created_at_ms() + 90_000));
    assert_eq!(found.expires_at_ms(), session.created_at_ms() + 90_000);
}

#[tokio::test]
async fn a_session_that_was_changed_here_goes_on_at_its_version() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    world.store.patch(&session, Patch::new().set("size", &7).unwrap()).await.unwrap();
    let mut copy = world.store.get(session.id()).await.unwrap().unwrap();
    copy.set_user("bob");
    world.store.update(&mut copy).await.unwrap();
    world.mend().await;
    let found = world.there(session.id()).await.unwrap();
    assert_eq!((found.version().get(), found.user()), (4, Some("bob")));
    assert_eq!((color(&found).as_str(), found.get::<u32>("size").unwrap()), ("red", Some(7)));
    assert_eq!(world.report().await.imported, [session.id().clone()]);
    // And goes on there.
    assert_eq!(world.store.patch(&session, blue()).await.unwrap().version.get(), 5);
    assert_eq!(world.seen_color(session.id()).await, "blue");
    world.context.check().await;
}

#[tokio::test]
async fn a_session_that_was_only_used_here_is_used_there() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.context.clock.advance(TTL - MOMENT);
    world.store.refresh(session.id()).await.unwrap().unwrap();
    world.mend().await;
    let found = world.there(session.id()).await.unwrap();
    assert_eq!((found.version(), found.last_active_ms()), (session.version(), world.context.clock.now_ms()));
    assert_eq!(world.store.stats().imported, 1);
    world.context.check().await;
}

#[tokio::test]
async fn a_session_that_was_only_read_here_is_not_touched_there() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    let before = world.context.dump().await;
    world.cut_off().await;
    assert!(world.store.get(session.id()).await.unwrap().is_some());
    world.mend().await;
    let after = world.context.dump().await;
    assert!(before.iter().all(|(key, value)| after.get(key) == Some(value)));
    assert_eq!(world.store.stats().imported, 0);
}

#[tokio::test]
async fn what_another_process_changed_meanwhile_wins() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let patched = world.other.patch(session.id(), blue()).await.unwrap();
    world.store.patch(&session, red().set("size", &1).unwrap()).await.unwrap();
    world.mend().await;
    assert_eq!(world.seen_color(session.id()).await, "blue");
    let conflict = (session.id().clone(), Refusal::Conflict { current: patched.version });
    let report = world.report().await;
    assert_eq!(report.conflicts, [conflict]);
    assert!(report.imported.is_empty() && report.dropped.is_empty());
    assert_eq!(world.store.stats().conflicts, 1);
    world.context.check().await;
}

#[tokio::test]
async fn what_another_process_only_used_meanwhile_is_no_conflict() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    world.context.clock.advance(MOMENT);
    world.other.refresh(session.id()).await.unwrap().unwrap();
    world.mend().await;
    assert_eq!(world.seen_color(session.id()).await, "red");
}

#[tokio::test]
async fn a_session_that_was_deleted_there_meanwhile_stays_deleted() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let used = world.context.session(&world.other, "b").await;
    world.other.delete(&session).await.unwrap();
    world.other.delete(&used).await.unwrap();
    world.mend().await;
    world.assert_gone(session.id()).await;
    let report = world.report().await;
    assert_eq!((report.dropped.as_slice(), report.imported.len()), ([session.id().clone()].as_slice(), 0));
    assert_eq!(world.store.stats().dropped, 1);
    world.context.check().await;
}

#[tokio::test]
async fn a_session_that_was_deleted_there_long_ago_stays_deleted() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let used = world.context.session(&world.other, "b").await;
    world.other.delete_user("user-a", None).await.unwrap();
    // When not even the tombstone is left.
    world.context.clock.advance(TTL - MOMENT);
    world.store.refresh(&session).await.unwrap().unwrap();
    world.mend().await;
    world.assert_gone(session.id()).await;
    assert!(world.there(used.id()).await.is_some());
    assert_eq!(world.report().await.dropped, [session.id().clone()]);
    world.context.check().await;
}

#[tokio::test]
async fn a_session_that_expired_there_meanwhile_is_not_revived() {
    let world = World::new(POLICY).await;
    let new = NewSession::new().user("ann").ttl(TTL);
    let [changed, used] = [(); 2].map(|()| new.clone());
    let changed = world.store.create(changed).await.unwrap().session;
    let used = world.store.create(used).await.unwrap().session;
    world.cut_off().await;
    world.context.clock.advance(TTL - MOMENT);
    world.store.patch(&changed, red()).await.unwrap();
    for session in [&changed, &used] {
        world.store.refresh(session).await.unwrap().unwrap();
    }
    world.context.clock.advance(MOMENT);
    assert!(world.there(used.id()).await.is_none());
    assert!(world.store.get(used.id()).await.unwrap().is_some(), "it goes on here");
    world.mend().await;
    world.assert_gone(changed.id()).await;
    world.assert_gone(used.id()).await;
    assert_eq!(world.report().await.dropped.len(), 2);
    assert_eq!(world.other.reap(10).await.unwrap().sessions.len(), 2);
    world.context.check().await;
}

#[tokio::test]
async fn a_session_that_expired_here_leaves_the_one_there_as_it_is() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    let made = world.store.create(NewSession::new()).await.unwrap().session;
    world.context.clock.advance(TTL);
    world.mend().await;
    let found = world.there(session.id()).await.unwrap();
    assert_eq!((color(&found).as_str(), found.version()), ("green", session.version()));
    assert!(world.there(made.id()).await.is_none());
    let report = world.report().await;
    assert_eq!((report.dropped.len(), report.imported.len(), report.revoked), (2, 0, 0));
    world.context.check().await;
}

#[tokio::test]
async fn an_id_that_another_process_made_meanwhile_is_theirs() {
    let world = World::new(POLICY).await;
    world.cut_off().await;
    let device = session_id("device-7");
    let new = NewSession::new().id(device.clone());
    world.store.create(new.clone().set("color", "red").unwrap()).await.unwrap();
    world.context.clock.advance(MOMENT);
    world.other.create(new.set("color", "blue").unwrap()).await.unwrap();
    world.mend().await;
    assert_eq!(world.seen_color(&device).await, "blue");
    assert_eq!(world.report().await.conflicts.len(), 1);
    world.context.check().await;
}

#[tokio::test]
async fn what_another_process_froze_is_theirs() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    world.context.freeze(session.id()).await;
    world.mend().await;
    assert_eq!(world.report().await.conflicts, [(session.id().clone(), Refusal::Frozen)]);
    assert_eq!(color(&world.there(session.id()).await.unwrap()), "green");
}

#[tokio::test]
async fn what_is_corrupt_there_holds_up_nothing_else() {
    let world = World::new(POLICY).await;
    let [broken, logged_out, sound] =
        [world.context.session(&world.handle(), "a").await, world.anonymous().await, world.anonymous().await];
    world.cut_off().await;
    for session in [&broken, &sound] {
        world.store.patch(session, red()).await.unwrap();
    }
    world.store.delete(&logged_out).await.unwrap();
    for session in [&broken, &logged_out] {
        let key = world.context.record_key(session.id());
        world.context.command::<()>(&["SET", &key, "foreign", "KEEPTTL"]).await;
    }
    world.mend().await;
    assert_eq!(world.seen_color(sound.id()).await, "red");
    let report = world.report().await;
    assert_eq!((report.dropped.len(), report.imported.len()), (1, 1));
}

#[tokio::test]
async fn a_second_outage_begins_from_what_the_first_ended_with() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    world.mend().await;
    world.cut_off().await;
    let found = world.store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((color(&found).as_str(), found.version().get()), ("red", 2), "it was seen to be there");
    let patched = world.store.patch(&session, Patch::new().set("size", &1).unwrap()).await.unwrap();
    assert_eq!(patched.version.get(), 3);
    world.mend().await;
    assert_eq!(world.seen_color(session.id()).await, "red");
    assert_eq!(world.there(session.id()).await.unwrap().version().get(), 3);
    assert_eq!(world.store.stats().conflicts, 0);
    world.context.check().await;
}
