//! A real Redis server: `REDIS_URL`, or one that is spawned, or a container.

use std::net::TcpListener;
use std::ops::Range;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testcontainers_modules::redis::Redis;
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, ImageExt};
use tokio::process::{Child, Command};

/// The image that the container path uses.
const IMAGE_TAG: &str = "7.4";

const PORTS: Range<u16> = 10_000..32_000;

const NONE_FOUND: &str = "no Redis server for the tests: set REDIS_URL, or put redis-server on PATH \
    (Debian: apt-get install redis-server), or start a container engine; ./tests/run does that";

/// A server, stopped when it is dropped, if it was started here.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Url,
    Spawned(Box<Spawned>),
    Container { _handle: Box<ContainerAsync<Redis>> },
}

#[derive(Debug)]
struct Spawned {
    child: Child,
    port: u16,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    directory: TempDir,
}

impl Server {
    /// The first that there is of `REDIS_URL`, `redis-server` on PATH, and a container; or the one that
    /// `CLOAKROOM_TEST_SERVER` (`url`, `spawn`, `container`) asks for.
    pub(crate) async fn start() -> Self {
        match std::env::var("CLOAKROOM_TEST_SERVER").as_deref() {
            Ok("url") => Self::from_url().expect("CLOAKROOM_TEST_SERVER=url needs REDIS_URL"),
            Ok("spawn") => Self::spawn(&[]).await,
            Ok("container") => Self::container().await,
            Ok(other) => {
                panic!("CLOAKROOM_TEST_SERVER is {other:?}, must be url, spawn, container or cluster")
            }
            Err(_) => match Self::from_url() {
                Some(server) => server,
                None if on_path() => Self::spawn(&[]).await,
                None => Self::container().await,
            },
        }
    }

    fn from_url() -> Option<Self> {
        Some(Self { url: std::env::var("REDIS_URL").ok()?, kind: Kind::Url })
    }

    /// A server of the test's own, with options: one that may be stopped, flushed and filled.
    pub(crate) async fn spawn(options: &[&str]) -> Self {
        Self::spawn_in(Vec::new(), options).await
    }

    /// The same, which finds these variables in its environment.
    pub(crate) async fn spawn_in(environment: Vec<(String, String)>, options: &[&str]) -> Self {
        assert!(on_path(), "{NONE_FOUND}");
        let directory = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Between finding a free port and the server's taking it, another process may be faster: then it exits.
        for _ in 0..20 {
            let port = free_port();
            let mut child = launch(port, &options, &environment, &directory);
            let url = format!("redis://127.0.0.1:{port}/");
            if ready(&url, Some(&mut child)).await {
                let spawned = Spawned { child, port, options, environment, directory };
                return Self { url, kind: Kind::Spawned(Box::new(spawned)) };
            }
        }
        panic!("redis-server does not start with {options:?}");
    }

    async fn container() -> Self {
        let container = Redis::default().with_tag(IMAGE_TAG).start().await;
        let container = container.unwrap_or_else(|error| panic!("{NONE_FOUND}\n{error}"));
        let port = container.get_host_port_ipv4(6379).await.unwrap();
        let url = format!("redis://{}:{port}/", container.get_host().await.unwrap());
        assert!(ready(&url, None).await, "the container's server does not answer");
        Self { url, kind: Kind::Container { _handle: Box::new(container) } }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("redis://").trim_end_matches('/').to_owned()
    }

    /// Whether this server is the test's alone.
    pub(crate) fn is_own(&self) -> bool {
        !matches!(self.kind, Kind::Url)
    }

    pub(crate) async fn connect(&self) -> redis::aio::MultiplexedConnection {
        connect(&self.url).await
    }

    /// SIGKILL: no goodbye, no last save.
    pub(crate) async fn kill(&mut self) {
        self.spawned().child.kill().await.unwrap();
    }

    /// SIGSTOP: it takes connections and answers nothing.
    pub(crate) async fn freeze(&mut self) {
        self.signal("STOP").await;
    }

    /// Lets a frozen one go on.
    pub(crate) async fn thaw(&mut self) {
        self.signal("CONT").await;
    }

    async fn signal(&mut self, name: &str) {
        signal(&self.spawned().child, name).await;
    }

    /// A new server in the place of a killed one, with what it has on disk.
    pub(crate) async fn restart(&mut self) {
        let url = self.url.clone();
        let spawned = self.spawned();
        loop {
            let Spawned { port, options, environment, directory, .. } = &*spawned;
            spawned.child = launch(*port, options, environment, directory);
            if ready(&url, Some(&mut spawned.child)).await {
                return;
            }
        }
    }

    /// The same, and does not wait until it has loaded that.
    pub(crate) fn begin_restart(&mut self) {
        let Spawned { child, port, options, environment, directory } = self.spawned();
        *child = launch(*port, options, environment, directory);
    }

    fn spawned(&mut self) -> &mut Spawned {
        match &mut self.kind {
            Kind::Spawned(spawned) => spawned,
            _ => panic!("only a spawned server can be killed"),
        }
    }
}

/// A port that no other server of this process is given, for one that is killed has to come back at its own. It is none
/// of those that the system gives to connections.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let nth = std::process::id().wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(nth % u32::from(PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A test's own connection, which waits for a busy server.
pub(crate) async fn connect(url: &str) -> redis::aio::MultiplexedConnection {
    let patience = Some(Duration::from_secs(60));
    let config =
        redis::AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Sends a signal to a process.
pub(crate) async fn signal(child: &Child, name: &str) {
    let command = format!("kill -{name} {}", child.id().unwrap());
    let sent = Command::new("sh").args(["-c", &command]).status().await.unwrap();
    assert!(sent.success(), "{command}");
}

fn on_path() -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("redis-server").is_file()))
}

fn launch(port: u16, options: &[String], environment: &[(String, String)], directory: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory.path())
        .args(options)
        .envs(environment.iter().cloned())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until a server answers at the URL, and the child, if there is one, is who answers. False: it ended before.
async fn ready(url: &str, mut child: Option<&mut Child>) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    let client = redis::Client::open(url).unwrap();
    loop {
        if let Some(child) = &mut child
            && child.try_wait().unwrap().is_some()
        {
            return false;
        }
        let pid = child.as_ref().and_then(|child| child.id());
        if let Some(answered) = process_id(&client).await
            && pid.is_none_or(|pid| pid == answered)
        {
            return true;
        }
        assert!(Instant::now() < deadline, "the server at {url} does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The process of the server that answers, once it has loaded its data.
async fn process_id(client: &redis::Client) -> Option<u32> {
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    redis::cmd("PING").query_async::<()>(&mut connection).await.ok()?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
    info.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()
}
