//! A server that runs and refuses: memory full, read-only.

use cloakroom::{
    Binding, Error, NewSession, Obstacle, PageRequest, Patch, Rotation, Rules, Selector, Session,
};

use super::{causes, obstacle};
use crate::support::Context;
use crate::support::context::{Store, eventually};

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
    assert!(store.delete(&session).await.unwrap());
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

/// How each operation that writes to a session is kept from being executed.
async fn each_write(store: &Store, mut session: Session) -> [Obstacle; 8] {
    let patch = Patch::new().set("color", "red").unwrap();
    session.set_node("another");
    [
        obstacle(store.update(&mut session).await),
        obstacle(store.patch(&session, patch).await),
        obstacle(store.refresh(&session).await),
        obstacle(store.rotate(&session, Rotation::new()).await),
        obstacle(store.bind(&session, Binding::new("new")).await),
        obstacle(store.unbind(&session, "connection-a").await),
        obstacle(store.delete(&session).await),
        obstacle(store.delete_user("user-a", None).await),
    ]
}

#[tokio::test]
async fn a_read_only_replica_reads_and_refuses_writes_until_it_is_promoted() {
    let master = Context::own(&[]).await;
    let address = master.server().address();
    let (host, port) = address.split_once(':').unwrap();
    let mut replica = Context::own(&["--replicaof", host, port, "--repl-diskless-sync-delay", "0"]).await;
    replica.namespace.clone_from(&master.namespace);
    let mut session = master.session(&master.store(Rules::new()).await, "a").await;
    eventually("the session is replicated", async || {
        replica.try_command::<i64>(&["EXISTS", &replica.record_key(session.id())]).await == Ok(1)
    })
    .await;
    let before = replica.dump().await;

    let store = replica.store(Rules::new()).await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    assert_eq!(store.count(&Selector::user("user-a")).await.unwrap(), 1);
    let new = NewSession::new().user("user-a").connection("c").node("node-a");
    let text = causes(store.create(new.clone()).await);
    assert!(text.starts_with("not executed") && text.to_lowercase().contains("readonly"), "{text}");
    for refused in each_write(&store, session.clone()).await {
        assert_eq!(refused, Obstacle::Unavailable);
    }
    assert_eq!(replica.dump().await, before, "a refused write changed something");

    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    store.create(new).await.unwrap();
    let patch = Patch::new().set("color", "red").unwrap();
    store.patch(session.id(), patch).await.unwrap();
    assert!(store.delete(session.id()).await.unwrap());
    let error = store.update(&mut session).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    replica.check().await;
    master.check().await;
}
