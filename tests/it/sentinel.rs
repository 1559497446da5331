//! Sentinels: the store follows the master through each kind of failover, without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::{Durability, NewSession, RedisStore, RedisStoreBuilder, SessionId, SessionStore as _};
use redis::IntoConnectionInfo as _;
use tokio::task::JoinSet;

use crate::support::acknowledged::{Acknowledged, Load, nothing_is_lost_that_was_replicated};
use crate::support::context::{Store, build, eventually};
use crate::support::sentinels::{SERVICE, Sentinel, Watched, command, try_command};
use crate::support::server::Server;

const WRITERS: usize = 8;

fn builder(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url).namespace("t")
}

async fn store_at(server: &Server) -> Store {
    build(builder(server.url()).deadline(Duration::from_secs(20))).await
}

async fn nothing_is_lost(name: &str, all: &[Acknowledged], promoted: &Server) {
    nothing_is_lost_that_was_replicated(name, all, promoted, &store_at(promoted).await).await;
}

/// Once a store has read at the new master, where this session was deleted, nothing that it reads is the old one's.
async fn never_again(store: &Store, deleted: &SessionId) {
    let is_there = async || matches!(store.get(deleted).await, Ok(None));
    eventually("the store is at the new master", is_there).await;
    for _ in 0..300 {
        let found = store.get(deleted).await;
        assert!(!matches!(found, Ok(Some(_))), "read at the old master");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_and_comes_back_costs_no_replicated_write_and_no_restart() {
    let mut watched = Watched::start().await;
    let store = build(builder(&watched.url())).await;
    let load = Load::begin(&store, &watched.servers[0], &["ann"]).await;
    watched.servers[0].kill().await;
    let promoted = watched.switched().await;
    // It has nothing, and takes itself for the master until the sentinels demote it.
    watched.servers[0].restart().await;
    load.goes_on().await;
    eventually("the old master is a replica", async || {
        let info = try_command::<String>(&watched.servers[0], &["INFO", "replication"]).await;
        info.is_some_and(|info| info.contains("role:slave"))
    })
    .await;
    load.goes_on().await;
    let all = load.end().await;
    nothing_is_lost("kill -9", &all, &watched.servers[promoted]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_stopped_and_goes_on_serves_nobody_any_more() {
    let mut watched = Watched::start().await;
    let store = build(builder(&watched.url())).await;
    let witness = store.create(NewSession::new()).await.unwrap().session;
    let load = Load::begin(&store, &watched.servers[0], &["ann"]).await;
    watched.servers[0].freeze().await;
    let promoted = watched.switched().await;
    load.goes_on().await;
    store_at(&watched.servers[promoted]).await.delete(&witness).await.unwrap();
    watched.servers[0].thaw().await;
    for _ in 0..1000 {
        assert!(store.get(witness.id()).await.unwrap().is_none(), "it is read from the old master");
    }
    load.goes_on().await;
    let all = load.end().await;
    nothing_is_lost("SIGSTOP", &all, &watched.servers[promoted]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_is_asked_for_is_followed() {
    let watched = Watched::start().await;
    let store = build(builder(&watched.url())).await;
    let witness = store.create(NewSession::new()).await.unwrap().session;
    let load = Load::begin(&store, &watched.servers[0], &["ann"]).await;
    let mut failover = redis::cmd("SENTINEL");
    failover.arg("FAILOVER").arg(SERVICE);
    failover.query_async::<()>(&mut watched.sentinel(0).await).await.unwrap();
    let promoted = watched.switched().await;
    let other = store_at(&watched.servers[promoted]).await;
    eventually("it is deleted", async || other.delete(&witness).await.is_ok()).await;
    never_again(&store, witness.id()).await;
    load.goes_on().await;
    let all = load.end().await;
    nothing_is_lost("SENTINEL FAILOVER", &all, &watched.servers[promoted]).await;
}

/// All servers know a user of the store's own, by whom it comes to the master that the sentinels of the URL name.
async fn own_user(watched: &Watched, url: &str) -> RedisStoreBuilder {
    for server in &watched.servers {
        command::<()>(server, &["ACL", "SETUSER", "own", "on", ">p", "~*", "+@all"]).await;
    }
    builder(&url.replace("://", "://own:p@"))
}

/// The sentinels may not log in at the first server any more: they take it for down, and cannot demote it.
async fn shut_sentinels_out(old: &mut redis::aio::MultiplexedConnection) {
    for shut_out in [["SETUSER", "watch", "off"], ["SETUSER", "default", "off"]] {
        redis::cmd("ACL").arg(&shut_out).query_async::<()>(old).await.unwrap();
    }
    redis::cmd("CLIENT").arg(&["KILL", "USER", "watch"]).query_async::<i64>(old).await.unwrap();
}

/// The store, which may log in at the old master, finds a sound one there.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_does_not_know_that_there_is_another_is_left_with_the_switch() {
    let watched = Watched::start().await;
    let store = build(own_user(&watched, &watched.url()).await).await;
    let witness = store.create(NewSession::new()).await.unwrap().session;
    let load = Load::begin(&store, &watched.servers[0], &["ann"]).await;
    let mut old = watched.servers[0].connect().await;
    shut_sentinels_out(&mut old).await;
    let promoted = watched.switched().await;
    store_at(&watched.servers[promoted]).await.delete(&witness).await.unwrap();
    let role: redis::Value = redis::cmd("ROLE").query_async(&mut old).await.unwrap();
    assert!(format!("{role:?}").contains("master"), "{role:?}");
    never_again(&store, witness.id()).await;
    let left = Instant::now();
    load.goes_on().await;
    let all = load.end().await;
    let late = all.iter().filter(|one| one.began > left);
    let ids: Vec<SessionId> = late.map(|one| one.id.clone()).collect();
    assert!(!ids.is_empty());
    for found in store_at(&watched.servers[promoted]).await.get_many(&ids).await {
        assert!(found.unwrap().is_some(), "it was written to the old master");
    }
}

#[tokio::test]
async fn a_store_starts_by_the_sentinels_that_are_there_and_names_what_is_wrong() {
    let watched = Watched::start().await;
    let url = watched.url();
    // Nobody listens at the first, and the second never answers.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = deaf.local_addr().unwrap();
    let with_two_more = url.replace("redis+sentinel://", &format!("valkey-sentinel://127.0.0.1:1,{silent},"));
    let store = build(builder(&with_two_more).deadline(Duration::from_secs(20))).await;
    store.create(NewSession::new()).await.unwrap();
    let error = cloakroom::connect("valkeys+sentinel://ann:hush@one").await.map(drop).unwrap_err();
    assert!(error.to_string().contains("redis+sentinel://"), "{error}");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");

    let unknown = url.replace("/shop", "/another");
    let error = builder(&unknown).build().await.unwrap_err();
    assert!(error.is_not_executed(), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("no master of that name"), "{cause}");
    let of_a_sentinel = url.replace("redis+sentinel", "redis");
    let of_a_sentinel = format!("{}/", of_a_sentinel.split(',').next().unwrap());
    let error = builder(&of_a_sentinel).build().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("sentinel"), "{cause}");
}

#[tokio::test]
async fn sentinels_and_the_master_may_each_have_their_own_user() {
    let watched = Watched::start().await;
    for server in &watched.servers {
        command::<()>(server, &["ACL", "SETUSER", "shop", "on", ">p", "~*", "&*", "+@all"]).await;
    }
    let hosts = watched.url();
    let (_, hosts) = hosts.split_once("://").unwrap();
    let hosts = hosts.split('/').next().unwrap();
    let sentinels = hosts.split(',').map(|host| format!("redis://{host}/").into_connection_info().unwrap());
    let server = "redis://shop:p@wherever/2".into_connection_info().unwrap();
    let builder = RedisStore::builder_with_sentinels(sentinels, SERVICE, server).namespace("t");
    let store = build(builder.near_cache(10)).await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    assert!(store.get(session.id()).await.unwrap().is_some());
    let list: String = command(&watched.servers[0], &["CLIENT", "LIST", "TYPE", "normal"]).await;
    assert!(list.lines().any(|line| line.contains("user=shop") && line.contains("db=2")), "{list}");
}

/// Of a failover that is asked for most writes are lost that come between the promotion and the switch. Those are not that were
/// told to be at both replicas, for the promoted one was one of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_to_be_at_all_replicas_outlives_a_failover() {
    let watched = Watched::start().await;
    let store = builder(&watched.url()).build().await.unwrap();
    let (is_over, replicated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, is_over, replicated) = (store.clone(), is_over.clone(), replicated.clone());
        writers.spawn(async move {
            let (mut kept, mut others) = (Vec::new(), Vec::new());
            while !is_over.load(Ordering::SeqCst) {
                let create = async |store: RedisStore| store.create(NewSession::new()).await;
                let both = Durability::Replicas(2, Duration::from_millis(100));
                let Ok(created) = store.durably(both, create).await else { continue };
                let is_kept = created.is_replicated();
                replicated.fetch_add(u64::from(is_kept), Ordering::SeqCst);
                let id = created.value.session.id().clone();
                if is_kept { kept.push(id) } else { others.push(id) }
            }
            (kept, others)
        });
    }
    let goes_on = async || {
        let before = replicated.load(Ordering::SeqCst);
        eventually("writes get there", async || replicated.load(Ordering::SeqCst) > before + 200).await;
    };
    goes_on().await;
    let mut failover = redis::cmd("SENTINEL");
    failover.arg("FAILOVER").arg(SERVICE);
    failover.query_async::<()>(&mut watched.sentinel(0).await).await.unwrap();
    let promoted = watched.switched().await;
    goes_on().await;
    is_over.store(true, Ordering::SeqCst);
    let told = writers.join_all().await;
    let at_promoted = store_at(&watched.servers[promoted]).await;
    let lost = async |ids: Vec<SessionId>| {
        let mut lost = 0;
        for found in at_promoted.get_many(&ids).await {
            lost += usize::from(found.unwrap().is_none());
        }
        (lost, ids.len())
    };
    let (kept, others): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    let (of_kept, of_others) = (lost(kept.concat()).await, lost(others.concat()).await);
    eprintln!("lost: {of_kept:?} of those told to be at both, {of_others:?} of the others");
    assert_eq!(of_kept.0, 0);
}

/// One sentinel has never heard of the switch, and those that have do not answer any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_names_an_older_master_is_not_followed_back_to_it() {
    let watched = Watched::start().await;
    let of_first = own_user(&watched, watched.servers[0].url()).await;
    let witness = build(of_first).await.create(NewSession::new()).await.unwrap().session;
    shut_sentinels_out(&mut watched.servers[0].connect().await).await;
    let (_, port) = watched.servers[0].url().trim_end_matches('/').rsplit_once(':').unwrap();
    let outdated = Sentinel::start(port, "wrong").await;
    let promoted = watched.switched().await;
    store_at(&watched.servers[promoted]).await.delete(&witness).await.unwrap();
    let hosts = watched.url().replace("://", &format!("://own:p@127.0.0.1:{},", outdated.port));
    let store = build(builder(&hosts)).await;
    assert!(store.get(witness.id()).await.unwrap().is_none());
    watched.freeze_sentinels().await;
    let mut asked = outdated.connect().await;
    let (before, own) = (Sentinel::commands(&mut asked).await, AtomicU64::new(0));
    eventually("it was asked often", async || {
        let found = store.get(witness.id()).await;
        assert!(!matches!(found, Ok(Some(_))), "read at the old master");
        let own = own.fetch_add(1, Ordering::SeqCst) + 1;
        Sentinel::commands(&mut asked.clone()).await > before + own + 20
    })
    .await;
    assert!(matches!(store.get(witness.id()).await, Ok(None)), "the last word of the sentinels counts");
}
