//! A store starts: while its server is away or loads its data, over a slow network, and without a server.

use std::time::Duration;

use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore};
use cloakroom::{
    Error, NewSession, Obstacle, RedisStore, RedisStoreBuilder, Refusal, Rules, SessionStore as _,
};
use futures::FutureExt as _;
use futures::future::join_all;
use std::sync::Arc;

use crate::conformance::exported;
use crate::support::Context;
use crate::support::context::eventually;
use crate::support::delayed::Delayed;
use crate::support::expect::{reason, refusal, session_id};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

const LONG: Duration = Duration::from_secs(60);

/// Waits as long as a busy machine needs.
fn patient(context: &Context) -> RedisStoreBuilder {
    context.builder(Rules::new()).deadline(LONG).connect_timeout(LONG)
}

#[tokio::test]
async fn a_build_waits_for_a_server_that_is_away() {
    let mut context = Context::own(&[]).await;
    context.server_mut().kill().await;
    let mut build = Box::pin(patient(&context).build());
    assert!((&mut build).now_or_never().is_none());
    let building = tokio::spawn(build);
    context.server_mut().restart().await;
    let store = building.await.unwrap().unwrap();
    store.create(NewSession::new()).await.unwrap();
}

#[tokio::test]
async fn a_store_loads_what_it_runs_and_leaves_the_mending_to_who_verifies() {
    let context = Context::own(&[]).await;
    let _store = context.store(Rules::new()).await;
    let operations = exported().operations;
    let mut command = vec!["SCRIPT", "EXISTS"];
    command.extend(operations.values().map(|operation| operation.sha1.as_str()));
    let loaded: Vec<bool> = context.command(&command).await;
    let left =
        operations.keys().zip(loaded).filter(|(_, is_loaded)| !is_loaded).map(|(stem, _)| stem.as_str());
    // It reads sessions without a script.
    assert_eq!(left.collect::<Vec<_>>(), ["get", "mend_key", "mend_node", "mend_record", "mend_session"]);
}

#[tokio::test]
async fn a_store_that_started_without_its_server_gives_up_a_connection_on_which_the_start_failed() {
    let context = Context::own(&[]).await;
    let user = |rule| ["ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all", rule];
    context.command::<()>(&user("-del")).await;
    let url = format!("redis://shop:secret@{}/", context.server().address());
    let store = RedisStore::builder(url).namespace(&context.namespace).build_lazy().unwrap();
    let id = session_id("a");
    assert!(matches!(refusal(store.get(&id).await), Refusal::Forbidden { .. }));
    context.command::<()>(&user("+del")).await;
    context.command::<i64>(&["CLIENT", "KILL", "USER", "shop"]).await;
    eventually("it is served", async || store.get(&id).await.is_ok()).await;
}

#[tokio::test]
async fn a_build_ends_by_its_deadline_and_says_why_it_waited() {
    let mut context = Context::own(&[]).await;
    context.server_mut().kill().await;
    let error = context.builder(Rules::new()).deadline(Duration::from_millis(300)).build().await.unwrap_err();
    assert_eq!(reason(&error), Obstacle::Connect);
    let text = error.to_string();
    assert!(text.contains("refused") && text.contains(&context.server().address()), "{text}");
}

#[tokio::test]
async fn a_build_waits_while_the_server_loads_its_data() {
    const INTERVAL: &str = "loading-process-events-interval-bytes";
    let known: Vec<String> = Context::own(&[]).await.command(&["CONFIG", "GET", INTERVAL]).await;
    if known.is_empty() {
        // Redis 6.2 answers after each 2 MiB of its file, which none of a test's is long enough for.
        return;
    }
    // Each key takes it 2 ms to load.
    let slow = ["--key-load-delay", "2000", &format!("--{INTERVAL}"), "1024"];
    let mut context = Context::own(&slow).await;
    let fill = "for i = 1, 1500 do redis.call('SET', 'filler:' .. i, string.rep('x', 200)) end";
    context.command::<()>(&["EVAL", fill, "0"]).await;
    context.command::<()>(&["SAVE"]).await;
    context.server_mut().kill().await;
    context.server_mut().begin_restart();
    let client = redis::Client::open(context.server().url()).unwrap();
    let says = async || {
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        Some(redis::cmd("PING").query_async::<String>(&mut connection).await)
    };
    let is_loading = async || matches!(says().await, Some(Err(error)) if error.code() == Some("LOADING"));
    eventually("the server loads", is_loading).await;
    let refused = patient(&context).build_lazy().unwrap().get(&session_id("a")).await.unwrap_err();
    assert_eq!(reason(&refused), Obstacle::Unavailable, "{refused}");
    assert!(refused.to_string().contains("server loading"), "{refused}");
    let store = patient(&context).build().await.unwrap();
    store.create(NewSession::new()).await.unwrap();
    context.reconnect().await;
    context.check().await;
}

#[tokio::test]
async fn a_build_succeeds_by_default_at_150_ms_of_network_delay_each_way() {
    let context = Context::own(&[]).await;
    let delayed = Delayed::start(context.server().address(), Duration::from_millis(150)).await;
    let store = cloakroom::RedisStore::builder(&delayed.url).namespace(&context.namespace).build().await;
    store.unwrap().create(NewSession::new()).await.unwrap();
    context.check().await;
}

#[tokio::test]
async fn what_does_not_pass_is_not_waited_for() {
    let context = Context::own(&[]).await;
    context.command::<()>(&["CONFIG", "SET", "requirepass", "right"]).await;
    let url = context.server().url().replace("redis://", "redis://:wrong@");
    let hour = Duration::from_secs(3600);
    let build = cloakroom::RedisStore::builder(url).deadline(hour).build();
    let error = tokio::time::timeout(LONG, build).await.expect("it waits for the deadline").unwrap_err();
    assert_eq!(reason(&error), Obstacle::Auth);
}

#[tokio::test]
async fn a_lazy_store_starts_without_its_server_and_works_once_that_is_there() {
    let mut context = Context::own(&[]).await;
    context.server_mut().kill().await;
    let store = patient(&context).build_lazy().unwrap();
    let error = store.get(&session_id("a")).await.unwrap_err();
    assert_eq!(reason(&error), Obstacle::Connect);
    context.server_mut().restart().await;
    context.reconnect().await;
    let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
    assert!(store.get(session.id()).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn the_first_calls_of_a_lazy_store_share_one_start() {
    let context = Context::own(&[]).await;
    let store = patient(&context).build_lazy().unwrap();
    let created = join_all((0..50).map(|_| store.create(NewSession::new()))).await;
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    let stats: String = context.command(&["INFO", "commandstats"]).await;
    let exec = stats.lines().find(|line| line.starts_with("cmdstat_exec:")).unwrap();
    assert!(exec.starts_with("cmdstat_exec:calls=1,"), "{exec}");
}

/// The second call comes two seconds later, which is what is tested, and no wait for something to settle.
#[tokio::test]
async fn a_call_whose_deadline_is_over_ends_no_start_that_a_later_one_waits_for() {
    let mut context = Context::own(&[]).await;
    let builder = context.builder(Rules::new()).deadline(Duration::from_secs(4)).connect_timeout(LONG);
    let store = builder.build_lazy().unwrap();
    context.server_mut().freeze().await;
    let (first, second) = (store.clone(), store);
    let first = tokio::spawn(async move { first.get(&session_id("a")).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = tokio::spawn(async move { second.get(&session_id("a")).await });
    let error = first.await.unwrap().unwrap_err();
    assert!(error.is_not_executed(), "{error}");
    context.server_mut().thaw().await;
    assert!(second.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_refuses_the_start_of_a_lazy_store_refuses_each_call_until_it_takes_it() {
    let context = Context::own(&[]).await;
    context.command::<()>(&["ACL", "SETUSER", "limited", "on", ">p", "~*", "+@all", "-del"]).await;
    let url = context.server().url().replace("redis://", "redis://limited:p@");
    let store = cloakroom::RedisStore::builder(url).namespace(&context.namespace).deadline(LONG);
    let store = store.build_lazy().unwrap();
    for _ in 0..3 {
        let expected = Refusal::Forbidden { lacking: vec!["+del".to_owned()] };
        assert_eq!(refusal(store.create(NewSession::new()).await), expected);
    }
    assert_eq!(context.all_keys().await, Vec::<String>::new());
    context.command::<()>(&["ACL", "SETUSER", "limited", "+del"]).await;
    store.create(NewSession::new()).await.unwrap();
    context.check().await;
}

#[tokio::test]
async fn a_service_that_starts_in_an_outage_serves_from_its_memory_and_brings_that_to_the_store() {
    let context = Context::own(&[]).await;
    let proxy = Proxy::start(context.server().address()).await;
    proxy.cut_off(true);
    let redis = cloakroom::RedisStore::builder(&proxy.url).namespace(&context.namespace).deadline(LONG);
    let redis = Arc::new(redis.connect_timeout(LONG).build_lazy().unwrap());
    let builder = FallbackStore::builder(redis).failures(1).cool_down(Duration::from_millis(20));
    let store = builder.policy(FallbackPolicy::LocalOnly { ttl: LONG }).build().unwrap();
    // The first call finds out.
    assert!(store.create(NewSession::new()).await.is_err());
    let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
    assert!(store.get(session.id()).await.unwrap().is_some());
    proxy.cut_off(false);
    eventually("the breaker closes", async || store.stats().breaker == BreakerState::Closed).await;
    eventually("the session is at the server", async || context.stored(session.id()).await.is_some()).await;
    context.check().await;
}

/// `tests/servers` runs it with a redis-server of 5.0 on PATH.
#[tokio::test]
#[ignore = "needs a server that is too old"]
async fn a_server_below_6_2_is_refused_by_name_and_version() {
    let server = Server::spawn(&[]).await;
    let error = cloakroom::RedisStore::builder(server.url()).build().await.unwrap_err();
    let Error::Refused(Refusal::ServerTooOld { found }) = &error else { panic!("{error:?}") };
    assert!(found.starts_with("redis 5.0."), "{found}");
    assert_eq!(
        error.to_string(),
        format!("refused: the server is {found}, the store needs redis 6.2 or later, or valkey")
    );
    let mut connection = server.connect().await;
    assert_eq!(redis::cmd("DBSIZE").query_async::<i64>(&mut connection).await.unwrap(), 0);
}
