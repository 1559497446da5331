//! Building a store: its URLs, its clients, and that it does not leak secrets.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::{
    Binding, Error, NewSession, Obstacle, OperationId, PageRequest, Patch, RedisStore, Rotation, Rules,
    Selector, SessionId, SessionStore,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{all_that_is_told, session_id};
use crate::support::manager::Manager;
use crate::support::traced::{capture, closed};

#[tokio::test]
async fn each_bad_setting_is_named_with_its_limits() {
    let context = Context::redis().await;
    let builder = || context.builder(Rules::new());
    let zero = Duration::ZERO;
    for (builder, expected) in [
        (builder().pool_size(0), "pool_size is 0, must be 1 to 1000"),
        (builder().pool_size(1001), "pool_size is 1001, must be 1 to 1000"),
        (builder().connect_timeout(zero), "connect_timeout is 0ns, must be 1ms to 3600s"),
        (builder().deadline(zero), "deadline is 0ns, must be 1ms to 3600s"),
        (builder().deadline(Duration::from_secs(3601)), "deadline is 3601s, must be 1ms to 3600s"),
        (builder().rules(Rules::new().grace(zero)), "grace is 0ns, must be 1s to 315360000s"),
        (builder().namespace("a{b}"), "namespace has a brace, which would change the hash tag"),
    ] {
        let error = builder.build().await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_password_is_never_told() {
    for url in [
        "redis://ann:hush-hush@[",
        "http://ann:hush-hush@localhost/",
        "redis://ann:hush-hush@localhost/not-a-number",
        "redis://ann:hush-hush@localhost:99999/",
        "hush-hush",
        "",
        // This one is right, and nobody listens there.
        "redis://ann:hush-hush@127.0.0.1:1/",
    ] {
        let builder = RedisStore::builder(url);
        assert!(!format!("{builder:?}").contains("hush-hush"), "{builder:?}");
        let error = builder.build().await.unwrap_err();
        assert!(!all_that_is_told(&error).contains("hush-hush"), "{}", all_that_is_told(&error));
        if !url.ends_with(":1/") {
            assert!(error.to_string().starts_with("url "), "{error}");
        }
    }
    let client = cloakroom::clients::redis::Client::open("redis://ann:hush-hush@127.0.0.1:1/").unwrap();
    let builder = RedisStore::builder_with_client(client);
    assert!(!format!("{builder:?}").contains("hush-hush"), "{builder:?}");
}

#[tokio::test]
async fn an_unreachable_server_is_told_by_each_call_long_before_the_deadline_with_its_cause() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let builder =
        RedisStore::builder(format!("redis://127.0.0.1:{port}/")).deadline(Duration::from_secs(3600));
    let store = builder.build_lazy().unwrap();
    let id = session_id("a");
    let called = tokio::time::timeout(Duration::from_secs(60), store.get(&id));
    let error = called.await.expect("it waits for the deadline").unwrap_err();
    assert!(error.is_not_executed());
    let Error::NotExecuted { reason, source } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*reason, Obstacle::Connect);
    let cause = source.as_ref().expect("no cause").to_string();
    let refused = std::io::Error::from_raw_os_error(111);
    assert_eq!(cause, format!("no connection to the server: {refused} (127.0.0.1:{port})"));
    assert_eq!(error.to_string(), format!("not executed: {cause}"));
}

#[tokio::test]
async fn a_store_on_connections_that_the_service_makes_works() {
    let context = Context::redis().await;
    let manager = Manager::new(context.server().url());
    let store = RedisStore::builder_with_manager(manager).namespace(&context.namespace);
    every_operation(Arc::new(store.build().await.unwrap())).await;
    context.check().await;
}

#[tokio::test]
async fn a_store_on_a_client_that_the_service_has_works() {
    let context = Context::redis().await;
    let client = cloakroom::clients::redis::Client::open(context.server().url()).unwrap();
    let store = RedisStore::builder_with_client(client).namespace(&context.namespace);
    every_operation(Arc::new(store.build().await.unwrap())).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_dyn_store_has_all_operations(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    every_operation(context.store(Rules::new()).await).await;
    context.check().await;
}

/// Each operation once, without a trace of the type of the store.
async fn every_operation(store: Arc<dyn SessionStore>) {
    let new = NewSession::new().user("ann").connection("socket").node("gateway");
    let mut session = store.create(new).await.unwrap().session;
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    session.set("color", "green").unwrap();
    store.update(&mut session).await.unwrap();
    let patch = Patch::new().set("size", &3).unwrap();
    assert!(store.patch(&session, patch).await.unwrap().changed);
    assert!(store.refresh(&session).await.unwrap().is_some());
    let mut session = store.refresh_and_get(&session).await.unwrap().unwrap();
    assert_eq!(session.get::<u32>("size").unwrap(), Some(3));
    session = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let bound = store.bind(&session, Binding::new("other")).await.unwrap();
    assert_eq!(bound.previous_connection.as_deref(), Some("socket"));
    let found = store.session_by_connection("other").await.unwrap().unwrap();
    assert_eq!(found.id(), session.id());
    assert!(store.unbind(&session, "other").await.unwrap());
    let page = PageRequest::first(10);
    let page = store.list(&Selector::user("ann"), &page).await.unwrap();
    assert_eq!(page.sessions.len(), 1);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);
    assert!(store.expired(None, 0, 10).await.unwrap().is_empty());
    assert!(store.reap(10).await.unwrap().sessions.is_empty());
    let reaper = Reaper::builder(store.clone()).every(Duration::from_secs(3600)).batch(10).spawn().unwrap();
    assert_eq!(reaper.stop().await.errors, 0);
    let again = store.with_operation_id(OperationId::random());
    assert!(again.delete(&session).await.unwrap().is_some());
    assert!(again.delete(&session).await.unwrap().is_some());
    assert!(store.delete(&session).await.unwrap().is_none());
    let other = NewSession::new().user("ann");
    store.create(other).await.unwrap();
    let deleted = store.delete_user("ann", None).await.unwrap();
    assert_eq!(deleted.removed.len(), 1);
    store.close().await;
}

#[rstest]
#[tokio::test]
async fn after_close_every_call_is_not_executed_for_the_store_is_closed(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let clone = store.clone();
    let before = context.dump().await;
    store.close().await;
    store.close().await;
    let page = PageRequest::first(1);
    let results = [
        clone.create(NewSession::new()).await.map(drop),
        clone.get(session.id()).await.map(drop),
        clone.update(&mut session).await,
        clone.patch(&session, Patch::new()).await.map(drop),
        clone.refresh(&session).await.map(drop),
        clone.refresh_and_get(&session).await.map(drop),
        clone.rotate(&session, Rotation::new()).await.map(drop),
        clone.bind(&session, Binding::new("socket")).await.map(drop),
        clone.unbind(&session, "connection-a").await.map(drop),
        clone.delete(&session).await.map(drop),
        clone.list(&Selector::user("user-a"), &page).await.map(drop),
        clone.count(&Selector::user("user-a")).await.map(drop),
        clone.session_by_connection("connection-a").await.map(drop),
        clone.delete_user("user-a", None).await.map(drop),
        clone.expired(None, 0, 1).await.map(drop),
        clone.reap(1).await.map(drop),
    ];
    for (at, result) in results.into_iter().enumerate() {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "not executed: the store is closed", "call {at}");
        assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Closed, .. }));
    }
    assert_eq!(context.dump().await, before);
}

#[tokio::test]
async fn spans_name_operation_outcome_and_round_trips_and_never_an_id() {
    let (traced, guard) = capture();
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let id = session_id("a-secret-id");
    let new = NewSession::new().id(id.clone()).user("ann").connection("socket");
    let session = store.create(new).await.unwrap().session;
    let again = NewSession::new().id(id.clone());
    store.create(again).await.unwrap_err();
    store.get(&id).await.unwrap().unwrap();
    let rotation = Rotation::new().new_id(session_id("a-secret-id-too"));
    store.rotate(&id, rotation).await.unwrap();
    store.patch(&session, Patch::new()).await.unwrap();
    let key = context.record_key(&session_id("a-secret-id-too"));
    let _: () = context.command(&["SET", &key, "garbage"]).await;
    store.delete(&id).await.unwrap_err();
    drop(guard);

    let text = traced.text();
    for (operation, outcome, round_trips) in [
        ("create", "exists", 1),
        ("get", "ok", 1),
        // With the bare id, it is told where the session is indexed first.
        ("rotate", "ok", 2),
        // The old id leads to the new one.
        ("patch", "ok", 2),
        ("delete", "corrupt", 2),
    ] {
        let line = closed(&text, operation);
        assert!(line.contains(&format!("outcome=\"{outcome}\"")), "{line}");
        assert!(line.contains(&format!("round_trips={round_trips}")), "{line}");
    }
    assert!(!text.contains("a-secret-id"), "{text}");
}

#[rstest]
#[tokio::test]
async fn what_is_debugged_never_shows_an_id_or_data(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let id = session_id("a-secret-id");
    let next = session_id("a-secret-id-too");
    let new = NewSession::new().id(id.clone()).user("ann").connection("socket");
    let new = new.set("card", "secret-data").unwrap();
    let mut told = vec![format!("{new:?}").replace("secret-data", "")];
    let created = store.create(new.clone()).await.unwrap();
    told.push(format!("{id:?} {created:?} {:?}", created.session));
    told.push(format!("{:?}", store.create(new.clone()).await.unwrap_err()));
    let page = store.list(&Selector::user("ann"), &PageRequest::first(1)).await;
    told.push(format!("{page:?}"));
    told.push(format!("{:?}", store.refresh(&id).await));
    let rotation = Rotation::new().new_id(next.clone());
    told.push(format!("{rotation:?}"));
    told.push(format!("{:?}", store.rotate(&id, rotation).await));
    let moved = store.create(new).await.unwrap_err();
    told.push(format!("{moved:?} {moved}"));
    told.push(format!("{:?}", store.bind(&next, Binding::new("other")).await));
    told.push(format!("{:?}", store.delete_user("ann", None).await));
    told.push(format!("{store:?}"));
    for (at, text) in told.iter().enumerate() {
        assert!(!text.contains("a-secret-id"), "{at}: {text}");
        assert!(!text.contains("secret-data"), "{at}: {text}");
    }
    assert!(told[1].contains(&id.short_hash()), "{}", told[1]);
    assert_eq!(id.short_hash().len(), 8);
    assert_ne!(id.short_hash(), SessionId::new("a-secret-ie").unwrap().short_hash());
}

#[tokio::test]
async fn a_server_that_may_evict_keys_is_warned_of() {
    let (traced, guard) = capture();
    let context = Context::own(&["--maxmemory-policy", "allkeys-lru"]).await;
    context.store(Rules::new()).await;
    drop(guard);
    let text = traced.text();
    let warning = text.lines().find(|line| line.contains("WARN")).expect("no warning");
    assert!(warning.contains("maxmemory_policy=\"allkeys-lru\""), "{warning}");
    assert!(warning.contains("set maxmemory-policy to noeviction"), "{warning}");
}

#[tokio::test]
async fn a_server_that_evicts_nothing_is_no_matter_of_warning() {
    let (traced, guard) = capture();
    let context = Context::own(&["--maxmemory-policy", "noeviction"]).await;
    context.store(Rules::new()).await;
    drop(guard);
    let text = traced.text();
    assert!(!text.contains("WARN"), "{text}");
}

#[tokio::test]
async fn connect_by_url_gives_a_store_in_memory_or_on_a_server() {
    let context = Context::own(&[]).await;
    for url in ["memory://", context.server().url()] {
        let store = cloakroom::connect(url).await.unwrap();
        let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
        assert!(store.get(session.id()).await.unwrap().is_some());
        assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);
        // Another handle is the same store on a server, and another one in memory.
        let other = cloakroom::connect(url).await.unwrap();
        assert_eq!(other.get(session.id()).await.unwrap().is_some(), url != "memory://");
    }
    // The defaults of the builder, its namespace included.
    let stored: Vec<String> = context.command(&["KEYS", "{cloakroom:0}:session:*"]).await;
    assert_eq!(stored.len(), 1);
}

#[tokio::test]
async fn connect_by_a_bad_url_tells_so_and_not_the_password() {
    for (url, expected) in [
        ("memory://x", "url must be memory:// alone"),
        ("http://ann:hush-hush@localhost/", "url must begin with memory://, redis:// or rediss://"),
        ("ann:hush-hush@localhost", "url must begin with memory://, redis:// or rediss://"),
        ("", "url must begin with memory://, redis:// or rediss://"),
        (
            "redis://ann:hush-hush@[",
            "url must be a URL of a redis server: redis://[user:password@]host[:port][/database]",
        ),
        ("redis://ann:hush-hush@127.0.0.1:1/", "not executed: no connection to the server: "),
    ] {
        let error = cloakroom::connect(url).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{url}: {error}");
        assert!(!all_that_is_told(&error).contains("hush-hush"), "{}", all_that_is_told(&error));
    }
}
