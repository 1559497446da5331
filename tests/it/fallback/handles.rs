//! The common parts of all stores on this one: handles, closing, the reaper, the end of the background
//! task.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::fallback::{FallbackPolicy, FallbackStore, Origin};
use cloakroom::{NewSession, Obstacle, OperationId, Patch, Selector, Session, SessionStore as _};

use super::{COOL_DOWN, World, impatient, obstacle, opens};
use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::proxy::Proxy;

const LOCAL: FallbackPolicy = FallbackPolicy::LocalOnly { ttl: Duration::from_secs(60) };
const STALE: FallbackPolicy = FallbackPolicy::ServeStale { max_age: Duration::from_secs(60) };

#[tokio::test]
async fn a_call_that_is_repeated_under_its_operation_id_happens_once() {
    for policy in [FallbackPolicy::FailClosed, STALE, LOCAL] {
        let world = World::new(policy).await;
        let session = world.context.session(&world.handle(), "a").await;
        let again = world.store.with_operation_id(OperationId::random());
        for _ in 0..2 {
            let patched = again.patch(&session, Patch::new().set("color", "red").unwrap()).await;
            assert_eq!(patched.unwrap().version.get(), 2);
        }
        let again = world.store.with_operation_id(OperationId::random());
        for _ in 0..2 {
            assert!(again.delete(&session).await.unwrap().is_some());
        }
        world.context.check().await;
    }
}

#[tokio::test]
async fn a_call_that_is_repeated_in_this_process_happens_once() {
    let world = World::new(LOCAL).await;
    world.cut_off().await;
    let again = world.store.with_operation_id(OperationId::random());
    let created = again.create(NewSession::new().user("ann")).await.unwrap().session;
    assert_eq!(again.create(NewSession::new().user("ann")).await.unwrap().session.id(), created.id());
    let again = world.store.with_operation_id(OperationId::random());
    for _ in 0..2 {
        let patched = again.patch(&created, Patch::new().set("color", "red").unwrap()).await;
        assert_eq!(patched.unwrap().version.get(), 2);
    }
    assert_eq!(world.store.stats().local, 1);
    world.mend().await;
    // What it remembers of its last change has come along.
    let patched = again.patch(&created, Patch::new().set("color", "red").unwrap()).await;
    assert_eq!(patched.unwrap().version.get(), 2);
    world.context.check().await;
}

#[tokio::test]
async fn handles_of_a_store_share_what_it_knows() {
    let world = World::new(LOCAL).await;
    let handle = world.handle();
    world.cut_off().await;
    let session = handle.create(NewSession::new()).await.unwrap().session;
    let found = world.store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((found.id(), found.origin()), (session.id(), Origin::Local));
}

#[tokio::test]
async fn after_close_every_call_says_that_the_store_is_closed() {
    for policy in [FallbackPolicy::FailClosed, STALE, LOCAL] {
        for away in [false, true] {
            let world = World::new(policy).await;
            let store = world.handle();
            let session = world.context.session(&store, "a").await;
            if away {
                world.cut_off().await;
            }
            store.close().await;
            assert_eq!(obstacle(store.get(session.id()).await), Obstacle::Closed, "{policy:?} {away}");
            assert_eq!(obstacle(store.refresh(&session).await), Obstacle::Closed, "{policy:?} {away}");
            assert_eq!(obstacle(store.create(NewSession::new()).await), Obstacle::Closed);
            assert_eq!(obstacle(store.delete(&session).await), Obstacle::Closed, "{policy:?} {away}");
            assert_eq!(obstacle(store.delete_user("user-a", None).await), Obstacle::Closed);
            assert_eq!(obstacle(store.count(&Selector::user("user-a")).await), Obstacle::Closed);
            let by_connection = store.session_by_connection("connection-a").await;
            assert_eq!(obstacle(by_connection), Obstacle::Closed, "{policy:?} {away}");
        }
    }
}

#[tokio::test]
async fn a_reaper_over_it_survives_an_outage() {
    let world = World::new(FallbackPolicy::FailClosed).await;
    let session = world.context.session(&world.handle(), "a").await;
    let (sender, mut removed) = tokio::sync::mpsc::unbounded_channel();
    let on_removed = move |session: &Session| sender.send(session.clone()).unwrap();
    world.cut_off().await;
    let reaper =
        Reaper::builder(world.handle()).every(COOL_DOWN).batch(10).on_removed(on_removed).spawn().unwrap();
    eventually("it fails", async || reaper.stats().errors > 3).await;
    world.mend().await;
    world.context.clock.set_ms(session.expires_at_ms());
    let reaped = removed.recv().await.unwrap();
    assert_eq!(reaped.id(), session.id());
    assert_eq!(reaper.stop().await.removed, 1);
    world.context.check().await;
}

#[tokio::test]
async fn dropping_the_store_ends_its_task() {
    let context = Context::own(&[]).await;
    let proxy = Proxy::start(context.server().address()).await;
    let inner: Store = impatient(&context, &proxy.url).await;
    let watched = Arc::downgrade(&inner);
    let store = FallbackStore::builder(inner).policy(LOCAL).failures(1).cool_down(COOL_DOWN).build().unwrap();
    proxy.cut_off(true);
    opens(&store).await;
    store.create(NewSession::new()).await.unwrap();
    let before = store.stats().probes;
    eventually("it probes", async || store.stats().probes > before + 2).await;
    drop(store);
    eventually("nobody has the store any more", async || watched.upgrade().is_none()).await;
}
