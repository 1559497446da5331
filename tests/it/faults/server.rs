//! A server that runs and refuses: memory full.

use cloakroom::{NewSession, Obstacle, PageRequest, Patch, Rotation, Rules, Selector};

use super::{causes, obstacle};
use crate::support::Context;

#[tokio::test]
async fn a_server_without_memory_takes_no_new_data_and_still_reads_and_deletes() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let other = context.session(&store, "b").await;
    let before = context.dump().await;
    context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let new = NewSession::new().user("user-a").connection("c").node("node-a");
    assert_eq!(obstacle(store.create(new.clone()).await), Obstacle::OutOfMemory);
    assert_eq!(obstacle(store.create(NewSession::new()).await), Obstacle::OutOfMemory);
    let patch = Patch::new().set("color", "red").unwrap();
    let text = causes(store.patch(&session, patch.clone()).await);
    assert!(text.starts_with("not executed") && text.contains("OOM"), "{text}");
    context.command::<()>(&["SCRIPT", "FLUSH"]).await;
    let text = causes(store.patch(&session, patch).await);
    assert!(text.starts_with("not executed") && text.contains("OOM"), "{text}");
    session.set("color", "red").unwrap();
    assert_eq!(obstacle(store.update(&mut session).await), Obstacle::OutOfMemory);
    assert_eq!(obstacle(store.rotate(&session, Rotation::new()).await), Obstacle::OutOfMemory);
    assert_eq!(context.dump().await, before, "a refused write changed something");

    assert!(store.get(session.id()).await.unwrap().is_some());
    let owner = Selector::user("user-a");
    assert_eq!(store.count(&owner).await.unwrap(), 1);
    let page = store.list(&owner, &PageRequest::first(10)).await.unwrap();
    assert_eq!(page.sessions.len(), 1);
    assert!(store.unbind(&session, "connection-a").await.unwrap());
    assert!(store.delete(&session).await.unwrap().is_some());
    assert_eq!(store.delete_user("user-b", None).await.unwrap().removed.len(), 1);
    assert!(store.get(other.id()).await.unwrap().is_none());
    context.check().await;

    context.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    store.create(new).await.unwrap();
    context.check().await;
}

#[tokio::test]
async fn a_server_without_memory_still_reaps() {
    let context = Context::own(&[]).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.clock.set_ms(session.expires_at_ms());
    context.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    assert_eq!(context.keys().await, [context.key("expiry")]);
    context.check().await;
}
