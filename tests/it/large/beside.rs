//! Large requests have their own connections, and do not hold up small ones.

use std::time::Duration;

use cloakroom::{RedisStore, Rules, Session};
use futures::future::{join_all, try_join_all};

use super::{KIB, MIB, of_size, rules};
use crate::support::Context;
use crate::support::context::{Store, build, eventually};
use crate::support::expect::session_id;
use crate::support::narrow::Narrow;

/// Each connection carries so much before it is stuck: the scripts at a start, and hundreds of small sessions.
const WIDTH: usize = 2 * MIB;

/// Longer than a busy machine takes for all that is small.
const LONG: Duration = Duration::from_secs(60);

/// A store with one connection for what is small, on a network where nothing large gets through.
async fn behind_a_narrow_network(context: &Context) -> (Narrow, Store) {
    let narrow = Narrow::start(context.server().address(), WIDTH).await;
    let builder = RedisStore::builder(&narrow.url).namespace(&context.namespace);
    // What is stuck is not given up.
    let builder = builder.rules(rules()).pool_size(1).deadline(LONG).connect_timeout(LONG);
    (narrow, build(builder).await)
}

async fn small_calls(store: &Store, made_before: &Session) {
    for round in 0..5 {
        let created =
            join_all((0..20).map(|at| store.create(of_size(100, &format!("small-{round}-{at}"))))).await;
        let created: Vec<Session> = created.into_iter().map(|created| created.unwrap().session).collect();
        let read = try_join_all(created.iter().map(|session| store.get(session.id()))).await.unwrap();
        assert_eq!(read, created.into_iter().map(Some).collect::<Vec<_>>());
        assert_eq!(store.get(made_before.id()).await.unwrap().as_ref(), Some(made_before));
    }
}

#[tokio::test]
async fn a_large_reply_holds_up_no_small_one_on_the_only_connection() {
    let context = Context::own(&[]).await;
    let direct = context.store(rules()).await;
    let large = direct.create(of_size(4 * MIB, "large")).await.unwrap().session;
    let small = direct.create(of_size(100, "small")).await.unwrap().session;
    let (narrow, store) = behind_a_narrow_network(&context).await;
    let read = tokio::spawn({
        let (store, id) = (store.clone(), large.id().clone());
        async move { store.get(&id).await }
    });
    narrow.is_stuck().await;
    small_calls(&store, &small).await;
    assert!(!read.is_finished());
    narrow.widen();
    assert_eq!(read.await.unwrap().unwrap(), Some(large));
}

#[tokio::test]
async fn a_large_request_holds_up_no_small_one_on_the_only_connection() {
    let context = Context::own(&[]).await;
    let small = context.store(rules()).await.create(of_size(100, "small")).await.unwrap().session;
    let (narrow, store) = behind_a_narrow_network(&context).await;
    let created = tokio::spawn({
        let store = store.clone();
        async move { store.create(of_size(4 * MIB, "large")).await }
    });
    narrow.is_stuck().await;
    small_calls(&store, &small).await;
    assert!(!created.is_finished());
    narrow.widen();
    let created = created.await.unwrap().unwrap().session;
    assert_eq!(context.store(rules()).await.get(created.id()).await.unwrap(), Some(created));
    context.check().await;
}

/// How often a read asks the server: for so many whole values, and for so many beginnings.
async fn asked(
    context: &Context,
    store: &Store,
    name: &str,
) -> (cloakroom::Result<Option<Session>>, (u64, u64)) {
    let before = context.count().await;
    let answer = store.get(&session_id(name)).await;
    let commands = context.cost_since(&before).await.commands;
    let count = |name: &str| commands.get(name).copied().unwrap_or_default();
    (answer, (count("get"), count("getrange")))
}

#[tokio::test]
async fn where_sessions_may_be_large_a_read_asks_twice_for_what_is_and_for_what_is_absent() {
    let context = Context::own(&[]).await;
    let (usual, store) = (context.store(Rules::new()).await, context.store(rules()).await);
    let sizes = [("small", 100), ("almost", 60 * KIB), ("large", 64 * KIB), ("largest", 4 * MIB)];
    for (name, bytes) in sizes {
        let session = store.create(of_size(bytes, name)).await.unwrap().session;
        let is_large = bytes >= 64 * KIB;
        assert_eq!(
            asked(&context, &store, name).await,
            (Ok(Some(session.clone())), (u64::from(is_large), 1))
        );
        // By default sessions are not so large that they would be asked for twice.
        assert_eq!(asked(&context, &usual, name).await, (Ok(Some(session)), (1, 0)));
    }
    assert_eq!(asked(&context, &store, "absent").await, (Ok(None), (1, 1)));
    // What is empty is not absent.
    context.command::<()>(&["SET", &context.key("session:empty"), "", "PX", "60000"]).await;
    for store in [&usual, &store] {
        let error = asked(&context, store, "empty").await.0.unwrap_err();
        assert!(matches!(error, cloakroom::Error::Corrupt { .. }), "{error:?}");
    }
    context.command::<()>(&["DEL", &context.key("session:empty")]).await;
    context.check().await;
}

#[tokio::test]
async fn a_large_session_is_kept_in_the_near_cache_and_the_word_of_its_change_comes() {
    let context = Context::own(&[]).await.near();
    let store = context.store(rules()).await;
    let other = context.store(rules()).await;
    let session = other.create(of_size(300 * KIB, "large")).await.unwrap().session;
    assert_eq!(asked(&context, &store, "large").await, (Ok(Some(session.clone())), (1, 1)));
    assert_eq!(asked(&context, &store, "large").await, (Ok(Some(session.clone())), (0, 0)));
    assert!(other.delete(&session).await.unwrap().is_some());
    let is_gone = async || store.get(session.id()).await.unwrap().is_none();
    eventually("the logout is seen", is_gone).await;
}
