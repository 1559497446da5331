//! A master that the other nodes no longer reach, while clients still do: it does not know that its replica was
//! promoted.

use std::time::{Duration, Instant};

use cloakroom::{RedisStore, Selector, SessionStore as _};
use redis::IntoConnectionInfo as _;
use redis::aio::MultiplexedConnection;

use super::load::STALENESS;
use super::{PATIENT, builder, created, users_at};
use crate::support::cluster::{Cluster, tell};
use crate::support::context::{Store, build, eventually};
use crate::support::spread::Spread;

/// A store that knows the promoted replica of the first master alone.
async fn at_promoted(cluster: &Cluster, namespace: &str) -> Store {
    let url = format!("redis+cluster://{}", cluster.nodes[3].address());
    build(RedisStore::builder(url).namespace(namespace).partitions(16).deadline(PATIENT)).await
}

/// How often a node ran a command.
async fn runs(node: &MultiplexedConnection, command: &str) -> u64 {
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("commandstats").query_async(&mut node.clone()).await.unwrap();
    let of_command = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")))?;
        line.split(',').next()?.parse().ok()
    };
    // Redis 6.2 tells no subcommands apart.
    of_command(command).or_else(|| of_command(command.split('|').next()?)).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_at_a_master_that_is_cut_off_counts_no_longer_than_it_serves_and_the_staleness() {
    let cluster = Cluster::over_a_bus(&[]).await;
    let near = builder(&cluster, "cut").partitions(16).near_cache(100).near_cache_staleness(STALENESS);
    let near = build(near).await;
    let session = created(&near, &users_at(0, "cut")[0]).await;
    let at: i64 = tell(&cluster.nodes[0], &["WAIT", "1", "10000"]).await.unwrap();
    assert_eq!(at, 1);
    let first = cluster.nodes[0].connect().await;
    eventually("it is answered from memory", async || {
        let before = runs(&first, "client|caching").await;
        assert!(near.get(session.id()).await.unwrap().is_some());
        runs(&first, "client|caching").await == before
    })
    .await;
    cluster.cut_off(0);
    cluster.promoted(0).await;
    assert!(at_promoted(&cluster, "cut").await.delete(&session).await.unwrap().is_some());

    let partitions = Spread::new("cut", 16);
    let key =
        format!("{}:session:{}", partitions.tag(partitions.of(session.id().as_str())), session.id().as_str());
    let (began, mut refused) = (Instant::now(), None);
    loop {
        let get = redis::cmd("GET").arg(&key).query_async::<redis::Value>(&mut first.clone()).await;
        if refused.is_none() && get.is_err() {
            refused = Some(Instant::now());
        }
        let now = Instant::now();
        match near.get(session.id()).await {
            Ok(Some(_)) => {
                let late = refused.map(|refused| now.duration_since(refused));
                assert!(late.is_none_or(|late| late < STALENESS), "{late:?} after the master served no more");
            }
            Ok(None) => break,
            Err(error) => assert!(began.elapsed() < PATIENT, "{error}"),
        }
    }
    assert!(near.count(&Selector::user(session.user().unwrap())).await.is_ok());
}

/// The master that was cut off is the only one that answers, and serves reads as it is set up.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_tells_an_older_map_is_not_gone_back_to() {
    let mut cluster = Cluster::over_a_bus(&["--cluster-allow-reads-when-down", "yes"]).await;
    let first = build(builder(&cluster, "outdated").partitions(16)).await;
    let witness = created(&first, &users_at(0, "outdated")[0]).await;
    let at: i64 = tell(&cluster.nodes[0], &["WAIT", "1", "10000"]).await.unwrap();
    assert_eq!(at, 1);
    cluster.cut_off(0);
    cluster.promoted(0).await;
    let other = at_promoted(&cluster, "outdated").await;
    eventually("it is deleted", async || other.delete(&witness).await.is_ok()).await;
    let store = loop {
        let seeds = cluster.nodes.iter().map(|node| node.url().into_connection_info().unwrap());
        let started = RedisStore::builder_with_cluster(seeds).namespace("outdated").partitions(16);
        let Ok(started) = started.deadline(Duration::from_millis(500)).build().await else { continue };
        // Else only the one that was cut off told its map in time.
        if matches!(started.get(witness.id()).await, Ok(None)) {
            break started;
        }
    };

    for node in &mut cluster.nodes[1..] {
        node.freeze().await;
    }
    let old = cluster.nodes[0].connect().await;
    let before = runs(&old, "cluster|slots").await;
    eventually("it was asked often", async || {
        let found = store.get(witness.id()).await;
        assert!(!matches!(found, Ok(Some(_))), "read at the old master");
        runs(&old, "cluster|slots").await > before + 5
    })
    .await;
    for node in &mut cluster.nodes[1..] {
        node.thaw().await;
    }
    eventually("it is served again", async || matches!(store.get(witness.id()).await, Ok(None))).await;
}
