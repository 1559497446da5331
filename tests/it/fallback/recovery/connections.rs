//! Connections that went from one session to another here.

use cloakroom::{Binding, NewSession, Refusal, Session, SessionStore as _, Status};

use super::{POLICY, World, red};

async fn assert_taken(world: &World, connection: &str, winner: &Session, loser: &Session) {
    let found = world.other.session_by_connection(connection).await.unwrap().unwrap();
    assert_eq!(found.id(), winner.id());
    let found = world.there(loser.id()).await.unwrap();
    assert_eq!((found.connection(), found.status()), (None, Status::Suspended));
}

#[tokio::test]
async fn a_connection_that_was_taken_over_here_is_right_on_both_sides_in_any_order() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let mut pairs = Vec::new();
    for number in 0..8 {
        let loser = world.context.session(&store, &format!("a{number}")).await;
        let winner = world.context.session(&store, &format!("b{number}")).await;
        pairs.push((loser, winner));
    }
    world.cut_off().await;
    for (number, (loser, winner)) in pairs.iter().enumerate() {
        // Some were here before, some are only known to have the connection.
        if number % 2 == 0 {
            store.patch(loser, red()).await.unwrap();
        }
        let binding = Binding::new(format!("connection-a{number}")).node("n").take_over();
        let bound = store.bind(winner, binding).await.unwrap();
        assert_eq!(bound.taken_from.as_ref(), Some(loser.id()));
    }
    world.mend().await;
    for (number, (loser, winner)) in pairs.iter().enumerate() {
        assert_taken(&world, &format!("connection-a{number}"), winner, loser).await;
        assert!(world.other.session_by_connection(&format!("connection-b{number}")).await.unwrap().is_none());
    }
    assert_eq!(world.report().await.imported.len(), 16);
    world.context.check().await;
}

#[tokio::test]
async fn a_chain_of_take_overs_is_right() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let mut sessions = Vec::new();
    for number in 0..6 {
        sessions.push(world.context.session(&store, &number.to_string()).await);
    }
    world.cut_off().await;
    for (number, session) in sessions.iter().enumerate().skip(1) {
        let binding = Binding::new(format!("connection-{}", number - 1)).take_over();
        store.bind(session, binding).await.unwrap();
    }
    world.mend().await;
    for (number, session) in sessions.iter().enumerate().skip(1) {
        let connection = format!("connection-{}", number - 1);
        let found = world.other.session_by_connection(&connection).await.unwrap().unwrap();
        assert_eq!(found.id(), session.id());
    }
    assert_eq!(world.store.stats().conflicts, 0);
    world.context.check().await;
}

#[tokio::test]
async fn a_new_session_may_have_the_connection_of_one_that_was_logged_out_here() {
    let world = World::new(POLICY).await;
    let old = world.context.session(&world.handle(), "a").await;
    world.cut_off().await;
    world.store.delete(&old).await.unwrap();
    let new = world.store.create(NewSession::new().connection("connection-a")).await.unwrap().session;
    world.mend().await;
    let found = world.other.session_by_connection("connection-a").await.unwrap().unwrap();
    assert_eq!(found.id(), new.id());
    world.context.check().await;
}

#[tokio::test]
async fn a_connection_that_another_process_gave_away_meanwhile_is_theirs() {
    let world = World::new(POLICY).await;
    let session = world.changed_here("a").await;
    world.store.bind(&session, Binding::new("wanted")).await.unwrap();
    let theirs = world.other.create(NewSession::new().connection("wanted")).await.unwrap().session;
    world.mend().await;
    let found = world.other.session_by_connection("wanted").await.unwrap().unwrap();
    assert_eq!(found.id(), theirs.id());
    assert_eq!(world.report().await.conflicts, [(session.id().clone(), Refusal::Taken)]);
    assert_eq!(world.there(session.id()).await.unwrap().version(), session.version());
    world.context.check().await;
}

/// Who has which connection, each session by its number.
async fn assert_have(world: &World, sessions: &[Session], connections: &[&str]) {
    for (session, connection) in sessions.iter().zip(connections) {
        let found = world.other.session_by_connection(connection).await.unwrap().unwrap();
        assert_eq!(found.id(), session.id());
    }
    assert_eq!(world.store.stats().conflicts, 0);
    world.context.check().await;
}

#[tokio::test]
async fn two_sessions_that_swapped_their_connections_here_have_each_others() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let pair = [world.context.session(&store, "a").await, world.context.session(&store, "b").await];
    world.cut_off().await;
    store.bind(&pair[0], Binding::new("connection-b").node("n").take_over()).await.unwrap();
    store.bind(&pair[1], Binding::new("connection-a").node("n")).await.unwrap();
    world.mend().await;
    assert_have(&world, &pair, &["connection-b", "connection-a"]).await;
}

#[tokio::test]
async fn sessions_that_passed_their_connections_round_here_have_the_next_ones() {
    let world = World::new(POLICY).await;
    let store = world.handle();
    let mut sessions = Vec::new();
    for name in ["a", "b", "c"] {
        sessions.push(world.context.session(&store, name).await);
    }
    world.cut_off().await;
    for (session, connection) in sessions.iter().zip(["b", "c", "a"]) {
        let binding = Binding::new(format!("connection-{connection}")).take_over();
        store.bind(session, binding).await.unwrap();
    }
    world.mend().await;
    assert_have(&world, &sessions, &["connection-b", "connection-c", "connection-a"]).await;
}
