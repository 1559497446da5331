//! A Redis server for a test.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many ports are tried: another process may take a free port before the server does.
const PORTS: u32 = 20;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A test's own `redis-server` from PATH, on a free port of 127.0.0.1. Dropping this value stops the server. It keeps
/// nothing on disk.
///
/// ```no_run
/// use cloakroom::testing::TestServer;
/// use cloakroom::{NewSession, RedisStore, SessionStore};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// let store = RedisStore::builder(server.url()).build().await?;
/// assert!(store.create(NewSession::new()).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestServer {
    url: String,
    child: Child,
    directory: PathBuf,
}

impl TestServer {
    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    /// The operating system's error if there is no `redis-server`; [`io::ErrorKind::TimedOut`] if it does not answer
    /// within 30 seconds.
    pub fn start() -> io::Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("cloakroom-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory)?;
        for _ in 0..PORTS {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let child = launch(port, &directory)?;
            // Dropping it stops the server.
            let mut server =
                Self { url: format!("redis://127.0.0.1:{port}/"), child, directory: directory.clone() };
            if server.answers(port)? {
                return Ok(server);
            }
            std::fs::create_dir_all(&directory)?;
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "redis-server finds no free port"))
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the server answers; false: it ended because another process has the port.
    fn answers(&mut self, port: u16) -> io::Result<bool> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            // The server of another process may have the port, and answer before this one has even started.
            if process_at(port).is_ok_and(|process| process == self.child.id()) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "redis-server does not answer"))
    }
}

fn launch(port: u16, directory: &Path) -> io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// The process of the server that answers at a port.
fn process_at(port: u16) -> io::Result<u32> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(b"INFO server\r\nQUIT\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let process = answer.lines().find_map(|line| line.strip_prefix("process_id:"));
    process.and_then(|process| process.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_at_the_port_and_is_anothers_is_not_taken() {
        let other = TestServer::start().unwrap();
        let port = other.url().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        let directory = std::env::temp_dir().join(format!("cloakroom-test-{}-taken", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let child = launch(port, &directory).unwrap();
        let mut late = TestServer { url: other.url().to_owned(), child, directory };
        assert!(!late.answers(port).unwrap());
    }
}
