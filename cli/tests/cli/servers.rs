//! Servers with options of their own: of a cluster, watched by a sentinel, over TLS.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::eventually;

/// A server that is stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _directory: TempDir,
}

impl Server {
    /// It listens at a port that the arguments are told.
    pub(crate) async fn start(arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        // Between finding a free port and the server's taking it, another process may be faster: then it exits.
        loop {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // The port of a cluster's bus is 10,000 above.
            if port > 55_000 {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let mut command = Command::new("redis-server");
            command.args(arguments(port, directory.path())).current_dir(directory.path());
            let log = directory.path().join("log");
            let child = command.stdout(File::create(&log).unwrap()).stderr(Stdio::null()).spawn().unwrap();
            let mut server = Self { child, port, _directory: directory };
            let mut is_over = false;
            eventually("redis-server does not listen", async || {
                is_over = server.child.try_wait().unwrap().is_some();
                is_over || says_that_it_listens(&log)
            })
            .await;
            if !is_over {
                return server;
            }
        }
    }

    pub(crate) async fn of_cluster() -> Self {
        let options = "--bind 127.0.0.1 --cluster-enabled yes --cluster-require-full-coverage no";
        Self::start(|port, _| words(&format!("--port {port} {options}"))).await
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `STOP`: it takes connections and answers nothing. `CONT`: it goes on.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Its process is gone, without a word.
    pub(crate) fn kill(&mut self) {
        // One that ended by itself is as gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asked of the server itself, for at its port another may answer. A sentinel says its id then.
fn says_that_it_listens(log: &Path) -> bool {
    let said = std::fs::read_to_string(log).unwrap();
    said.contains("Ready to accept connections") || said.contains("Sentinel ID is")
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Sends a command, and reads what comes first of the reply.
pub(crate) async fn send(address: &str, parts: &[&str]) -> String {
    let mut command = format!("*{}\r\n", parts.len());
    for part in parts {
        command += &format!("${}\r\n{part}\r\n", part.len());
    }
    let mut link = TcpStream::connect(address).await.unwrap();
    link.write_all(command.as_bytes()).await.unwrap();
    let mut reply = vec![0; 65536];
    let length = link.read(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply[..length]).into_owned()
}

/// A cluster of two masters, the first of which has the lower half of the slots.
pub(crate) async fn cluster() -> [Server; 2] {
    let nodes = [Server::of_cluster().await, Server::of_cluster().await];
    let [first, second] = [nodes[0].address(), nodes[1].address()];
    for (address, from, to, epoch) in [(&first, "0", "8191", "1"), (&second, "8192", "16383", "2")] {
        assert_eq!(send(address, &["CLUSTER", "ADDSLOTSRANGE", from, to]).await, "+OK\r\n");
        assert_eq!(send(address, &["CLUSTER", "SET-CONFIG-EPOCH", epoch]).await, "+OK\r\n");
    }
    let port = nodes[1].port.to_string();
    // A node gives up on another that takes too long to answer, so it is asked again.
    eventually("the nodes have met", async || {
        let known = send(&first, &["CLUSTER", "NODES"]).await;
        let nodes = known.lines().filter(|line| line.contains("master") && !line.contains("handshake"));
        let has_met = nodes.count() == 2;
        if !has_met {
            assert_eq!(send(&first, &["CLUSTER", "MEET", "127.0.0.1", &port]).await, "+OK\r\n");
        }
        has_met
    })
    .await;
    for address in [&first, &second] {
        eventually("the cluster is whole", async || {
            let info = send(address, &["CLUSTER", "INFO"]).await;
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        })
        .await;
    }
    nodes
}
