//! A real cluster: the store finds each key wherever its slot is, and follows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cloakroom::{NewSession, Patch, RedisStore, RedisStoreBuilder, Rotation, Selector, Session};
use redis::IntoConnectionInfo as _;
use tokio::task::JoinSet;

use crate::support::cluster::{Cluster, tell};
use crate::support::context::{Store, build, eventually};

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
    assert_eq!(store.get(visitor.id()).await.unwrap(), None);
    assert_eq!(store.count(&Selector::user(user)).await.unwrap(), 2);
    assert!(store.delete(&rotated.session).await.unwrap());
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

/// Calls of all kinds until they are told to end: how many were answered, and what went wrong.
struct Load {
    callers: JoinSet<Counts>,
    is_over: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Counts {
    reads: u64,
    writes: u64,
    failed_reads: Vec<String>,
    failed_writes: Vec<String>,
}

impl Load {
    fn begin(store: &Store, sessions: &[Session]) -> Self {
        let (mut callers, is_over, writes) = (JoinSet::new(), Arc::<AtomicBool>::default(), Arc::default());
        for session in sessions {
            callers.spawn(call(store.clone(), session.clone(), is_over.clone(), Arc::clone(&writes)));
        }
        Self { callers, is_over, writes }
    }

    async fn goes_on(&self) {
        let before = self.writes.load(Ordering::SeqCst);
        eventually("writes are answered", async || self.writes.load(Ordering::SeqCst) > before + 50).await;
    }

    async fn end(self) -> Counts {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = Counts::default();
        for counts in self.callers.join_all().await {
            all.reads += counts.reads;
            all.writes += counts.writes;
            all.failed_reads.extend(counts.failed_reads);
            all.failed_writes.extend(counts.failed_writes);
        }
        all
    }
}

async fn call(store: Store, session: Session, is_over: Arc<AtomicBool>, writes: Arc<AtomicU64>) -> Counts {
    let mut counts = Counts::default();
    let mut newest = session.version();
    while !is_over.load(Ordering::SeqCst) {
        match store.patch(session.id(), Patch::new().set("n", &counts.writes).unwrap()).await {
            Ok(patched) => {
                counts.writes += 1;
                newest = patched.version;
                writes.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => counts.failed_writes.push(error.to_string()),
        }
        match store.get(session.id()).await {
            Ok(Some(found)) => {
                assert!(found.version() >= newest, "an older state was read");
                counts.reads += 1;
            }
            Ok(None) => counts.failed_reads.push("missing".to_owned()),
            Err(error) => counts.failed_reads.push(error.to_string()),
        }
    }
    counts
}

#[rstest::rstest]
#[case::plain(None)]
#[case::near(Some(100))]
#[tokio::test(flavor = "multi_thread")]
async fn while_a_slot_moves_reads_never_fail_and_writes_wait(#[case] near_cache: Option<usize>) {
    let cluster = Cluster::start().await;
    let mut builder = builder(&cluster, "moving").deadline(PATIENT);
    if let Some(sessions) = near_cache {
        builder = builder.near_cache(sessions);
    }
    let store = build(builder).await;
    let mut sessions = Vec::new();
    for at in 0..8 {
        sessions.push(created(&store, &format!("user-{at}")).await);
    }
    let load = Load::begin(&store, &sessions);
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
    let counts = load.end().await;
    assert!(counts.failed_reads.is_empty() && counts.failed_writes.is_empty(), "{counts:?}");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_of_a_killed_master_takes_over_and_keeps_what_it_had() {
    let mut cluster = Cluster::start().await;
    let store = build(builder(&cluster, "killed").partitions(16)).await;
    let mut sessions = Vec::new();
    for at in 0..16 {
        sessions.push(created(&store, &format!("user-{at}")).await);
    }
    let load = Load::begin(&store, &sessions);
    load.goes_on().await;
    // What was written before is at the replica.
    let waited: i64 = tell(&cluster.nodes[0], &["WAIT", "1", "10000"]).await.unwrap();
    assert_eq!(waited, 1);
    cluster.nodes[0].kill().await;
    cluster.promoted(0).await;
    for user in 0..16 {
        let user = format!("user-{user}");
        let is_served = async || store.count(&Selector::user(&*user)).await.is_ok();
        eventually("each partition is served", is_served).await;
    }
    load.goes_on().await;
    load.is_over.store(true, Ordering::SeqCst);
    for session in &sessions {
        assert!(store.get(session.id()).await.unwrap().is_some());
    }
    for user in ["ann", "bob", "cid", "dan", "eve"] {
        serves(&store, user).await;
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
