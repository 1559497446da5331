//! A master with two replicas, and three sentinels that watch them.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::context::eventually;
use super::server::{Server, connect, free_port, signal};

/// What the master is called.
pub(crate) const SERVICE: &str = "shop";

/// After so long without an answer a sentinel takes a server for down.
const DOWN_AFTER_MS: u64 = 1000;

/// The servers and who watches them. All are stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
pub(crate) struct Sentinel {
    pub(crate) port: u16,
    child: Child,
    _directory: TempDir,
}

impl Watched {
    /// The first of the servers is the master. Sentinels have a user of their own there.
    pub(crate) async fn start() -> Self {
        let mut servers = vec![Server::spawn(&["--repl-diskless-sync-delay", "0"]).await];
        let address = servers[0].address();
        let (host, port) = address.split_once(':').unwrap();
        for _ in 0..2 {
            servers
                .push(Server::spawn(&["--repl-diskless-sync-delay", "0", "--replicaof", host, port]).await);
        }
        for server in &servers {
            command::<()>(server, &["ACL", "SETUSER", "watch", "on", ">w", "~*", "&*", "+@all"]).await;
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(port, "w").await);
        }
        let watched = Self { servers, sentinels };
        for at in 0..3 {
            eventually("a sentinel knows all", async || {
                let master = watched.master_as_told_by(at).await;
                let is = |field: &str, count: &str| master.get(field).is_some_and(|found| found == count);
                is("num-slaves", "2") && is("num-other-sentinels", "2") && is("flags", "master")
            })
            .await;
        }
        watched
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// A connection to one of the sentinels.
    pub(crate) async fn sentinel(&self, at: usize) -> redis::aio::MultiplexedConnection {
        self.sentinels[at].connect().await
    }

    /// SIGSTOP: none of the sentinels answers any more.
    pub(crate) async fn freeze_sentinels(&self) {
        for sentinel in &self.sentinels {
            signal(&sentinel.child, "STOP").await;
        }
    }

    async fn master_as_told_by(&self, at: usize) -> HashMap<String, String> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("MASTER").arg(SERVICE);
        question.query_async(&mut self.sentinel(at).await).await.unwrap()
    }

    /// Waits until another than the first is the master, for all sentinels, and answers which.
    pub(crate) async fn switched(&self) -> usize {
        let is_new = async |at: usize| {
            let told = self.master_as_told_by(at).await;
            self.servers
                .iter()
                .skip(1)
                .any(|server| server.address().ends_with(&format!(":{}", told["port"])))
        };
        for at in 0..3 {
            eventually("a sentinel names another master", async || is_new(at).await).await;
        }
        let told = self.master_as_told_by(0).await;
        let is_it = |server: &Server| server.address().ends_with(&format!(":{}", told["port"]));
        self.servers.iter().position(is_it).unwrap()
    }
}

impl Sentinel {
    /// One that has another password than the servers' never hears of the others, nor of their masters.
    pub(crate) async fn start(master: &str, password: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (file, port) = (directory.path().join("sentinel.conf"), free_port());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {SERVICE} 3000\nsentinel auth-user {SERVICE} watch\n\
             sentinel auth-pass {SERVICE} {password}\n",
            directory.path().display()
        );
        std::fs::write(&file, settings).unwrap();
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
        eventually("a sentinel answers", async || client.get_multiplexed_async_connection().await.is_ok())
            .await;
        Self { port, child, _directory: directory }
    }

    /// How many commands it has got, this one included.
    pub(crate) async fn commands(connection: &mut redis::aio::MultiplexedConnection) -> u64 {
        let mut info = redis::cmd("INFO");
        info.arg("stats");
        let stats: String = info.query_async(connection).await.unwrap();
        let count = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        count.unwrap().parse().unwrap()
    }

    pub(crate) async fn connect(&self) -> redis::aio::MultiplexedConnection {
        connect(&format!("redis://127.0.0.1:{}/", self.port)).await
    }
}

/// Sends one command to a server, which may be silent.
pub(crate) async fn try_command<T: redis::FromRedisValue>(server: &Server, parts: &[&str]) -> Option<T> {
    let client = redis::Client::open(server.url()).unwrap();
    let mut cmd = redis::cmd(parts[0]);
    cmd.arg(&parts[1..]);
    let asked = async {
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        cmd.query_async(&mut connection).await.ok()
    };
    tokio::time::timeout(Duration::from_secs(1), asked).await.ok().flatten()
}

pub(crate) async fn command<T: redis::FromRedisValue>(server: &Server, parts: &[&str]) -> T {
    try_command(server, parts).await.unwrap_or_else(|| panic!("{parts:?} is not answered"))
}
