//! Where a test keeps its sessions: a namespace of its own on a server, or the memory of this process; and a look at what
//! is stored there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::events::EventStore;
use cloakroom::testing::{Stored as Kept, TestClock};
use cloakroom::{MemoryStore, RedisStore, RedisStoreBuilder, Rules, Session, SessionId};
use redis::Value;

use super::cluster::Cluster;
use super::expect::ms;
#[cfg(target_os = "linux")]
use super::faketime::FakeTime;
use super::invariants;
use super::raw::Raw;
use super::record::Stored;
use super::server::Server;
use super::spread::Spread;

/// Which store a test is about. Most are about both, by `#[values(Redis, Memory)] on: On`. With `CLOAKROOM_TEST_SERVER=cluster`
/// all but the last are on a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    Redis,
    /// The same, and what was read is answered from the memory of the process.
    Near,
    /// The same in 16 partitions: what concerns one session or one user alone is as with one.
    Spread,
    Memory,
}

/// Any store.
pub(crate) type Store = Arc<dyn cloakroom::Store>;

/// Where a test keeps its sessions.
#[derive(Debug)]
pub(crate) struct Context {
    place: Place,
    /// How many sessions each store keeps in memory.
    near_cache: Option<usize>,
    partitions: u16,
    pub(crate) namespace: String,
    /// Shared by all stores of [`store_at`](Self::store_at).
    pub(crate) clock: TestClock,
    started: Instant,
    /// By how much a test set the clock back.
    set_back_ms: AtomicU64,
}

#[derive(Debug)]
enum Place {
    Redis {
        server: Box<Server>,
        raw: Raw,
    },
    /// One that the tests of this process share.
    Cluster {
        cluster: Arc<Cluster>,
        raw: Raw,
    },
    /// By the context's clock.
    Memory(MemoryStore),
}

const NO_SERVER: &str = "a test of one server, run on a cluster or in memory";

/// The whole stored state of a namespace: each key with its type and value. TTLs stand apart, since they run.
pub(crate) type Dump = BTreeMap<String, (String, Vec<u8>)>;

impl Context {
    pub(crate) async fn on(on: On) -> Self {
        match on {
            On::Redis => Self::redis().await,
            On::Near => Self::redis().await.near(),
            On::Spread => Self::redis().await.spread(),
            On::Memory => Self::memory(usize::MAX),
        }
    }

    /// Each store keeps what it reads in memory.
    pub(crate) fn near(self) -> Self {
        Self { near_cache: Some(1000), ..self }
    }

    /// The namespace has 16 partitions.
    pub(crate) fn spread(self) -> Self {
        Self { partitions: 16, ..self }
    }

    /// How its keys are spread.
    pub(crate) fn partitions(&self) -> Spread {
        Spread::new(&self.namespace, self.partitions)
    }

    pub(crate) async fn redis() -> Self {
        if std::env::var("CLOAKROOM_TEST_SERVER").is_ok_and(|server| server == "cluster") {
            let cluster = Cluster::shared().await;
            let raw = Raw::to_cluster(&cluster).await;
            return Self::in_place(TestClock::new(), Place::Cluster { cluster, raw });
        }
        Self::at(Server::start().await).await
    }

    /// Another place by the same clock.
    pub(crate) async fn another(&self, on: On) -> Self {
        match on {
            On::Redis | On::Near | On::Spread => Self { clock: self.clock.clone(), ..Self::on(on).await },
            On::Memory => Self::memory_by(self.clock.clone(), usize::MAX),
        }
    }

    /// Another namespace on a server of the test's own, which is emptied.
    pub(crate) async fn begin_anew(&mut self) {
        self.namespace = new_namespace();
        self.started = Instant::now();
        self.set_back_ms = AtomicU64::new(0);
        self.command::<()>(&["FLUSHALL"]).await;
    }

    /// On a spawned server of the test's own, which may be flushed, filled and killed.
    pub(crate) async fn own(options: &[&str]) -> Self {
        Self::at(Server::spawn(options).await).await
    }

    /// The same, and the server goes by a clock of the test's.
    #[cfg(target_os = "linux")]
    pub(crate) async fn own_by(clock: &FakeTime) -> Self {
        Self::at(Server::spawn_in(clock.environment(), &[]).await).await
    }

    async fn at(server: Server) -> Self {
        let raw = Raw::to_server(server.connect().await);
        Self::in_place(TestClock::new(), Place::Redis { server: Box::new(server), raw })
    }

    /// In memory, with room for so many sessions.
    pub(crate) fn memory(max_sessions: usize) -> Self {
        Self::memory_by(TestClock::new(), max_sessions)
    }

    fn memory_by(clock: TestClock, max_sessions: usize) -> Self {
        let store = MemoryStore::builder().max_sessions(max_sessions).clock(clock.clone()).build();
        Self::in_place(clock, Place::Memory(store.unwrap()))
    }

    fn in_place(clock: TestClock, place: Place) -> Self {
        Self {
            place,
            near_cache: None,
            partitions: 1,
            namespace: new_namespace(),
            clock,
            started: Instant::now(),
            set_back_ms: AtomicU64::new(0),
        }
    }

    /// A store by the server's clock; in memory by the context's.
    pub(crate) async fn store(&self, rules: Rules) -> Store {
        match &self.place {
            Place::Redis { .. } | Place::Cluster { .. } => build(self.builder(rules)).await,
            Place::Memory(store) => Arc::new(store.with_rules(rules).unwrap()),
        }
    }

    /// A store by the context's clock, which the test moves.
    pub(crate) async fn store_at(&self, rules: Rules) -> Store {
        match &self.place {
            Place::Redis { .. } | Place::Cluster { .. } => {
                build(self.builder(rules).clock(self.clock.clone())).await
            }
            Place::Memory(_) => self.store(rules).await,
        }
    }

    /// The same, to read events.
    pub(crate) async fn event_store_at(&self, rules: Rules) -> Arc<dyn EventStore> {
        match &self.place {
            Place::Redis { .. } | Place::Cluster { .. } => {
                Arc::new(self.builder(rules).clock(self.clock.clone()).build().await.unwrap())
            }
            Place::Memory(store) => Arc::new(store.with_rules(rules).unwrap()),
        }
    }

    pub(crate) fn builder(&self, rules: Rules) -> RedisStoreBuilder {
        let builder = RedisStore::builder(self.url())
            .namespace(&self.namespace)
            .partitions(self.partitions)
            .rules(rules)
            .deadline(Duration::from_secs(20)) // a busy machine is no failure
            .connect_timeout(Duration::from_secs(10));
        match self.near_cache {
            Some(sessions) => builder.near_cache(sessions),
            None => builder,
        }
    }

    fn url(&self) -> String {
        match &self.place {
            Place::Cluster { cluster, .. } => cluster.url(),
            _ => self.server().url().to_owned(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        match &self.place {
            Place::Redis { server, .. } => server,
            Place::Cluster { .. } | Place::Memory(_) => panic!("{NO_SERVER}"),
        }
    }

    pub(crate) fn server_mut(&mut self) -> &mut Server {
        match &mut self.place {
            Place::Redis { server, .. } => server,
            Place::Cluster { .. } | Place::Memory(_) => panic!("{NO_SERVER}"),
        }
    }

    /// A connection past the stores.
    pub(crate) fn raw(&self) -> Raw {
        match &self.place {
            Place::Redis { raw, .. } | Place::Cluster { raw, .. } => raw.clone(),
            Place::Memory(_) => panic!("a test of Redis, run in memory"),
        }
    }

    /// Connects anew, after the server was killed.
    pub(crate) async fn reconnect(&mut self) {
        let connection = self.server().connect().await;
        if let Place::Redis { raw, .. } = &mut self.place {
            *raw = Raw::to_server(connection);
        }
    }

    pub(crate) fn key(&self, rest: impl AsRef<str>) -> String {
        let rest = rest.as_ref();
        match self.partitions {
            1 => format!("{{{}:0}}:{rest}", self.namespace),
            _ => format!("{}:{rest}", self.partitions().tag_of(rest)),
        }
    }

    pub(crate) fn record_key(&self, id: &SessionId) -> String {
        self.key(format!("session:{}", id.as_str()))
    }

    /// Sends one command past the stores.
    pub(crate) async fn command<T: redis::FromRedisValue>(&self, parts: &[&str]) -> T {
        self.try_command(parts).await.unwrap()
    }

    pub(crate) async fn try_command<T: redis::FromRedisValue>(
        &self,
        parts: &[&str],
    ) -> redis::RedisResult<T> {
        let mut cmd = redis::cmd(parts[0]);
        for part in &parts[1..] {
            cmd.arg(part);
        }
        cmd.query_async(&mut self.raw()).await
    }

    /// Whether a script may ask what its user may run: from Redis 7.0 on.
    pub(crate) async fn scripts_can_ask(&self) -> bool {
        self.command::<i64>(&["EVAL", "return redis.acl_check_cmd and 1 or 0", "0"]).await == 1
    }

    /// What the store in memory has, in the words of Redis. `None`: the test is on Redis.
    pub(crate) fn snapshot(&self) -> Option<BTreeMap<String, Kept>> {
        match &self.place {
            Place::Redis { .. } | Place::Cluster { .. } => None,
            Place::Memory(store) => Some(store.snapshot(&self.namespace).unwrap()),
        }
    }

    /// What is under a key that holds a string.
    pub(crate) async fn string(&self, key: &str) -> Option<Vec<u8>> {
        match self.snapshot() {
            None => self.command(&["GET", key]).await,
            Some(snapshot) => snapshot.get(key).map(|kept| match kept {
                Kept::String(bytes) => bytes.clone(),
                kept => panic!("{key} is no string: {kept:?}"),
            }),
        }
    }

    pub(crate) async fn stored(&self, id: &SessionId) -> Option<Stored> {
        self.string(&self.record_key(id)).await.map(|bytes| Stored::parse(&bytes))
    }

    /// Milliseconds until the key goes by itself; -1 for never, -2 for no key.
    pub(crate) async fn pttl(&self, key: &str) -> i64 {
        self.command(&["PTTL", key]).await
    }

    pub(crate) async fn exists(&self, key: &str) -> bool {
        match self.snapshot() {
            None => self.command::<i64>(&["EXISTS", key]).await == 1,
            Some(snapshot) => snapshot.contains_key(key),
        }
    }

    /// The members of a sorted set, with their scores.
    pub(crate) async fn members(&self, key: &str) -> BTreeMap<String, u64> {
        match self.snapshot() {
            None => {
                let pairs: Vec<(String, f64)> = self.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]).await;
                pairs.into_iter().map(|(member, score)| (member, score as u64)).collect()
            }
            Some(snapshot) => match snapshot.get(key) {
                None => BTreeMap::new(),
                Some(Kept::SortedSet(members)) => members.iter().cloned().collect(),
                Some(kept) => panic!("{key} is no sorted set: {kept:?}"),
            },
        }
    }

    /// The names of all keys that sessions have.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys = self.all_keys().await;
        keys.retain(|key| !key.ends_with("}:contract"));
        keys
    }

    /// The same, and where the contract is noted, which a store does when it starts.
    pub(crate) async fn all_keys(&self) -> Vec<String> {
        if let Some(snapshot) = self.snapshot() {
            return snapshot.into_keys().collect();
        }
        let pattern = match self.partitions {
            1 => format!("{{{}:0}}:*", self.namespace),
            _ => format!("{{{}:*}}:*", self.namespace),
        };
        let mut keys = Vec::new();
        for server in self.raw().all() {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg(&["MATCH", &pattern, "COUNT", "1000"]);
                let (next, page): (String, Vec<String>) =
                    scan.query_async(&mut server.clone()).await.unwrap();
                keys.extend(page);
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// The names of all keys but the expiry index's, which in Redis stays with the note of its own TTL.
    pub(crate) async fn keys_but_expiry(&self) -> Vec<String> {
        let mut keys = self.keys().await;
        keys.retain(|key| !key.ends_with("}:expiry"));
        keys
    }

    /// All that is stored of sessions, to compare before and after.
    pub(crate) async fn dump(&self) -> Dump {
        if let Some(snapshot) = self.snapshot() {
            let line = |(key, kept)| (key, ("memory".to_owned(), format!("{kept:?}").into_bytes()));
            return snapshot.into_iter().map(line).collect();
        }
        let mut dump = Dump::new();
        for key in self.keys().await {
            let kind: String = self.command(&["TYPE", &key]).await;
            let value: Value = match kind.as_str() {
                "string" => self.command(&["GET", &key]).await,
                "zset" => self.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
                // DUMP's checksum covers the value.
                _ => self.command(&["DUMP", &key]).await,
            };
            dump.insert(key, (kind, format!("{value:?}").into_bytes()));
        }
        dump
    }

    /// Fails if an index entry has no record, a record lacks an entry, or a key has no TTL.
    pub(crate) async fn check(&self) {
        let violations = invariants::violations(self).await;
        assert!(violations.is_empty(), "invariants broken:\n{}", violations.join("\n"));
    }

    /// How far the clock that a test moves may be behind the server's, by which TTLs run: as long as the test runs, and by
    /// how much it set it back. Where the server's own clock is set back, what is left of a TTL grows with that.
    pub(crate) fn clock_lag_ms(&self) -> i64 {
        let set_back_ms = self.set_back_ms.load(Ordering::SeqCst);
        i64::try_from(self.started.elapsed().as_millis()).unwrap() + i64::try_from(set_back_ms).unwrap()
    }

    /// Sets the clock back.
    pub(crate) fn set_back(&self, by: Duration) {
        self.set_back_ms.fetch_add(ms(by), Ordering::SeqCst);
        self.clock.set_ms(self.clock.now_ms() - ms(by));
    }

    /// A live session with a user, a connection and a node of its own.
    pub(crate) async fn session(&self, store: &Store, name: &str) -> Session {
        let new = cloakroom::NewSession::new()
            .user(format!("user-{name}"))
            .connection(format!("connection-{name}"))
            .node(format!("node-{name}"))
            .set("color", "green")
            .unwrap();
        store.create(new).await.unwrap().session
    }
}

fn new_namespace() -> String {
    format!("t{:016x}", fastrand::u64(..))
}

/// A store of a builder that has all it needs.
pub(crate) async fn build(builder: RedisStoreBuilder) -> Store {
    Arc::new(builder.build().await.unwrap())
}

/// Waits for a condition, with a deadline that only a broken engine meets.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
