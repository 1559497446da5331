//! LocalOnly while the server is away: sessions are made and changed here.

use std::collections::HashSet;
use std::time::Duration;

use cloakroom::fallback::{BreakerState, FallbackPolicy, Origin};
use cloakroom::migration::MigrationStore as _;
use cloakroom::{
    Binding, NewSession, Obstacle, OnLimit, PageRequest, Patch, Refusal, Rotation, Rules, Selector,
    SessionId, SessionStore as _,
};
use rstest::rstest;

use super::{World, obstacle, opens};
use crate::support::expect::{refusal, session_id};

const TTL: Duration = Duration::from_secs(60);
const POLICY: FallbackPolicy = FallbackPolicy::LocalOnly { ttl: TTL };
const MOMENT: Duration = Duration::from_millis(1);

fn red() -> Patch {
    Patch::new().set("color", "red").unwrap()
}

#[tokio::test]
async fn each_operation_on_a_session_that_is_made_here_works() {
    let world = World::new(POLICY).await;
    let store = &world.store;
    world.cut_off().await;
    let mut session = world.context.session(&world.handle(), "a").await;
    assert_eq!((session.origin(), session.version().get()), (Origin::Local, 1));
    assert_eq!(store.get(session.id()).await.unwrap().unwrap().origin(), Origin::Local);
    session.set("color", "blue").unwrap();
    store.update(&mut session).await.unwrap();
    assert_eq!((session.origin(), session.version().get()), (Origin::Local, 2));
    assert_eq!(store.patch(&session, red()).await.unwrap().version.get(), 3);
    assert!(store.refresh(&session).await.unwrap().is_some());
    let found = store.refresh_and_get(session.id()).await.unwrap().unwrap();
    assert_eq!((found.origin(), found.version().get()), (Origin::Local, 3));
    let bound = store.bind(&found, Binding::new("c2").node("n2")).await.unwrap();
    assert_eq!(bound.previous_connection.as_deref(), Some("connection-a"));
    let found = store.session_by_connection("c2").await.unwrap().unwrap();
    assert_eq!((found.id(), found.origin()), (session.id(), Origin::Local));
    assert!(store.unbind(&found, "c2").await.unwrap());
    let rotated = store.rotate(session.id(), Rotation::new()).await.unwrap().session;
    assert_eq!((rotated.origin(), rotated.version().get()), (Origin::Local, 6));
    assert_eq!(store.get(session.id()).await.unwrap().unwrap().id(), rotated.id(), "for a while");
    assert_eq!(store.stats().local, 1);
    assert!(store.delete(&rotated).await.unwrap().is_some());
    assert!(store.get(rotated.id()).await.unwrap().is_none(), "it was logged out here");
    assert_eq!(store.refresh(&rotated).await.unwrap(), None);
    assert_eq!(refusal(store.patch(&rotated, red()).await), Refusal::Missing);
    assert!(!store.unbind(&rotated, "c").await.unwrap());
    assert_eq!(store.stats().local, 0);
}

#[tokio::test]
async fn a_session_that_was_seen_lately_goes_on_here() {
    let world = World::new(POLICY).await;
    let store = &world.store;
    let session = world.context.session(&world.handle(), "a").await;
    let before = world.context.dump().await;
    world.cut_off().await;
    world.context.clock.advance(MOMENT);
    let read = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(read.origin(), Origin::Stale { age: MOMENT }, "nothing was changed here yet");
    assert_eq!((store.stats().local, store.stats().stale), (0, 1));
    assert_eq!(store.patch(&session, red()).await.unwrap().version.get(), 2);
    let read = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((read.origin(), read.version().get()), (Origin::Local, 2));
    assert_eq!(read.get::<String>("color").unwrap().as_deref(), Some("red"));
    assert_eq!(store.stats().local, 1);
    assert_eq!(world.context.dump().await, before, "the server knows nothing of it");
}

#[tokio::test]
async fn what_this_process_does_not_know_is_an_error_and_not_an_absent_session() {
    let world = World::new(POLICY).await;
    let unseen = world.context.session(&world.other, "a").await;
    let old = world.context.session(&world.handle(), "b").await;
    world.cut_off().await;
    world.context.clock.advance(TTL + MOMENT);
    let store = &world.store;
    for id in [unseen.id(), old.id(), &session_id("never")] {
        assert_eq!(obstacle(store.get(id).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.refresh(id).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.refresh_and_get(id).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.patch(id, red()).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.rotate(id, Rotation::new()).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.bind(id, Binding::new("c")).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.unbind(id, "c").await), Obstacle::CircuitOpen);
    }
    assert_eq!(obstacle(store.update(&mut unseen.clone()).await), Obstacle::CircuitOpen);
    let by_connection = store.session_by_connection("connection-a").await;
    assert_eq!(obstacle(by_connection), Obstacle::CircuitOpen);
    assert_eq!(store.stats().local, 0);
}

#[tokio::test]
async fn lists_and_counts_and_what_is_for_the_server_as_a_whole_fail() {
    let world = World::new(POLICY).await;
    world.cut_off().await;
    let session = world.context.session(&world.handle(), "a").await;
    let (store, owner) = (&world.store, Selector::user("user-a"));
    assert_eq!(obstacle(store.list(&owner, &PageRequest::first(10)).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.count(&owner).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.export(session.id()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.expired(None, 0, 10).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.reap(10).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn a_session_here_lives_for_the_short_ttl_and_then_it_is_an_error() {
    let world = World::new(POLICY).await;
    let (store, clock) = (&world.store, &world.context.clock);
    let seen = world.context.session(&world.handle(), "seen").await;
    world.cut_off().await;
    let made = world.context.session(&world.handle(), "made").await;
    let short = store.create(NewSession::new().ttl(MOMENT)).await.unwrap().session;
    store.patch(&seen, red()).await.unwrap();
    let ids = [seen.id(), made.id()];
    for id in ids {
        let found = store.get(id).await.unwrap().unwrap();
        assert_eq!(found.expires_at_ms(), clock.now_ms() + 60_000);
    }
    clock.advance(MOMENT);
    assert_eq!(obstacle(store.get(short.id()).await), Obstacle::CircuitOpen, "its own ttl is shorter");
    clock.advance(TTL - MOMENT * 2);
    for id in ids {
        assert!(store.refresh(id).await.unwrap().is_some(), "it is used");
    }
    clock.advance(TTL - MOMENT);
    for id in ids {
        assert!(store.get(id).await.unwrap().is_some());
    }
    clock.advance(MOMENT);
    for id in ids {
        assert_eq!(obstacle(store.get(id).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.patch(id, red()).await), Obstacle::CircuitOpen);
        assert_eq!(obstacle(store.refresh(id).await), Obstacle::CircuitOpen);
    }
}

#[tokio::test]
async fn one_that_expired_here_does_not_begin_again_from_an_old_copy() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.store.patch(&session, red().ttl(MOMENT)).await.unwrap();
    world.context.clock.advance(MOMENT);
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(world.store.patch(&session, red()).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn beyond_its_bounds_it_refuses_and_keeps_what_it_has() {
    let few = |builder: cloakroom::fallback::FallbackStoreBuilder| builder.max_local(2).max_revocations(2);
    let world = World::with(POLICY, Rules::new(), few).await;
    let seen = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    let store = &world.store;
    let first = store.create(NewSession::new()).await.unwrap().session;
    store.create(NewSession::new()).await.unwrap();
    let full = Refusal::Full { sessions: 2 };
    assert_eq!(refusal(store.create(NewSession::new()).await), full);
    assert_eq!(refusal(store.patch(&seen, red()).await), full);
    assert!(store.get(seen.id()).await.unwrap().is_some());
    assert!(store.get(first.id()).await.unwrap().is_some());

    store.delete(&session_id("one")).await.unwrap();
    store.delete(&session_id("one")).await.unwrap();
    store.delete_user("ann", None).await.unwrap();
    assert_eq!(store.stats().pending_revocations, 2);
    assert_eq!(obstacle(store.delete(&session_id("two")).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.delete_user("bob", None).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.delete(&first).await), Obstacle::CircuitOpen);
    assert!(store.get(first.id()).await.unwrap().is_some(), "what was refused has changed nothing");
}

#[tokio::test]
async fn the_limit_of_sessions_holds_among_those_that_are_here() {
    for (then, expected) in [(OnLimit::Reject, None), (OnLimit::EvictOldest, Some(0))] {
        let rules = Rules::new().sessions_per_user(1, then);
        let world = World::with(POLICY, rules, |builder| builder).await;
        world.cut_off().await;
        let first = world.store.create(NewSession::new().user("ann")).await.unwrap().session;
        world.context.clock.advance(MOMENT);
        let second = world.store.create(NewSession::new().user("ann")).await;
        match expected {
            None => assert_eq!(refusal(second), Refusal::Limit { live: 1 }),
            Some(at) => {
                assert_eq!(&second.unwrap().evicted[at].id, first.id());
                assert!(world.store.get(first.id()).await.unwrap().is_none());
            }
        }
    }
}

#[tokio::test]
async fn what_was_logged_out_here_is_gone_here_at_once() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let (one, kept) = (world.context.session(&store, "a").await, world.context.session(&store, "b").await);
    let other = store.create(NewSession::new().user("user-b")).await.unwrap().session;
    let unseen = world.context.session(&world.other, "b2").await;
    world.cut_off().await;
    let made = store.create(NewSession::new().user("user-b")).await.unwrap().session;
    assert!(store.delete(&one).await.unwrap().is_some());
    assert!(store.delete(&unseen).await.unwrap().is_some(), "it is remembered");
    store.patch(&kept, red()).await.unwrap();
    let gone = store.delete_user("user-b", Some(kept.id())).await.unwrap();
    let removed: HashSet<&SessionId> = gone.removed.iter().map(|removed| &removed.id).collect();
    assert_eq!(removed, HashSet::from([made.id(), other.id()]), "that one was only seen");
    for session in [&one, &unseen, &made, &other] {
        assert!(store.get(session.id()).await.unwrap().is_none());
        assert_eq!(refusal(store.patch(session, red()).await), Refusal::Missing);
    }
    assert!(store.get(kept.id()).await.unwrap().is_some());
    assert_eq!(world.store.stats().pending_revocations, 4);
}

#[tokio::test]
async fn an_id_that_was_logged_out_here_is_not_made_again() {
    let world = World::new(POLICY).await;
    let device = session_id("device-7");
    world.store.create(NewSession::new().id(device.clone())).await.unwrap();
    world.cut_off().await;
    world.store.delete(&device).await.unwrap();
    assert_eq!(refusal(world.store.create(NewSession::new().id(device.clone())).await), Refusal::Gone);
    world.context.clock.advance(Duration::from_secs(3600));
    assert_eq!(refusal(world.store.create(NewSession::new().id(device.clone())).await), Refusal::Gone);
    world.mend().await;
    world.context.clock.advance(Duration::from_secs(3600));
    world.store.create(NewSession::new().id(device)).await.unwrap();
    world.context.check().await;
}

#[tokio::test]
async fn what_is_known_of_others_counts_for_one_that_is_made_here() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let session = world.context.session(&store, "a").await;
    world.cut_off().await;
    let again = NewSession::new().id(session.id().clone());
    assert_eq!(refusal(store.create(again).await), Refusal::Exists);
    let same_connection = NewSession::new().connection("connection-a");
    assert_eq!(refusal(store.create(same_connection).await), Refusal::Taken);
    let other = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(refusal(store.bind(&other, Binding::new("connection-a")).await), Refusal::Taken);
    let mut copy = other.clone();
    copy.set_connection("connection-a");
    assert_eq!(refusal(store.update(&mut copy).await), Refusal::Taken);
    let bound = store.bind(&other, Binding::new("connection-a").take_over()).await.unwrap();
    assert_eq!(bound.taken_from.as_ref(), Some(session.id()));
    let found = store.session_by_connection("connection-a").await.unwrap().unwrap();
    assert_eq!(found.id(), other.id());
}

#[tokio::test]
async fn after_a_login_here_the_id_from_before_leads_nowhere_but_to_a_logout() {
    let world = World::new(POLICY).await;
    let store = &world.store;
    let anonymous = store.create(NewSession::new()).await.unwrap().session;
    world.cut_off().await;
    let login = store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap().session;
    assert_eq!((login.user(), login.origin()), (Some("ann"), Origin::Local));
    assert!(store.get(anonymous.id()).await.unwrap().is_none());
    assert_eq!(refusal(store.patch(&anonymous, red()).await), Refusal::Missing);
    // Long after, when nothing of it is left but what the server has to be told.
    world.context.clock.advance(Duration::from_secs(31));
    assert!(store.get(anonymous.id()).await.unwrap().is_none());
    assert_eq!(refusal(store.create(NewSession::new().id(anonymous.id().clone())).await), Refusal::Gone);
    assert!(store.delete(anonymous.id()).await.unwrap().is_some());
    assert!(store.get(login.id()).await.unwrap().is_none(), "it was logged out by its old id");
}

#[tokio::test]
async fn calls_of_many_tasks_take_a_session_in_once() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let session = world.context.session(&store, "a").await;
    world.cut_off().await;
    let calls = (0..50_u32).map(|number| {
        let (store, id) = (store.clone(), session.id().clone());
        let patch = Patch::new().set(format!("key-{number}"), &number).unwrap();
        tokio::spawn(async move { store.patch(&id, patch).await })
    });
    for call in futures::future::join_all(calls).await {
        call.unwrap().unwrap();
    }
    let found = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((found.version().get(), found.attributes().len()), (51, 51));
}

#[tokio::test]
async fn a_store_that_was_never_there_for_a_session_still_opens_and_makes_them() {
    let world = World::new(POLICY).await;
    world.proxy.cut_off(true);
    assert!(world.store.create(NewSession::new()).await.is_err(), "it is not known yet");
    opens(&world.store).await;
    assert!(world.store.create(NewSession::new()).await.is_ok());
    assert_ne!(world.store.stats().breaker, BreakerState::Closed);
}

/// What is done here with a session while the store is asked who has its connection.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Changed,
    Rotated,
    Unbound,
    LoggedOut,
}

#[rstest]
#[tokio::test]
async fn who_has_a_connection_is_told_rightly_of_a_session_that_comes_here_while_the_store_is_asked(
    #[values(Meanwhile::Changed, Meanwhile::Rotated, Meanwhile::Unbound, Meanwhile::LoggedOut)]
    meanwhile: Meanwhile,
) {
    let world = World::new(POLICY).await;
    let store = &world.store;
    let session = world.context.session(&world.handle(), "a").await;
    let gate = world.hooked.stop_after("session_by_connection");
    let asking = tokio::spawn({
        let store = store.clone();
        async move { store.session_by_connection("connection-a").await }
    });
    gate.reached().await;
    world.cut_off().await;
    let mut expected = Some(session.id().clone());
    match meanwhile {
        Meanwhile::Changed => drop(store.patch(&session, red()).await.unwrap()),
        Meanwhile::Rotated => {
            let rotated = store.rotate(session.id(), Rotation::new()).await.unwrap();
            expected = Some(rotated.session.id().clone());
        }
        Meanwhile::Unbound => {
            assert!(store.unbind(&session, "connection-a").await.unwrap());
            expected = None;
        }
        Meanwhile::LoggedOut => {
            store.delete(&session).await.unwrap();
            expected = None;
        }
    }
    gate.open();
    let found = asking.await.unwrap().unwrap();
    assert_eq!(found.as_ref().map(|found| found.id()), expected.as_ref());
    assert!(found.is_none_or(|found| found.origin() == Origin::Local));
}
