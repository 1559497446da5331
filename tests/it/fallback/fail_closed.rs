//! FailClosed: every call fails, at once, and nothing is lost.

use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore, Origin};
use cloakroom::migration::Import;
use cloakroom::{
    Binding, Error, NewSession, Obstacle, PageRequest, Patch, Rotation, Rules, Selector, Session,
    SessionStore as _,
};

use super::{COOL_DOWN, World, impatient, obstacle, opens, recovers};
use crate::support::Context;
use crate::support::context::{Store, eventually};

/// How each operation is kept from being executed.
async fn each_operation(store: &Store, session: &Session) -> Vec<Obstacle> {
    let mut copy = session.clone();
    copy.set("color", "red").unwrap();
    let (id, owner) = (session.id(), Selector::user("user-a"));
    let patch = Patch::new().set("color", "red").unwrap();
    vec![
        obstacle(store.create(NewSession::new().user("user-a")).await),
        obstacle(store.get(id).await),
        obstacle(store.update(&mut copy).await),
        obstacle(store.patch(session, patch).await),
        obstacle(store.refresh(id).await),
        obstacle(store.refresh_and_get(session).await),
        obstacle(store.rotate(session, Rotation::new()).await),
        obstacle(store.bind(session, Binding::new("another")).await),
        obstacle(store.unbind(session, "connection-a").await),
        obstacle(store.delete(session).await),
        obstacle(store.export(id).await),
        obstacle(store.list(&owner, &PageRequest::first(10)).await),
        obstacle(store.count(&owner).await),
        obstacle(store.session_by_connection("connection-a").await),
        obstacle(store.delete_user("user-a", None).await),
        obstacle(store.expired(None, 0, 10).await),
        obstacle(store.reap(10).await),
    ]
}

#[tokio::test]
async fn every_operation_fails_while_the_server_is_away_and_changes_nothing() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let store = world.handle();
    let session = world.context.session(&store, "a").await;
    let export = store.export(session.id()).await.unwrap().unwrap();
    let before = world.context.dump().await;
    world.cut_off().await;
    for found in each_operation(&store, &session).await {
        assert_eq!(found, Obstacle::CircuitOpen);
    }
    assert_eq!(obstacle(store.import(Import::new(export)).await), Obstacle::CircuitOpen);
    assert_eq!(world.store.stats().rejected, 18);
    assert_eq!(world.context.dump().await, before);

    world.mend().await;
    let mut found = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((&found, found.origin()), (&session, Origin::Store));
    found.set("color", "red").unwrap();
    store.update(&mut found).await.unwrap();
    store.delete(&found).await.unwrap();
    assert!(store.get(session.id()).await.unwrap().is_none());
    let stats = world.store.stats();
    assert_eq!((stats.opened, stats.rejected, stats.stale, stats.local), (1, 18, 0, 0));
    assert_eq!((stats.revoked, stats.imported, stats.dropped, stats.conflicts), (0, 0, 0, 0));
    world.context.check().await;
}

#[tokio::test]
async fn an_error_passes_as_it_is_until_the_breaker_opens() {
    let mut context = Context::own(&[]).await;
    let session = context.session(&context.store(Rules::new()).await, "a").await;
    let inner = impatient(&context, context.server().url()).await;
    let store = FallbackStore::builder(inner).failures(3).cool_down(COOL_DOWN).build().unwrap();
    context.server_mut().freeze().await;
    let patch = || Patch::new().set("color", "red").unwrap();
    // It was sent, so it may happen.
    let Error::Ambiguous { operation_id, .. } = store.patch(&session, patch()).await.unwrap_err() else {
        panic!("it was sent")
    };
    assert_eq!(obstacle(store.get(session.id()).await), Obstacle::Connect);
    assert!(store.patch(&session, patch()).await.unwrap_err().is_not_executed());
    assert_eq!(store.stats().breaker, BreakerState::Closed, "two writes and a read are no three of one kind");
    assert!(store.patch(&session, patch()).await.unwrap_err().is_not_executed());
    assert_ne!(store.stats().breaker, BreakerState::Closed);
    assert_eq!(obstacle(store.patch(&session, patch()).await), Obstacle::CircuitOpen);
    assert_eq!(obstacle(store.get(session.id()).await), Obstacle::CircuitOpen);

    context.server_mut().thaw().await;
    recovers(&store).await;
    // What was ambiguous has happened, or happens with the retry, and once.
    let again = store.with_operation_id(operation_id);
    eventually("it has happened", async || again.patch(&session, patch()).await.is_ok()).await;
    assert_eq!(context.stored(session.id()).await.unwrap().version, 2);
    context.check().await;
}

#[tokio::test]
async fn a_killed_server_that_comes_back_is_found_without_a_new_store() {
    let mut context = Context::own(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let inner = context.store(Rules::new()).await;
    let session = context.session(&inner, "a").await;
    let store = FallbackStore::builder(inner).failures(2).cool_down(COOL_DOWN).build().unwrap();
    for round in 1..=3 {
        context.server_mut().kill().await;
        opens(&store).await;
        assert_eq!(obstacle(store.get(session.id()).await), Obstacle::CircuitOpen);
        context.server_mut().restart().await;
        recovers(&store).await;
        assert!(store.get(session.id()).await.unwrap().is_some());
        assert_eq!(store.stats().opened, round);
    }
    context.reconnect().await;
    context.check().await;
}

#[tokio::test]
async fn a_server_that_was_shut_down_and_comes_back_is_found_too() {
    let mut context = Context::own(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let inner = context.store(Rules::new()).await;
    let session = context.session(&inner, "a").await;
    let store = FallbackStore::builder(inner).failures(2).cool_down(COOL_DOWN).build().unwrap();
    // It answers nothing, it goes.
    let _ = context.try_command::<()>(&["SHUTDOWN", "NOSAVE"]).await;
    opens(&store).await;
    assert_eq!(obstacle(store.get(session.id()).await), Obstacle::CircuitOpen);
    context.server_mut().restart().await;
    recovers(&store).await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    context.reconnect().await;
    context.check().await;
}
