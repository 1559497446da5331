//! A server, a namespace of the test's own in it, and stores on that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloakroom::{RedisStore, Rules, Session, SessionId, SessionStore as _, TestClock};
use redis::Value;
use redis::aio::MultiplexedConnection;

use super::invariants;
use super::record::Stored;
use super::server::Server;

/// A server, a namespace of the test's own in it, and stores on that.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) server: Server,
    pub(crate) namespace: String,
    /// Shared by all stores of [`store_at`](Self::store_at).
    pub(crate) clock: TestClock,
    pub(crate) raw: MultiplexedConnection,
    started: Instant,
}

/// The whole stored state of a namespace: each key with its type and value. TTLs stand apart, since they run.
pub(crate) type Dump = BTreeMap<String, (String, Vec<u8>)>;

impl Context {
    pub(crate) async fn new() -> Self {
        Self::on(Server::start().await).await
    }

    /// On a spawned server of the test's own, which may be flushed, filled and killed.
    pub(crate) async fn own(options: &[&str]) -> Self {
        Self::on(Server::spawn(options).await).await
    }

    async fn on(server: Server) -> Self {
        let raw = server.connect().await;
        let namespace = format!("t{:016x}", fastrand::u64(..));
        Self { server, namespace, clock: TestClock::new(), raw, started: Instant::now() }
    }

    /// A store by the server's clock.
    pub(crate) async fn store(&self, rules: Rules) -> RedisStore {
        self.builder(rules).build().await.unwrap()
    }

    /// A store by the context's clock, which the test moves.
    pub(crate) async fn store_at(&self, rules: Rules) -> RedisStore {
        self.builder(rules).clock(self.clock.clone()).build().await.unwrap()
    }

    pub(crate) fn builder(&self, rules: Rules) -> cloakroom::RedisStoreBuilder {
        RedisStore::builder(self.server.url())
            .namespace(&self.namespace)
            .rules(rules)
            .deadline(Duration::from_secs(20)) // a busy machine is no failure
            .connect_timeout(Duration::from_secs(10))
    }

    pub(crate) fn key(&self, rest: impl AsRef<str>) -> String {
        format!("{{{}:0}}:{}", self.namespace, rest.as_ref())
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
        cmd.query_async(&mut self.raw.clone()).await
    }

    pub(crate) async fn stored(&self, id: &SessionId) -> Option<Stored> {
        let bytes: Option<Vec<u8>> = self.command(&["GET", &self.record_key(id)]).await;
        bytes.map(|bytes| Stored::parse(&bytes))
    }

    /// Milliseconds until the key goes by itself; -1 for never, -2 for no key.
    pub(crate) async fn pttl(&self, key: &str) -> i64 {
        self.command(&["PTTL", key]).await
    }

    pub(crate) async fn exists(&self, key: &str) -> bool {
        self.command::<i64>(&["EXISTS", key]).await == 1
    }

    pub(crate) async fn members(&self, key: &str) -> BTreeMap<String, u64> {
        let pairs: Vec<(String, f64)> = self.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]).await;
        pairs.into_iter().map(|(member, score)| (member, score as u64)).collect()
    }

    /// The names of all keys of the namespace.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let pattern = format!("{{{}:0}}:*", self.namespace);
        let mut cursor = "0".to_owned();
        let mut keys = Vec::new();
        loop {
            let (next, page): (String, Vec<String>) =
                self.command(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"]).await;
            keys.extend(page);
            cursor = next;
            if cursor == "0" {
                keys.sort();
                keys.dedup();
                return keys;
            }
        }
    }

    /// All that is stored, to compare before and after. DUMP's checksum covers the value.
    pub(crate) async fn dump(&self) -> Dump {
        let mut dump = Dump::new();
        for key in self.keys().await {
            let kind: String = self.command(&["TYPE", &key]).await;
            let value: Value = match kind.as_str() {
                "string" => self.command(&["GET", &key]).await,
                "zset" => self.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
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

    /// How far the clock that a test moves may be behind the server's, by which TTLs run: as long as the test runs.
    pub(crate) fn clock_lag_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap()
    }

    /// A live session with a user, a connection and a node of its own.
    pub(crate) async fn session(&self, store: &RedisStore, name: &str) -> Session {
        let new = cloakroom::NewSession::new()
            .user(format!("user-{name}"))
            .connection(format!("connection-{name}"))
            .node(format!("node-{name}"))
            .set("color", "green")
            .unwrap();
        store.create(new).await.unwrap().session
    }
}

/// Waits for a condition, with a deadline that only a broken engine meets.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
