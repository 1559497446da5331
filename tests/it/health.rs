//! The answers to a readiness probe: of each store, and for each way in which a server does not serve.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::draining::DrainingStore;
use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore};
use cloakroom::{
    Error, Health, MemoryStore, NewSession, Obstacle, Readiness, RedisStore, Refusal, Rules, ServerHealth,
    ServerRole, SessionStore as _,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::cluster::Cluster;
use crate::support::context::On::{self, Memory, Near, Redis, Spread};
use crate::support::context::{build, eventually};
use crate::support::expect::reason;
use crate::support::server::Server;

const SOON: Duration = Duration::from_secs(1);

fn only(health: &Health) -> &ServerHealth {
    let [server] = &health.servers[..] else { panic!("{health:?}") };
    server
}

#[rstest]
#[tokio::test]
async fn a_store_that_serves_is_ready_and_tells_its_servers(#[values(Redis, Near, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let health = store.health().await;
    assert_eq!(health.readiness, Readiness::Ready);
    assert!(health.is_ready() && health.error.is_none());
    if let Memory = on {
        assert!(health.servers.is_empty());
        return;
    }
    match health.servers.as_slice() {
        [server] => assert_eq!(server.server, context.server().address()),
        servers => assert_eq!(servers.len(), 3, "a cluster"),
    }
    for server in &health.servers {
        assert_eq!((server.role, server.contract), (Some(ServerRole::Master), Some(1)));
        assert!(server.latency.is_some() && server.error.is_none());
        assert_eq!(server.scripts_missing, Some(0));
    }
}

#[tokio::test]
async fn scripts_that_were_flushed_are_told_and_calls_are_served_all_the_same() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    context.command::<()>(&["SCRIPT", "FLUSH"]).await;
    let missing = async || only(&store.health().await).scripts_missing.unwrap();
    let all = missing().await;
    assert!(all > 20);
    assert!(store.health().await.is_ready());
    store.create(NewSession::new()).await.unwrap();
    assert_eq!(missing().await, all - 1);
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_scripts_is_told_the_rest() {
    let context = Context::own(&[]).await;
    let rules = ["ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-script|exists"];
    if context.try_command::<()>(&rules).await.is_err() {
        // Redis 6.2 takes no subcommand from a user.
        return;
    }
    let url = format!("redis://u:p@{}/", context.server().address());
    let store = build(RedisStore::builder(url).namespace(&context.namespace)).await;
    let health = store.health().await;
    assert_eq!(health.readiness, Readiness::Ready);
    assert_eq!((only(&health).scripts_missing, only(&health).contract), (None, Some(1)));
}

#[tokio::test]
async fn a_server_that_died_is_not_ready_and_named() {
    let mut context = Context::own(&[]).await;
    let builder = RedisStore::builder(context.server().url()).namespace(&context.namespace);
    let store = build(builder.deadline(SOON).connect_timeout(SOON)).await;
    let address = context.server().address();
    context.server_mut().kill().await;
    let health = store.health().await;
    assert!(!health.is_ready());
    let server = only(&health);
    assert_eq!((server.role, server.latency, server.contract), (None, None, None));
    let error = server.error.as_ref().unwrap();
    assert_eq!(reason(error), Obstacle::Connect);
    assert!(error.to_string().contains(&address), "{error}");
    assert_eq!(health.error.as_ref(), Some(error));
}

#[tokio::test]
async fn a_replica_is_not_ready_and_told_as_one() {
    let (master, replica) = (Context::own(&[]).await, Context::own(&[]).await);
    let builder = || RedisStore::builder(replica.server().url()).namespace(&replica.namespace);
    let store = build(builder()).await;
    let address = master.server().address();
    let (host, port) = address.split_once(':').unwrap();
    replica.command::<()>(&["REPLICAOF", host, port]).await;
    // One that was connected before is asked as well as one that was not.
    let lazy = builder().deadline(SOON).build_lazy().unwrap();
    for health in [store.health().await, lazy.health().await, store.health().await] {
        assert!(!health.is_ready(), "{health:?}");
        assert_eq!(only(&health).role, Some(ServerRole::Replica), "{health:?}");
        assert_eq!(reason(health.error.as_ref().unwrap()), Obstacle::Unavailable);
    }
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually("it is ready again", async || store.health().await.is_ready()).await;
}

#[tokio::test]
async fn a_later_contract_is_not_ready_whether_the_store_has_started_or_not() {
    let context = Context::redis().await;
    let builder = || context.builder(Rules::new());
    let store = build(builder()).await;
    context.command::<()>(&["SET", &context.key("contract"), "2"]).await;
    let lazy = builder().build_lazy().unwrap();
    for health in [store.health().await, lazy.health().await] {
        assert!(!health.is_ready());
        assert_eq!(only(&health).contract, Some(2));
        let expected = Error::Refused(Refusal::Contract { found: 2, known: 1 });
        assert_eq!(health.error, Some(expected));
    }
    context.command::<()>(&["SET", &context.key("contract"), "1 16"]).await;
    let expected = Error::Refused(Refusal::Partitions { found: 16, wanted: 1 });
    assert_eq!(store.health().await.error, Some(expected));
}

#[tokio::test]
async fn a_store_without_a_server_is_ready_once_that_comes() {
    let mut context = Context::own(&[]).await;
    let builder = RedisStore::builder(context.server().url()).namespace(&context.namespace);
    context.server_mut().kill().await;
    let store = builder.deadline(SOON).connect_timeout(SOON).build_lazy().unwrap();
    assert!(!store.health().await.is_ready());
    context.server_mut().restart().await;
    eventually("it is ready", async || store.health().await.is_ready()).await;
}

#[rstest]
#[tokio::test]
async fn a_closed_store_is_not_ready(#[values(Redis, Memory)] on: On) {
    // A store of its own: that of the context is closed with all its handles.
    let store = Context::on(on).await.store(Rules::new()).await;
    store.close().await;
    let health = store.health().await;
    assert!(!health.is_ready());
    assert_eq!(reason(health.error.as_ref().unwrap()), Obstacle::Closed);
}

#[rstest]
#[case(FallbackPolicy::FailClosed, Readiness::NotReady)]
#[case(FallbackPolicy::ServeStale { max_age: SOON }, Readiness::Degraded)]
#[case(FallbackPolicy::LocalOnly { ttl: SOON }, Readiness::Degraded)]
#[tokio::test]
async fn a_fallback_store_is_as_ready_as_its_policy_while_its_store_is_away(
    #[case] policy: FallbackPolicy,
    #[case] expected: Readiness,
) {
    let mut context = Context::own(&[]).await;
    let builder = RedisStore::builder(context.server().url()).namespace(&context.namespace);
    let redis = Arc::new(builder.deadline(SOON).connect_timeout(SOON).build().await.unwrap());
    let store = FallbackStore::builder(redis).policy(policy).failures(1).build().unwrap();
    assert_eq!(store.health().await.readiness, Readiness::Ready);
    context.server_mut().kill().await;
    // Before the breaker knows, and after.
    assert_eq!(store.health().await.readiness, expected);
    let _ = store.get(&cloakroom::SessionId::new("nobody").unwrap()).await;
    assert_ne!(store.stats().breaker, BreakerState::Closed);
    let health = store.health().await;
    assert_eq!(health.readiness, expected);
    assert_eq!(reason(health.error.as_ref().unwrap()), Obstacle::CircuitOpen);
    store.close().await;
    assert_eq!(store.health().await.readiness, Readiness::NotReady);
}

#[tokio::test]
async fn a_fallback_store_does_not_go_on_where_its_store_refuses() {
    let context = Context::redis().await;
    let policy = FallbackPolicy::LocalOnly { ttl: SOON };
    let redis = Arc::new(context.builder(Rules::new()).build().await.unwrap());
    let store = FallbackStore::builder(redis).policy(policy).build().unwrap();
    context.command::<()>(&["SET", &context.key("contract"), "2"]).await;
    assert_eq!(store.health().await.readiness, Readiness::NotReady);
}

#[tokio::test]
async fn a_draining_store_is_degraded_without_the_old_store_and_not_ready_without_the_new() {
    let memory = || Arc::new(MemoryStore::builder().build().unwrap());
    let (old, new) = (memory(), memory());
    let store = DrainingStore::new(old.clone(), new.clone());
    assert_eq!(store.health().await.readiness, Readiness::Ready);
    old.close().await;
    let health = store.health().await;
    assert_eq!(health.readiness, Readiness::Degraded);
    assert_eq!(reason(health.error.as_ref().unwrap()), Obstacle::Closed);
    new.close().await;
    assert_eq!(store.health().await.readiness, Readiness::NotReady);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_masters_of_a_cluster_are_told_and_one_that_died_with_its_replica_is_missed() {
    let mut cluster = Cluster::start().await;
    let builder = RedisStore::builder(cluster.url()).namespace("health").partitions(16);
    let store = build(builder.deadline(SOON).connect_timeout(SOON)).await;
    let health = store.health().await;
    assert_eq!((health.readiness, health.servers.len()), (Readiness::Ready, 3));
    let masters: Vec<String> = cluster.nodes[..3].iter().map(Server::address).collect();
    let told = |health: &Health, server: &String| {
        health.servers.iter().find(|told| told.server == *server).cloned().unwrap()
    };
    assert!(masters.iter().all(|master| told(&health, master).role == Some(ServerRole::Master)));
    for node in [3, 0] {
        cluster.nodes[node].kill().await;
    }
    let health = store.health().await;
    assert_ne!(health.readiness, Readiness::Ready);
    assert!(told(&health, &masters[0]).error.is_some());
}
