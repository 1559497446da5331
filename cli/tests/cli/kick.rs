//! kick: by id, user, node, and all; asked before, at a bounded rate, and gone on with.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use cloakroom::migration::MigrationStore as _;
use cloakroom::{NewSession, SessionStore as _};
use serde_json::{Value, json};

use crate::world::{Ended, World, is_discreet};

async fn stored(world: &World) -> u64 {
    world.store.stored().await.unwrap()
}

#[tokio::test]
async fn nothing_is_ended_where_nobody_can_be_asked() {
    let world = World::new().await;
    let session = world.session("ann", "n1").await;
    for which in [&[session.id().as_str()][..], &["--user", "ann"], &["--node", "n1"], &["--all"]] {
        let arguments = [&["kick"], which].concat();
        let refused = world.run(&arguments).failed(4);
        assert_eq!(refused.error, "cloakroom: there is no terminal to ask on: say --yes\n");
    }
    assert_eq!(stored(&world).await, 1);
}

/// `script` of util-linux gives it a terminal.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_terminal_it_asks_and_does_what_is_answered() {
    let world = World::new().await;
    let session = world.session("ann", "n1").await;
    for (answer, code, left) in [("n", 4, 1), ("", 4, 1), ("y", 0, 0)] {
        let line = format!("{} kick --user ann", env!("CARGO_BIN_EXE_cloakroom"));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env("CLOAKROOM_URL", world.server.url()).env("CLOAKROOM_NAMESPACE", "shop");
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{answer}").unwrap();
        let ended = Ended::of(child.wait_with_output().unwrap()).failed(code);
        assert!(ended.out.contains("End 1 session of the user ann? [y/N]"), "{}", ended.out);
        assert!(is_discreet(&ended.out, &session), "{}", ended.out);
        assert_eq!(stored(&world).await, left);
    }
}

#[tokio::test]
async fn a_session_a_user_a_node_and_all_are_ended() {
    for partitions in [1, 16] {
        let world = World::of_partitions(partitions).await;
        let one = world.session("ann", "n1").await;
        for (user, node) in [("ann", "n1"), ("ann", "n2"), ("bob", "n2"), ("cid", "n2"), ("dan", "n3")] {
            world.session(user, node).await;
        }
        let ended = |count: u64| json!({"ended": count, "stayed": 0, "refused": 0});
        let id = one.id().as_str();
        assert_eq!(world.run_with(id, &["kick", "-", "--yes", "--json"]).told(), [ended(1)]);
        assert_eq!(world.store.get(one.id()).await.unwrap(), None);
        assert_eq!(world.run(&["kick", "--user", "ann", "--yes", "--json"]).told(), [ended(2)]);
        assert_eq!(world.run(&["kick", "--node", "n2", "--yes", "--json"]).told(), [ended(2)]);
        world.session("eve", "n4").await;
        assert_eq!(world.run(&["kick", "--all", "--yes"]).done(), "2 sessions ended\n");
        assert_eq!(stored(&world).await, 0);
        for which in [&[id][..], &["--user", "ann"], &["--node", "n2"]] {
            world.run(&[&["kick", "--yes"], which].concat()).failed(3);
        }
        assert_eq!(world.run(&["kick", "--all", "--yes", "--json"]).told(), [ended(0)]);
    }
}

#[tokio::test]
async fn of_all_those_are_ended_that_were_made_before_a_time() {
    let world = World::of_partitions(4).await;
    for at in 0..30 {
        world.session(&format!("old-{at}"), "n").await;
    }
    let between = SystemTime::now() + Duration::from_millis(50);
    let before = humantime::format_rfc3339_millis(between).to_string();
    while SystemTime::now() < between {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let young = world.session("young", "n").await;
    let text = world.run(&["kick", "--all", "--yes", "--before", &before]).done();
    assert_eq!(text, "30 sessions ended, 1 stayed\n");
    assert!(world.store.get(young.id()).await.unwrap().is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_run_tells_how_to_go_on_and_the_next_one_does() {
    let world = World::new().await;
    for _ in 0..30 {
        world.store.create(NewSession::new()).await.unwrap();
    }
    let mut command = world.program(&["kick", "--all", "--yes", "--json", "--rate", "5"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    // It has begun.
    while stored(&world).await > 26 {
        assert!(Instant::now() < until, "it does nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ended = Ended::of(child.wait_with_output().unwrap()).failed(130);
    let done: Value = serde_json::from_str(&ended.out).unwrap();
    let left = stored(&world).await;
    assert_eq!(done["ended"].as_u64().unwrap() + left, 30);
    assert!(left > 0);
    let error: Value = serde_json::from_str(&ended.error).unwrap();
    assert_eq!(error["error"], "interrupted");
    let (_, from) = error["message"].as_str().unwrap().split_once(" --from ").unwrap();
    let text = world.run(&["kick", "--all", "--yes", "--from", from]).done();
    assert_eq!(text, format!("{left} sessions ended\n"));
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn what_is_corrupt_is_told_and_keeps_no_other_from_being_ended() {
    let world = World::new().await;
    let broken = world.session("ann", "n1").await;
    world.session("bob", "n1").await;
    world.raw(&["SET", &format!("{{shop:0}}:session:{}", broken.id().as_str()), "x", "KEEPTTL"]).await;
    let ended = world.run(&["kick", "--all", "--yes", "--json"]).failed(5);
    assert_eq!(ended.out, "{\"ended\":1,\"refused\":1,\"stayed\":0}\n");
}
