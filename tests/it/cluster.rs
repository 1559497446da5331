//! A real cluster: the store finds each key wherever its slot is, and follows it.

mod cut_off;
mod load;
mod reach;

use std::time::Duration;

use cloakroom::{
    Error, NewSession, Patch, RedisStore, RedisStoreBuilder, Refusal, Rotation, Selector, Session,
};
use redis::IntoConnectionInfo as _;

use self::load::Load;
use crate::support::acknowledged::{self, nothing_is_lost_that_was_replicated};
use crate::support::cluster::{Cluster, tell};
use crate::support::context::{Store, build};
use crate::support::spread::{Spread, slot};

const PATIENT: Duration = Duration::from_secs(20);

fn builder(cluster: &Cluster, namespace: &str) -> RedisStoreBuilder {
    RedisStore::builder(cluster.url()).namespace(namespace)
}

async fn created(store: &Store, user: &str) -> Session {
    store.create(NewSession::new().user(user)).await.unwrap().session
}

/// What a store does with sessions of a user, from the first call to the last.
async fn serves(store: &Store, user: &str) {
    let session = created(store, user).await;
    assert!(store.refresh(&session).await.unwrap().is_some());
    assert_eq!(store.get(session.id()).await.unwrap().unwrap().user(), Some(user));
    let visitor = created(store, "").await;
    let rotated = store.rotate(&visitor, Rotation::new().user(user)).await.unwrap();
    assert_eq!(store.get(visitor.id()).await, Err(Error::Refused(Refusal::Rotated { to: None })));
    assert_eq!(store.count(&Selector::user(user)).await.unwrap(), 2);
    assert!(store.delete(&rotated.session).await.unwrap().is_some());
    assert_eq!(store.delete_user(user, None).await.unwrap().removed.len(), 1);
    assert_eq!(store.count(&Selector::user(user)).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_anywhere_and_partitions_everywhere_are_served_from_any_node() {
    let cluster = Cluster::start().await;
    for at in 0..12 {
        serves(&build(builder(&cluster, &format!("n{at}"))).await, "ann").await;
    }
    for seed in &cluster.nodes {
        let seed = [format!("redis://{}", seed.address()).into_connection_info().unwrap()];
        let store = build(RedisStore::builder_with_cluster(seed).namespace("spread").partitions(16)).await;
        for user in ["ann", "bob", "cid", "dan"] {
            serves(&store, user).await;
        }
        let node = Selector::node("n");
        for _ in 0..20 {
            store.create(NewSession::new().node("n")).await.unwrap();
        }
        assert_eq!(store.count(&node).await.unwrap() % 20, 0);
        assert!(store.reap(100).await.unwrap().sessions.is_empty());
        assert!(store.expired(None, 0, 10).await.unwrap().is_empty());
        assert_eq!(store.session_by_connection("none").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_of_the_scripts_of_one_node_stays_invisible() {
    let cluster = Cluster::start().await;
    let store = build(builder(&cluster, "flushed").partitions(16)).await;
    for node in 0..3 {
        tell::<()>(&cluster.nodes[node], &["SCRIPT", "FLUSH"]).await.unwrap();
        serves(&store, "ann").await;
        assert!(store.reap(100).await.unwrap().sessions.is_empty());
    }
}

/// A store that writes, and one that reads: of a process that answers from memory, or the same.
async fn two_stores(cluster: &Cluster, namespace: &str, near_cache: Option<usize>) -> [Store; 2] {
    let store = build(builder(cluster, namespace).deadline(PATIENT)).await;
    let Some(sessions) = near_cache else { return [store.clone(), store] };
    let near = builder(cluster, namespace).deadline(PATIENT).near_cache(sessions);
    [store, build(near.near_cache_staleness(load::STALENESS)).await]
}

async fn some_sessions(store: &Store) -> Vec<Session> {
    let mut sessions = Vec::new();
    for at in 0..8 {
        sessions.push(created(store, &format!("user-{at}")).await);
    }
    sessions
}

#[rstest::rstest]
#[case::plain(None)]
#[case::near(Some(100))]
#[tokio::test(flavor = "multi_thread")]
async fn while_a_slot_moves_reads_never_fail_and_writes_wait(#[case] near_cache: Option<usize>) {
    let cluster = Cluster::start().await;
    let [store, reads] = two_stores(&cluster, "moving", near_cache).await;
    let load = Load::begin(&store, &reads, &some_sessions(&store).await);
    load.goes_on().await;
    let slot = cluster.slot("{moving:0}:expiry").await;
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    for (from, to) in [(from, to), (to, from)] {
        cluster.begin_to_move(slot, from, to).await;
        while cluster.move_keys(slot, from, to, 1).await > 0 {}
        cluster.end_move(slot, to, from).await;
        load.goes_on().await;
    }
    load.ends_without_an_error().await;
    serves(&store, "ann").await;
}

#[rstest::rstest]
#[case::plain(None)]
#[case::near(Some(100))]
#[tokio::test(flavor = "multi_thread")]
async fn while_slots_are_migrated_atomically_no_call_fails(#[case] near_cache: Option<usize>) {
    let cluster = Cluster::of_masters(&[]).await;
    if let Err(error) = tell::<redis::Value>(&cluster.nodes[0], &["CLUSTER", "GETSLOTMIGRATIONS"]).await {
        assert!(error.to_string().to_lowercase().contains("unknown"), "{error}");
        eprintln!("left out: this server knows no CLUSTER MIGRATESLOTS, which Valkey 9 does");
        return;
    }
    let [store, reads] = two_stores(&cluster, "moving", near_cache).await;
    let load = Load::begin(&store, &reads, &some_sessions(&store).await);
    load.goes_on().await;
    let slot = cluster.slot("{moving:0}:expiry").await;
    let from = cluster.owner(slot).await;
    for step in 0..4 {
        let (from, to) = ((from + step) % 3, (from + step + 1) % 3);
        cluster.migrate(slot, from, to).await;
        load.goes_on().await;
    }
    load.ends_without_an_error().await;
    serves(&store, "ann").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_starts_and_reads_while_its_slot_moves() {
    let cluster = Cluster::start().await;
    let session = created(&build(builder(&cluster, "starting")).await, "ann").await;
    let slot = cluster.slot("{starting:0}:expiry").await;
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    cluster.begin_to_move(slot, from, to).await;
    cluster.move_keys(slot, from, to, 2).await;
    let store = build(builder(&cluster, "starting")).await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    while cluster.move_keys(slot, from, to, 10).await > 0 {}
    assert!(store.get(session.id()).await.unwrap().is_some());
    cluster.end_move(slot, to, from).await;
    serves(&store, "bob").await;
}

/// Users whose sessions are at a master of a cluster whose slots have not moved.
fn users_at(master: usize, namespace: &str) -> Vec<String> {
    let partitions = Spread::new(namespace, 16);
    let is_there = |user: &String| {
        let tag = partitions.tag(partitions.of(user));
        Cluster::master_of(slot(tag.trim_matches(['{', '}'])), 3) == master
    };
    (0..).map(|at| format!("user-{at}")).filter(is_there).take(8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_of_a_killed_master_takes_over_and_keeps_all_that_it_had() {
    let mut cluster = Cluster::start().await;
    let store = build(builder(&cluster, "killed").partitions(16)).await;
    let elsewhere: Vec<Session> =
        futures::future::join_all(users_at(1, "killed").iter().map(async |user| created(&store, user).await))
            .await;
    let users = users_at(0, "killed");
    let others = Load::begin(&store, &store, &elsewhere);
    let load = acknowledged::Load::begin(&store, &cluster.nodes[0], &users).await;
    cluster.nodes[0].kill().await;
    cluster.promoted(0).await;
    load.goes_on().await;
    let all = load.end().await;
    others.goes_on().await;
    let counts = others.end().await;
    eprintln!(
        "in slots of others {} writes were answered, {} failed",
        counts.writes,
        counts.failed_writes.len()
    );
    nothing_is_lost_that_was_replicated("a master of a cluster, kill -9", &all, &cluster.nodes[3], &store)
        .await;
    for user in users.iter().chain(&users_at(1, "killed")).chain(&users_at(2, "killed")) {
        serves(&store, &format!("{user}-")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_starts_while_one_node_is_away() {
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    // The replica of a master, and a master of others' slots.
    for namespace in ["a", "b", "c", "d"] {
        let slot = cluster.slot(&format!("{{{namespace}:0}}:expiry")).await;
        if cluster.owner(slot).await == 1 {
            cluster.nodes[0].freeze().await;
            let store = build(RedisStore::builder(url).namespace(namespace).deadline(PATIENT)).await;
            serves(&store, "ann").await;
            cluster.nodes[0].thaw().await;
            return;
        }
    }
    panic!("no namespace is at the second master");
}

/// A node that gives a slot away refuses any key that it has not, in the middle of a script too. So no script may look at a
/// key again that it emptied.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_at_a_slot_that_begins_to_move_runs_whole_or_not_at_all() {
    let cluster = Cluster::start().await;
    let store = build(builder(&cluster, "whole").deadline(Duration::from_millis(500))).await;
    let slot = cluster.slot("{whole:0}:expiry").await;
    let from = cluster.owner(slot).await;
    let full = || NewSession::new().user("ann").connection("c").node("n");
    for operation in ["delete", "delete_user", "unbind", "rotate", "update", "patch", "refresh"] {
        let session = store.create(full()).await.unwrap().session;
        let before = dump(&cluster, from).await;
        cluster.begin_to_move(slot, from, (from + 1) % 3).await;
        let outcome = match operation {
            "delete" => store.delete(&session).await.map(|_| ()),
            "delete_user" => store.delete_user("ann", None).await.map(|_| ()),
            "unbind" => store.unbind(&session, "c").await.map(|_| ()),
            "rotate" => store.rotate(&session, Rotation::new()).await.map(|_| ()),
            "update" => {
                let mut copy = session.clone();
                copy.set_user("");
                copy.set_connection("");
                store.update(&mut copy).await
            }
            "patch" => store.patch(&session, Patch::new().set("n", &1).unwrap()).await.map(|_| ()),
            _ => store.refresh(&session).await.map(|_| ()),
        };
        if let Err(error) = &outcome {
            assert!(matches!(error, cloakroom::Error::NotExecuted { .. }), "{operation}: {error}");
            assert_eq!(dump(&cluster, from).await, before, "{operation}");
        }
        cluster.stay(slot, from, (from + 1) % 3).await;
        store.delete_user("ann", None).await.unwrap();
        store.delete(&session).await.unwrap();
        for key in dump(&cluster, from).await.into_keys() {
            let is_of_tombstone = [":session:", ":expiry", ":contract"].iter().any(|part| key.contains(part));
            assert!(is_of_tombstone, "{operation} left {key}");
            tell::<()>(&cluster.nodes[from], &["DEL", &key]).await.unwrap();
        }
    }
}

async fn dump(cluster: &Cluster, node: usize) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    let keys: Vec<String> = tell(&cluster.nodes[node], &["KEYS", "*"]).await.unwrap();
    for key in keys {
        let bytes: Option<Vec<u8>> = tell(&cluster.nodes[node], &["DUMP", &key]).await.unwrap();
        all.extend(bytes.map(|bytes| (key, bytes)));
    }
    all
}
