//! ServeStale: reads answer with marked copies of recently seen sessions, but never with a session that was
//! ended here.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cloakroom::fallback::{FallbackPolicy, Origin};
use cloakroom::migration::MigrationStore as _;
use cloakroom::{
    Binding, Error, NewSession, Obstacle, PageRequest, Patch, Rotation, Rules, Selector, Session,
    SessionStore as _,
};
use futures::poll;

use super::{World, obstacle};
use crate::support::expect::session_id;

const MAX_AGE: Duration = Duration::from_secs(60);
const POLICY: FallbackPolicy = FallbackPolicy::ServeStale { max_age: MAX_AGE };
const MOMENT: Duration = Duration::from_millis(1);

/// What an answer is marked with.
fn stale(age: Duration) -> Origin {
    Origin::Stale { age }
}

async fn found(world: &World, session: &Session) -> Option<Session> {
    world.store.get(session.id()).await.unwrap()
}

#[tokio::test]
async fn reads_answer_with_what_was_seen_and_how_long_ago() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.context.clock.advance(MOMENT);
    let copy = found(&world, &session).await.unwrap();
    assert_eq!((copy.origin(), copy.id(), copy.user()), (stale(MOMENT), session.id(), Some("user-a")));
    assert_eq!(copy.get::<String>("color").unwrap().as_deref(), Some("green"));
    world.context.clock.advance(MOMENT);
    let copy = world.store.refresh_and_get(session.id()).await.unwrap().unwrap();
    assert_eq!(copy.origin(), stale(MOMENT * 2));
    let copy = world.store.session_by_connection("connection-a").await.unwrap().unwrap();
    assert_eq!((copy.id(), copy.origin()), (session.id(), stale(MOMENT * 2)));
    assert_eq!(world.store.stats().stale, 3);

    world.mend().await;
    assert_eq!(found(&world, &session).await.unwrap().origin(), Origin::Store);
    world.context.check().await;
}

#[tokio::test]
async fn the_first_failures_are_answered_too_before_the_breaker_opens() {
    let world = World::with(POLICY, Rules::new(), |builder| builder.failures(1000)).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.proxy.cut_off(true);
    for _ in 0..5 {
        assert_eq!(found(&world, &session).await.unwrap().origin(), stale(Duration::ZERO));
    }
    assert_eq!(world.store.stats().opened, 0);
}

#[tokio::test]
async fn an_answer_is_as_old_as_max_age_and_not_older() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.context.clock.advance(MAX_AGE);
    assert_eq!(found(&world, &session).await.unwrap().origin(), stale(MAX_AGE));
    world.context.clock.advance(MOMENT);
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(world.store.refresh_and_get(&session).await), Obstacle::CircuitOpen);
    let by_connection = world.store.session_by_connection("connection-a").await;
    assert_eq!(obstacle(by_connection), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn the_age_counts_from_when_the_read_began() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.other, "a").await;
    let gate = world.hooked.stop_after("get");
    let id = session.id().clone();
    let store = world.handle();
    let read = tokio::spawn(async move { store.get(&id).await });
    gate.reached().await;
    world.context.clock.advance(MAX_AGE);
    gate.open();
    assert!(read.await.unwrap().unwrap().is_some());
    world.cut_off().await;
    world.context.clock.advance(MOMENT);
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn a_session_that_has_expired_is_not_answered() {
    let world = World::new(POLICY).await;
    let new = NewSession::new().ttl(Duration::from_secs(10));
    let session = world.store.create(new).await.unwrap().session;
    world.cut_off().await;
    world.context.clock.set_ms(session.expires_at_ms() - 1);
    assert!(found(&world, &session).await.is_some());
    world.context.clock.set_ms(session.expires_at_ms());
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn what_was_not_seen_is_an_error_and_not_an_absent_session() {
    let world = World::new(POLICY).await;
    let unseen = world.context.session(&world.other, "b").await;
    world.cut_off().await;
    assert_eq!(obstacle(world.store.get(unseen.id()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(world.store.get(&session_id("never")).await), Obstacle::CircuitOpen);
    let by_connection = world.store.session_by_connection("connection-b").await;
    assert_eq!(obstacle(by_connection), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn every_write_and_every_list_fails() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    let other = world.context.session(&world.handle(), "b").await;
    let before = world.context.dump().await;
    world.cut_off().await;
    let (store, owner) = (&world.store, Selector::user("user-a"));
    let patch = Patch::new().set("color", "red").unwrap();
    for found in [
        obstacle(store.create(NewSession::new()).await),
        obstacle(store.update(&mut session.clone()).await),
        obstacle(store.patch(&session, patch).await),
        obstacle(store.refresh(&session).await),
        obstacle(store.rotate(&session, Rotation::new()).await),
        obstacle(store.bind(&session, Binding::new("c")).await),
        obstacle(store.unbind(&session, "connection-a").await),
        obstacle(store.list(&owner, &PageRequest::first(10)).await),
        obstacle(store.count(&owner).await),
        obstacle(store.export(session.id()).await),
        obstacle(store.reap(10).await),
        obstacle(store.delete(&other).await),
        obstacle(store.delete_user("user-b", None).await),
    ] {
        assert_eq!(found, Obstacle::CircuitOpen);
    }
    assert!(found(&world, &session).await.is_some(), "what failed has changed nothing");
    assert_eq!(world.context.dump().await, before);
}

#[tokio::test]
async fn copies_follow_what_is_changed_through_this_process() {
    let world = World::new(POLICY).await;
    let (store, clock) = (&world.store, &world.context.clock);
    let mut session = world.context.session(&world.handle(), "a").await;
    clock.advance(Duration::from_secs(1000));
    store.refresh(session.id()).await.unwrap().unwrap();
    store.patch(session.id(), Patch::new().set("color", "red").unwrap().remove("none")).await.unwrap();
    store.patch(session.id(), Patch::new().set_extension("x", &7).unwrap().suspend()).await.unwrap();
    store.bind(session.id(), Binding::new("c2").node("n2")).await.unwrap();
    let expected = world.other.get(session.id()).await.unwrap().unwrap();
    world.cut_off().await;
    let copy = found(&world, &session).await.unwrap();
    assert_eq!(copy.origin(), stale(Duration::ZERO));
    assert_eq!(format!("{copy:?}").replace("Stale { age: 0ns }", "Store"), format!("{expected:?}"));
    assert_eq!((copy.attributes(), copy.extensions()), (expected.attributes(), expected.extensions()));
    let by_connection = store.session_by_connection("c2").await.unwrap().unwrap();
    assert_eq!(by_connection.id(), session.id());
    assert!(store.session_by_connection("connection-a").await.is_err(), "it has that no longer");

    world.mend().await;
    session = store.get(session.id()).await.unwrap().unwrap();
    session.set("color", "blue").unwrap();
    store.update(&mut session).await.unwrap();
    world.cut_off().await;
    let copy = found(&world, &session).await.unwrap();
    assert_eq!(copy.get::<String>("color").unwrap().as_deref(), Some("blue"));
}

#[tokio::test]
async fn a_copy_that_missed_a_change_of_another_process_is_not_patched_but_dropped() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    world.other.patch(&session, Patch::new().set("color", "blue").unwrap()).await.unwrap();
    world.store.patch(&session, Patch::new().set("size", &1).unwrap()).await.unwrap();
    world.cut_off().await;
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn a_connection_that_was_lost_here_leads_nowhere() {
    let world = World::new(POLICY).await;
    let loser = world.context.session(&world.handle(), "a").await;
    let winner = world.context.session(&world.handle(), "b").await;
    let detached = world.context.session(&world.handle(), "c").await;
    let binding = Binding::new("connection-a").take_over();
    world.store.bind(&winner, binding).await.unwrap();
    world.store.unbind(&detached, "connection-c").await.unwrap();
    world.cut_off().await;
    let by_connection = world.store.session_by_connection("connection-a").await.unwrap().unwrap();
    assert_eq!(by_connection.id(), winner.id());
    assert!(world.store.session_by_connection("connection-c").await.is_err());
    // That it lost its connection is known, the rest of it was not seen.
    assert!(world.store.get(loser.id()).await.is_err());
}

#[tokio::test]
async fn what_was_ended_here_is_no_longer_answered() {
    let limit = Rules::new().sessions_per_user(1, cloakroom::OnLimit::EvictOldest);
    let world = World::with(POLICY, limit, |builder| builder).await;
    let (store, context) = (world.handle(), &world.context);
    let deleted = context.session(&store, "a").await;
    let of_user = context.session(&store, "b").await;
    let rotated = context.session(&store, "c").await;
    let evicted = context.session(&store, "d").await;
    let anonymous = store.create(NewSession::new()).await.unwrap().session;
    let gone_elsewhere = context.session(&store, "e").await;
    context.clock.advance(MOMENT);
    assert!(store.delete(&deleted).await.unwrap().is_some());
    store.delete_user("user-b", None).await.unwrap();
    let new = store.rotate(&rotated, Rotation::new()).await.unwrap().session;
    store.create(NewSession::new().user("user-d")).await.unwrap();
    let logged_in = store.rotate(&anonymous, Rotation::new().user("ann")).await.unwrap().session;
    world.other.delete(&gone_elsewhere).await.unwrap();
    assert!(store.get(gone_elsewhere.id()).await.unwrap().is_none());
    world.cut_off().await;
    for session in [&deleted, &of_user, &rotated, &evicted, &anonymous, &gone_elsewhere] {
        assert_eq!(obstacle(store.get(session.id()).await), Obstacle::CircuitOpen);
        if let Some(connection) = session.connection().filter(|_| session.id() != rotated.id()) {
            assert!(store.session_by_connection(connection).await.is_err());
        }
    }
    assert!(found(&world, &new).await.is_some());
    assert!(found(&world, &logged_in).await.is_some());
}

#[tokio::test]
async fn a_logout_that_fails_ends_the_answers_here_all_the_same() {
    let world = World::new(POLICY).await;
    let (store, context) = (world.handle(), &world.context);
    let (one, kept) = (context.session(&store, "a").await, context.session(&store, "b").await);
    let other = store.create(NewSession::new().user("user-b")).await.unwrap().session;
    world.cut_off().await;
    assert_eq!(obstacle(store.delete(&one).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.get(one.id()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.delete_user("user-b", Some(kept.id())).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.get(other.id()).await), Obstacle::CircuitOpen);
    assert!(found(&world, &kept).await.is_some());
    world.mend().await;
    assert!(found(&world, &one).await.is_some(), "it has failed, and said so");
}

#[tokio::test]
async fn a_logout_with_the_id_from_before_a_rotation_ends_the_answers_under_the_new_one() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let session = world.context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    world.context.clock.advance(MOMENT);
    assert!(store.delete(session.id()).await.unwrap().is_some());
    world.cut_off().await;
    assert_eq!(obstacle(store.get(rotated.id()).await), Obstacle::CircuitOpen);
}

/// A read that the server answered before the session was ended, and that this process hears of afterwards.
async fn ended_during_a_read(end: impl AsyncFn(&World, &Session)) {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.other, "a").await;
    let gate = world.hooked.stop_after("get");
    let mut read = pin!(world.store.get(session.id()));
    while let Poll::Pending = poll!(&mut read)
        && tokio::time::timeout(MOMENT, gate.reached()).await.is_err()
    {}
    world.context.clock.advance(MOMENT);
    end(&world, &session).await;
    gate.open();
    // It was there when it was read.
    assert!(read.await.unwrap().is_some());
    world.context.clock.advance(MOMENT);
    world.cut_off().await;
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn a_read_that_began_before_a_delete_does_not_bring_the_answer_back() {
    ended_during_a_read(async |world, session| {
        assert!(world.store.delete(session).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_read_that_began_before_a_logout_everywhere_does_not_bring_the_answer_back() {
    ended_during_a_read(async |world, _| {
        world.store.delete_user("user-a", None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_read_that_began_before_a_login_does_not_bring_the_answer_back() {
    ended_during_a_read(async |world, session| {
        world.store.rotate(session, Rotation::new().user("ann")).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_read_during_a_delete_whose_answer_is_lost_does_not_bring_the_answer_back() {
    ended_during_a_read(async |world, session| {
        world.hooked.lose_answer("delete");
        let error = world.store.delete(session).await.unwrap_err();
        assert!(matches!(error, Error::Ambiguous { .. }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_read_that_begins_during_a_delete_whose_answer_is_lost_does_not_either() {
    let world = World::new(POLICY).await;
    let session = world.context.session(&world.handle(), "a").await;
    let gate = world.hooked.stop_before("delete");
    let (store, id) = (world.handle(), session.id().clone());
    let deletion = tokio::spawn(async move { store.delete(&id).await });
    gate.reached().await;
    world.context.clock.advance(MOMENT);
    assert!(found(&world, &session).await.is_some());
    world.context.clock.advance(MOMENT);
    world.hooked.lose_answer("delete");
    gate.open();
    assert!(deletion.await.unwrap().unwrap_err().is_ambiguous());
    world.cut_off().await;
    assert_eq!(obstacle(world.store.get(session.id()).await), Obstacle::CircuitOpen);
}

#[tokio::test]
async fn the_copies_that_were_used_least_go_first() {
    let world = World::with(POLICY, Rules::new(), |builder| builder.max_copies(10)).await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(world.store.create(NewSession::new()).await.unwrap().session);
    }
    world.cut_off().await;
    let mut left = 0;
    for session in &sessions {
        left += usize::from(world.store.get(session.id()).await.is_ok());
    }
    assert!((1..=10).contains(&left), "{left}");
}
