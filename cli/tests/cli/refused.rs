//! What the program is not asked rightly, and servers that say no.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Ended, World};

impl World {
    /// Sends a command past the store.
    pub(crate) async fn raw(&self, parts: &[&str]) -> String {
        let address = self.server.url().trim_start_matches("redis://").trim_end_matches('/');
        send(address, parts).await
    }
}

/// Sends a command, and reads what comes first of the reply.
async fn send(address: &str, parts: &[&str]) -> String {
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

#[tokio::test]
async fn a_namespace_that_is_not_there_is_refused_and_none_is_made() {
    let world = World::new().await;
    for arguments in [&["stats"][..], &["users"], &["list", "ann"], &["kick", "--all", "--yes"]] {
        let refused = world.program_for("shpo", &[&["--json"], arguments].concat()).output().unwrap();
        let refused = Ended::of(refused).failed(1);
        let error: Value = serde_json::from_str(&refused.error).unwrap();
        assert_eq!(error["error"], "no_namespace", "{arguments:?}");
    }
    assert_eq!(world.raw(&["KEYS", "{shpo*"]).await, "*0\r\n");
}

#[tokio::test]
async fn a_server_that_is_not_there_and_a_password_that_is_wrong_are_told_without_the_password() {
    let world = World::new().await;
    world.raw(&["CONFIG", "SET", "requirepass", "right"]).await;
    let wrong = world.server.url().replace("redis://", "redis://:hush-hush@");
    for (url, word) in [("redis://:hush-hush@127.0.0.1:1/", "not_executed"), (&wrong, "not_executed")] {
        let mut command = world.program(&["stats", "--json"]);
        let refused = Ended::of(command.env("CLOAKROOM_URL", url).output().unwrap()).failed(1);
        let error: Value = serde_json::from_str(&refused.error).unwrap();
        assert_eq!(error["error"], word);
        assert!(!refused.error.contains("hush"), "{}", refused.error);
    }
}

#[tokio::test]
async fn wrong_arguments_are_refused_before_anything_is_asked() {
    let world = World::new().await;
    for arguments in [
        &[][..],
        &["list"],
        &["list", "ann", "--node", "n"],
        &["kick"],
        &["kick", "a", "--all"],
        &["kick", "--user", "ann", "--before", "2026-01-01T00:00:00Z"],
        &["kick", "--all", "--before", "yesterday"],
        &["kick", "--all", "--rate", "0"],
        &["frobnicate"],
        &["show", ""],
        &["stats", "--url", "http://here/"],
        &["kick", "--all", "--yes", "--from", "nonsense"],
    ] {
        let refused = world.run(arguments).failed(2);
        assert!(!refused.error.is_empty(), "{arguments:?}");
    }
    assert!(world.run(&["--help"]).done().contains("Exit codes"));
    assert!(world.run(&["--version"]).done().starts_with("cloakroom "));
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_error() {
    let world = World::new().await;
    for _ in 0..100 {
        world.session("ann", "n").await;
    }
    let mut command = world.program(&["list", "ann"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.error.as_str()), (0, ""));
}

#[tokio::test]
async fn a_cluster_is_reached_by_its_url() {
    let directory = tempfile::tempdir().unwrap();
    // Between finding a free port and the server's taking it, another process may be faster: then it exits.
    let (mut node, address) = loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // That of the bus is 10,000 above.
        if port > 55_000 {
            continue;
        }
        let (port, address) = (port.to_string(), format!("127.0.0.1:{port}"));
        let mut command = tokio::process::Command::new("redis-server");
        command.args(["--port", &port, "--cluster-enabled", "yes", "--save", ""]);
        command.current_dir(directory.path()).stdout(Stdio::null()).kill_on_drop(true);
        let mut node = command.spawn().unwrap();
        while node.try_wait().unwrap().is_none() && TcpStream::connect(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
        if node.try_wait().unwrap().is_none() {
            break (node, address);
        }
    };
    let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
    let assign: Vec<&str> =
        ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
    assert_eq!(send(&address, &assign).await, "+OK\r\n");
    while !send(&address, &["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
        tokio::task::yield_now().await;
    }
    let url = format!("redis+cluster://{address}");
    let store = cloakroom::RedisStore::builder(&url).namespace("shop").partitions(16).build().await.unwrap();
    let world = World::new().await;
    for user in ["ann", "bob", "cid"] {
        let new = cloakroom::NewSession::new().user(user);
        cloakroom::SessionStore::create(&store, new).await.unwrap();
    }
    let run =
        |arguments: &[&str]| Ended::of(world.program(arguments).env("CLOAKROOM_URL", &url).output().unwrap());
    assert_eq!(run(&["stats", "--json"]).told()[0]["sessions"], 3);
    assert_eq!(run(&["users", "--json"]).told().len(), 3);
    assert_eq!(run(&["list", "ann", "--json"]).told().len(), 1);
    assert_eq!(run(&["kick", "--all", "--yes"]).done(), "3 sessions ended\n");
    node.kill().await.unwrap();
}
