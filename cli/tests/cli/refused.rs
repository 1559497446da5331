//! What the program is not asked rightly, and servers that say no.

use std::process::Stdio;

use serde_json::Value;

use crate::servers::send;
use crate::world::{Ended, World};

impl World {
    /// Sends a command past the store.
    pub(crate) async fn raw(&self, parts: &[&str]) -> String {
        let address = self.server.url().trim_start_matches("redis://").trim_end_matches('/');
        send(address, parts).await
    }
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
        let mut command = world.program(&["stats", "--json", "--timeout", "300ms"]);
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
        &["kick", "--user", "ann", "--node", "n"],
        &["kick", "--user", "ann", "--all"],
        &["show", "a", "--user", "ann", "--node", "n"],
        &["watch", "--from", "nonsense"],
        &["migrate"],
        &["migrate", "--to-url", "http://here/"],
        &["migrate", "--to-url", "redis://here/", "--names", "one"],
        &["stats", "--timeout", "soon"],
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
