//! The feature `metrics`, read through the exporter for Prometheus as a service would install it: what docs/operating.md says
//! is there, nothing else is, and the dashboard and the alarms ask for nothing else.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::background::Reaper;
use cloakroom::events::{EventStore, EventsFrom, Told};
use cloakroom::fallback::{FallbackPolicy, FallbackStore};
use cloakroom::migration::{Destination, MigrationManager, MigrationTask};
use cloakroom::nodes::{Heartbeat, Lease, LeaseOptions, NodeIdentity, NodeRegistry as _, Recoverer};
use cloakroom::testing::{TestClock, TestServer};
use cloakroom::{
    MemoryStore, NewSession, Patch, RedisStore, RedisStoreBuilder, Rules, SessionId, SessionStore,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DOCS: &str = include_str!("../../docs/operating.md");
const DASHBOARD: &str = include_str!("../../docs/dashboard.json");
const ALARMS: &str = include_str!("../../docs/alerts.yaml");

/// What a user, a node, a connection and a session are called, none of which any label may say.
const SECRET: &str = "a-secret";

/// A recorder for the thread of a test, on which all of its tasks run.
struct Recorded {
    handle: PrometheusHandle,
    _installed: metrics::LocalRecorderGuard<'static>,
}

impl Recorded {
    fn begin() -> Self {
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let recorder = builder.set_buckets(&[0.001, 1.0, 60.0]).unwrap().build_recorder();
        let handle = recorder.handle();
        // As long as the process: the guard borrows it.
        let _installed = metrics::set_default_local_recorder(Box::leak(Box::new(recorder)));
        cloakroom::describe_metrics();
        Self { handle, _installed }
    }

    /// The value of a metric with these labels, 0 if there is none.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.handle.render();
        let has = |line: &&str| {
            let (series, _) = line.rsplit_once(' ').unwrap();
            series.split('{').next() == Some(name)
                && labels.iter().all(|(label, value)| series.contains(&format!("{label}=\"{value}\"")))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.filter(has).map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// How many calls ended so.
    fn calls(&self, operation: &str, outcome: &str) -> f64 {
        let labels = [("db_operation_name", operation), ("cloakroom_outcome", outcome)];
        self.value("db_client_operation_duration_seconds_count", &labels)
    }

    async fn reaches(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.value(name, labels) < least {
            assert!(Instant::now() < until, "never: {name} {labels:?}\n{}", self.handle.render());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const SOON: Duration = Duration::from_millis(300);

fn builder(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url).namespace(SECRET).deadline(Duration::from_secs(20))
}

fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

fn new() -> NewSession {
    NewSession::new().user(SECRET).node(SECRET)
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::builder().build().unwrap())
}

#[tokio::test]
async fn calls_are_counted_by_operation_and_outcome() {
    let recorded = Recorded::begin();
    let server = TestServer::start().unwrap();
    let store = builder(server.url()).build().await.unwrap();
    calls(&recorded, &store).await;
    let redis = [("db_system_name", "redis")];
    assert!(recorded.value("db_client_operation_duration_seconds_count", &redis) > 10.0);
    assert_eq!(recorded.value("cloakroom_operation_attempts_total", &[("db_operation_name", "create")]), 3.0);
    let of_patch = [("db_operation_name", "patch")];
    assert_eq!(recorded.value("cloakroom_operation_round_trips_total", &of_patch), 2.0);
    assert_eq!(recorded.value("cloakroom_connection_calls", &[]), 0.0);
    let made = [("cloakroom_outcome", "ok")];
    assert!(recorded.value("db_client_connection_create_time_seconds_count", &made) >= 1.0);

    let recorded = Recorded::begin();
    calls(&recorded, &*memory()).await;
    let memory = [("db_system_name", "memory")];
    assert!(recorded.value("db_client_operation_duration_seconds_count", &memory) > 10.0);
}

/// The same on both stores.
async fn calls(recorded: &Recorded, store: &dyn SessionStore) {
    let session = store.create(new().id(id(SECRET))).await.unwrap().session;
    store.create(new().id(id(SECRET))).await.unwrap_err();
    store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(store.get(&id("nobody")).await.unwrap(), None);
    let mut stale = session.clone();
    store.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap();
    store.patch(session.id(), Patch::new().set("a", &2).unwrap()).await.unwrap();
    store.update(&mut stale).await.unwrap_err();
    assert!(store.create(new().user("x".repeat(257))).await.is_err());
    assert!(store.delete(&session).await.unwrap());
    assert!(!store.delete(&session).await.unwrap());
    store.create(new().id(id(SECRET))).await.unwrap_err();
    store.close().await;
    store.get(session.id()).await.unwrap_err();
    for (operation, outcome, expected) in [
        ("create", "ok", 1.0),
        ("create", "exists", 1.0),
        ("create", "invalid", 1.0),
        ("create", "gone", 1.0),
        ("get", "ok", 1.0),
        ("get", "missing", 1.0),
        ("patch", "ok", 2.0),
        ("update", "conflict", 1.0),
        ("delete", "ok", 1.0),
        ("delete", "missing", 1.0),
    ] {
        assert_eq!(recorded.calls(operation, outcome), expected, "{operation} {outcome}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_counted_as_cancelled() {
    let recorded = Recorded::begin();
    let server = TestServer::start().unwrap();
    let store = builder(server.url()).build().await.unwrap();
    let nobody = id("nobody");
    // Polled once, it has been sent; then it is dropped.
    tokio::select! {
        biased;
        _ = store.get(&nobody) => panic!("no reply comes so soon"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(recorded.calls("get", "cancelled"), 1.0);
}

/// Whatever a store does that is counted or measured.
async fn do_everything(recorded: &Recorded) {
    near_cache(recorded).await;
    reaping(recorded).await;
    told(recorded).await;
    outage(recorded).await;
    nodes(recorded).await;
    let manager = MigrationManager::builder(memory_with_a_session().await, memory()).build().unwrap();
    let submitted = manager.submit(MigrationTask::new(id(SECRET), Destination::Remote)).await.unwrap();
    assert_eq!(recorded.value("cloakroom_migration_queued", &[]), 1.0);
    submitted.await.unwrap().outcome.unwrap();
    manager.close().await;
    assert_eq!(recorded.value("cloakroom_migration_queued", &[]), 0.0);
    let arrived = [("cloakroom_outcome", "ok")];
    assert_eq!(recorded.value("cloakroom_migration_duration_seconds_count", &arrived), 1.0);
}

async fn memory_with_a_session() -> Arc<MemoryStore> {
    let store = memory();
    store.create(new().id(id(SECRET))).await.unwrap();
    store
}

async fn near_cache(recorded: &Recorded) {
    let server = TestServer::start().unwrap();
    let store = builder(server.url()).near_cache(10).build().await.unwrap();
    let other = builder(server.url()).build().await.unwrap();
    let session = store.create(new()).await.unwrap().session;
    for _ in 0..3 {
        store.get(session.id()).await.unwrap().unwrap();
    }
    let lookups =
        |result| recorded.value("cloakroom_near_cache_lookups_total", &[("cloakroom_result", result)]);
    assert_eq!([lookups("miss"), lookups("hit")], [1.0, 2.0]);
    assert!(recorded.value("db_client_connection_count", &[]) >= 2.0);
    other.delete(&session).await.unwrap();
    let told = [("cloakroom_result", "session")];
    recorded.reaches("cloakroom_near_cache_invalidations_total", &told, 1.0).await;
    // It ends, and its connections with it.
    drop(server);
    recorded.reaches("cloakroom_connection_broken_total", &[], 1.0).await;
}

async fn reaping(recorded: &Recorded) {
    let clock = TestClock::new();
    let server = TestServer::start().unwrap();
    let rules = Rules::new().ttl(Duration::from_secs(60));
    let store = builder(server.url()).rules(rules).clock(clock.clone()).build().await.unwrap();
    store.create(new()).await.unwrap();
    clock.advance(Duration::from_secs(160));
    let reaper = Reaper::builder(Arc::new(store)).spawn().unwrap();
    recorded.reaches("cloakroom_background_sweeps_total", &[("cloakroom_task", "reaper")], 1.0).await;
    reaper.stop().await;
    assert_eq!(recorded.value("cloakroom_reap_sessions_total", &[("cloakroom_result", "removed")]), 1.0);
    assert_eq!(recorded.value("cloakroom_reap_lag_seconds_sum", &[]), 100.0);
}

/// What waits for a reader is as old as it is, in Redis and in memory.
async fn told(recorded: &Recorded) {
    let telling = || Rules::new().events(1_000);
    let server = TestServer::start().unwrap();
    let redis: Arc<RedisStore> = Arc::new(builder(server.url()).rules(telling()).build().await.unwrap());
    let in_memory = Arc::new(MemoryStore::builder().rules(telling()).build().unwrap());
    let mut batches = 0.0;
    let stores: [(Arc<dyn SessionStore>, Arc<dyn EventStore>); 2] =
        [(redis.clone(), redis), (in_memory.clone(), in_memory)];
    for (store, reader) in stores {
        store.create(new()).await.unwrap();
        let mut events = reader.events(EventsFrom::Beginning).await.unwrap();
        assert!(matches!(events.next().await, Some(Told::Event(_))));
        batches += 1.0;
        recorded.reaches("cloakroom_events_lag_seconds_count", &[], batches).await;
    }
    let lag = recorded.value("cloakroom_events_lag_seconds_sum", &[]);
    assert!((0.0..60.0).contains(&lag), "{lag} seconds behind");
}

async fn outage(recorded: &Recorded) {
    let server = TestServer::start().unwrap();
    let redis = builder(server.url()).deadline(SOON).connect_timeout(Duration::from_secs(60));
    let redis = Arc::new(redis.build().await.unwrap());
    let store = FallbackStore::builder(redis).failures(2).policy(FallbackPolicy::FailClosed).build().unwrap();
    // From now on it takes connections and says nothing.
    let address = server.url().trim_start_matches("redis://").trim_end_matches('/');
    let mut raw = tokio::net::TcpStream::connect(address).await.unwrap();
    raw.write_all(b"CLIENT PAUSE 600000\r\n").await.unwrap();
    raw.read_exact(&mut [0; 5]).await.unwrap();
    // The first waits for a reply, the second for a connection that answers.
    for _ in 0..2 {
        store.get(&id(SECRET)).await.unwrap_err();
    }
    assert_eq!(recorded.value("db_client_connection_timeouts_total", &[]), 1.0);
    assert_eq!(recorded.calls("get", "not_executed"), 2.0);
    assert_eq!(recorded.value("cloakroom_breaker_open", &[]), 1.0);
    let opened = [("cloakroom_breaker_state", "open")];
    assert_eq!(recorded.value("cloakroom_breaker_transitions_total", &opened), 1.0);
    store.get(&id(SECRET)).await.unwrap_err();
    assert_eq!(recorded.value("cloakroom_fallback_events_total", &[("cloakroom_result", "rejected")]), 1.0);
}

async fn nodes(recorded: &Recorded) {
    let clock = TestClock::new();
    let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build().unwrap());
    let length = Duration::from_secs(3600);
    let dead = NodeIdentity::new(SECRET).unwrap();
    store.heartbeat(&dead, Heartbeat::register()).await.unwrap();
    store.create(new()).await.unwrap();
    clock.advance(Duration::from_secs(120));
    let live = Lease::acquire(store.clone(), "live", LeaseOptions::new().length(length)).await.unwrap();
    let recoverer = Recoverer::builder(store.clone(), &live).spawn().unwrap();
    recorded.reaches("cloakroom_recover_sessions_total", &[], 1.0).await;
    recoverer.stop().await;

    let lost = Lease::acquire(store.clone(), "lost", LeaseOptions::new().length(SOON * 4)).await.unwrap();
    clock.advance(Duration::from_secs(120));
    let other = NodeIdentity::new("lost").unwrap();
    store.heartbeat(&other, Heartbeat::register().lease(length)).await.unwrap();
    lost.lost().await;
    recorded.reaches("cloakroom_lease_losses_total", &[("cloakroom_result", "whole")], 1.0).await;
}

/// The names of the metrics, as Prometheus has them, with the labels that the table says.
fn told_by_the_docs() -> BTreeMap<String, BTreeSet<String>> {
    let (_, table) = DOCS.split_once("| metric | kind | labels | |\n").unwrap();
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(|text| text.replace('.', "_")).collect()
    };
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let metric = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = quoted(cells[1]).pop().unwrap();
        let name = match cells[2] {
            "counter" => format!("{name}_total"),
            "duration" => format!("{name}_seconds"),
            _ => name,
        };
        // The values that a label may have stand behind it.
        let is_label =
            |text: &String| text.starts_with("db_") || text.starts_with("cloakroom_") || text == "error_type";
        (name, quoted(cells[3]).into_iter().filter(is_label).collect())
    };
    rows.map(metric).collect()
}

/// The names of what was recorded, with all labels that it had.
fn recorded_metrics(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix).filter(|base| base.ends_with("_seconds")));
        let known = metrics.entry(base.unwrap_or(name).to_owned()).or_default();
        let labels = labels.split('"').step_by(2).filter_map(|label| label.strip_suffix('='));
        known.extend(
            labels.map(|label| label.trim_start_matches(',').to_owned()).filter(|label| label != "le"),
        );
    }
    metrics
}

#[tokio::test]
async fn the_table_of_the_docs_is_what_is_recorded_and_no_label_names_anybody() {
    let recorded = Recorded::begin();
    do_everything(&recorded).await;
    let text = recorded.handle.render();
    assert_eq!(recorded_metrics(&text), told_by_the_docs());
    assert!(!text.contains(SECRET), "{text}");
    let named: Vec<&str> = text.lines().filter(|line| line.starts_with("# HELP")).collect();
    assert_eq!(named.len(), told_by_the_docs().len(), "{named:?}");
}

/// What a query asks for, without its labels: names of metrics; and the labels.
fn asked_by(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = |text: &str| -> Vec<String> {
        text.split(|c| !is_of_name(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (mut names, mut labels, mut rest) = (BTreeSet::new(), BTreeSet::new(), query);
    while let Some((before, behind)) = rest.split_once('{') {
        let (matchers, behind) = behind.split_once('}').unwrap();
        names.extend(words(before));
        labels.extend(matchers.split(", ").map(|matcher| words(matcher)[0].clone()));
        rest = behind;
    }
    names.extend(words(rest));
    for (_, grouped) in query.match_indices(" by (").map(|(at, by)| query.split_at(at + by.len())) {
        labels.extend(words(grouped.split_once(')').unwrap().0));
    }
    names
        .retain(|name| (name.starts_with("db_") || name.starts_with("cloakroom_")) && !labels.contains(name));
    (names, labels)
}

/// What a query asks for: metrics, as the table of the docs names them. All of them exist, and so do the labels.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let metrics = told_by_the_docs();
    let (names, labels) = asked_by(query);
    assert!(!names.is_empty(), "{query}");
    let (mut asked, mut known) = (BTreeSet::new(), BTreeSet::from(["job".to_owned(), "le".to_owned()]));
    for name in names {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let base = base.filter(|base| metrics.contains_key(*base)).unwrap_or(&name);
        known.extend(metrics.get(base).unwrap_or_else(|| panic!("there is no {name}: {query}")).clone());
        // A duration has no value of its own, and nothing else has buckets.
        assert_eq!(base.ends_with("_seconds"), base != name, "{name}: {query}");
        asked.insert(base.to_owned());
    }
    assert!(labels.is_subset(&known), "{labels:?} of {query}");
    asked
}

/// The rules of a group of the alarms.
fn alarms(group: &str) -> Vec<serde_json::Value> {
    let document: serde_json::Value = serde_yaml_ng::from_str(ALARMS).unwrap();
    let groups = document["groups"].as_array().unwrap();
    let found = groups.iter().find(|each| each["name"] == group);
    found.unwrap()["rules"].as_array().unwrap().clone()
}

#[test]
fn each_alarm_of_services_asks_for_metrics_and_labels_that_exist() {
    let alarms = alarms("cloakroom");
    assert!(alarms.len() > 10);
    for alarm in alarms {
        metrics_of(alarm["expr"].as_str().unwrap());
    }
}

#[test]
fn each_alarm_has_a_row_of_the_docs_that_says_what_to_do_and_each_row_an_alarm() {
    let (_, table) = DOCS.split_once("| alarm | means | do |\n").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let named = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let [mut told, mut named] = [Vec::new(), named.map(str::to_owned).collect::<Vec<_>>()];
    for alarm in ["cloakroom", "redis"].into_iter().flat_map(alarms) {
        let severity = alarm["labels"]["severity"].as_str().unwrap();
        assert!(["page", "ticket"].contains(&severity), "{alarm}");
        assert!(alarm["annotations"]["summary"].is_string(), "{alarm}");
        told.push(alarm["alert"].as_str().unwrap().to_owned());
    }
    told.sort();
    named.sort();
    assert_eq!(told, named);
}

#[test]
fn each_query_of_the_dashboard_asks_for_metrics_and_labels_that_exist_and_all_are_asked_for() {
    let metrics = told_by_the_docs();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 20);
    let mut asked = BTreeSet::new();
    for query in queries {
        asked.extend(metrics_of(query));
    }
    assert_eq!(asked, metrics.into_keys().collect());
    let mut ids: Vec<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}
