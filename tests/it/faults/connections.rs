//! Connections that break or are refused.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::{Error, NewSession, Obstacle, PageRequest, Patch, RedisStore, Rules, Selector};

use super::{causes, obstacle, undisturbed_under};
use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::manager::Manager;

/// Ends the connections of all but the test's own.
async fn kill_connections(context: &Context) {
    context.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_killed_in_a_loop_under_load_are_invisible() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    let mut kills = 0;
    undisturbed_under(&store, 50, async |progress| {
        let mut next = 0;
        while !progress.is_done() {
            // In step with the load: whatever its speed, no call meets as many kills as it makes attempts.
            if progress.rounds() >= next {
                kill_connections(&context).await;
                kills += 1;
                next = progress.rounds() + 8;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(kills > 10, "the load was hardly disturbed: {kills} kills");
    context.check().await;
}

#[tokio::test]
async fn connections_of_a_manager_that_was_handed_in_may_be_killed() {
    let context = Context::own(&[]).await;
    let manager = Manager::new(context.server().url());
    let builder = RedisStore::builder_with_manager(manager).pool_size(3).namespace(&context.namespace);
    let store = build(builder.deadline(Duration::from_secs(20))).await;
    let session = context.session(&store, "a").await;
    for round in 0..20_u64 {
        kill_connections(&context).await;
        let patch = Patch::new().set("round", &round).unwrap();
        let patched = store.patch(&session, patch).await.unwrap();
        assert_eq!(patched.version.get(), round + 2, "patched once");
        kill_connections(&context).await;
        let found = store.get(session.id()).await.unwrap().unwrap();
        assert_eq!(found.get::<u64>("round").unwrap(), Some(round));
        kill_connections(&context).await;
        let page = store.list(&Selector::user("user-a"), &PageRequest::first(10)).await;
        assert_eq!(page.unwrap().sessions.len(), 1);
    }
    context.check().await;
}

/// A store on the context's server with a password.
async fn with_password(context: &Context, password: &str) -> Result<Store, Error> {
    let url = format!("redis://:{password}@{}/", context.server().address());
    let builder = RedisStore::builder(url).namespace(&context.namespace).deadline(Duration::from_secs(20));
    Ok(Arc::new(builder.connect_timeout(Duration::from_secs(10)).build().await?))
}

#[tokio::test]
async fn a_missing_or_wrong_password_is_a_plain_error_that_does_not_show_it() {
    let context = Context::own(&[]).await;
    context.command::<()>(&["CONFIG", "SET", "requirepass", "right"]).await;
    let without = context.builder(Rules::new()).build().await;
    assert_eq!(obstacle(without), Obstacle::Auth);
    let without = causes(context.builder(Rules::new()).build().await);
    assert!(without.contains("NOAUTH"), "{without}");

    assert_eq!(obstacle(with_password(&context, "guess-17").await), Obstacle::Auth);
    let wrong = causes(with_password(&context, "guess-17").await);
    assert!(wrong.contains("uthentication"), "{wrong}");
    let debug = format!("{:?}", with_password(&context, "guess-17").await.unwrap_err());
    assert!(!wrong.contains("guess-17") && !debug.contains("guess-17"));

    let store = with_password(&context, "right").await.unwrap();
    context.session(&store, "a").await;
    context.check().await;
}

#[tokio::test]
async fn a_server_that_begins_to_ask_for_a_password_is_not_an_absent_session() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.command::<()>(&["CONFIG", "SET", "requirepass", "right"]).await;
    let before = context.dump().await;
    kill_connections(&context).await;
    // The connection that was killed is found by the first call, which a write would have to call ambiguous.
    assert_eq!(obstacle(store.get(session.id()).await), Obstacle::Auth);
    for _ in 0..8 {
        assert_eq!(obstacle(store.get(session.id()).await), Obstacle::Auth);
        assert_eq!(obstacle(store.delete(&session).await), Obstacle::Auth);
        assert_eq!(obstacle(store.refresh(&session).await), Obstacle::Auth);
        assert_eq!(obstacle(store.create(NewSession::new()).await), Obstacle::Auth);
    }
    assert_eq!(context.dump().await, before);
    context.command::<()>(&["CONFIG", "SET", "requirepass", ""]).await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    store.delete(&session).await.unwrap();
    context.check().await;
}
