//! A server, a namespace on it, and the program.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use std::time::{Duration, Instant};

use cloakroom::testing::TestServer;
use cloakroom::{NewSession, RedisStore, Rules, Session, SessionStore as _};
use serde_json::Value;

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_cloakroom");

/// It, for a namespace somewhere.
pub(crate) fn program_at(url: &str, namespace: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env("CLOAKROOM_URL", url).env("CLOAKROOM_NAMESPACE", namespace);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ctrl-C, without a terminal.
#[cfg(unix)]
pub(crate) fn interrupt(child: &std::process::Child) {
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) store: RedisStore,
}

/// What the program came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), error: text(output.stderr) }
    }

    /// What it printed, if it did what was asked.
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.error.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The same as JSON, a value for each line.
    pub(crate) fn told(self) -> Vec<Value> {
        self.done().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// That it ended with this code.
    pub(crate) fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of_partitions(1).await
    }

    pub(crate) async fn of_partitions(partitions: u16) -> Self {
        Self::with(partitions, Rules::new()).await
    }

    pub(crate) async fn with(partitions: u16, rules: Rules) -> Self {
        let server = TestServer::start().unwrap();
        let builder = RedisStore::builder(server.url()).namespace("shop").partitions(partitions);
        let store = builder.rules(rules).build().await;
        Self { server, store: store.unwrap() }
    }

    /// The program, for this namespace.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        self.program_for("shop", arguments)
    }

    pub(crate) fn program_for(&self, namespace: &str, arguments: &[&str]) -> Command {
        program_at(self.server.url(), namespace, arguments)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.program(arguments).output().unwrap())
    }

    /// The same, with something on standard input.
    pub(crate) fn run_with(&self, input: &str, arguments: &[&str]) -> Ended {
        let mut command = self.program(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    /// A session with a secret in each place that has room for one.
    pub(crate) async fn session(&self, user: &str, node: &str) -> Session {
        let new = NewSession::new().user(user).node(node).connection(format!("socket-{}", unique()));
        let new = new.set("attribute-key", "attribute-value").unwrap();
        self.store.create(new).await.unwrap().session
    }
}

fn unique() -> u64 {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Whether nothing of a text is a secret of a session.
pub(crate) fn is_discreet(text: &str, session: &Session) -> bool {
    let secrets = [session.id().as_str(), session.connection().unwrap(), "attribute-key", "attribute-value"];
    secrets.iter().all(|secret| !text.contains(secret))
}
