//! kick: by id, user, node, and all; asked before, at a bounded rate, and gone on with.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use cloakroom::migration::MigrationStore as _;
use cloakroom::{NewSession, SessionStore as _};
use serde_json::{Value, json};

use crate::world::{Ended, World, eventually, interrupt};

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
        assert_eq!(refused.error, "cloakroom: there is no terminal to ask on: use --yes\n");
    }
    assert_eq!(stored(&world).await, 1);
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

/// Begins to end 30 sessions slowly, and is interrupted. How many are left, and what it says then.
#[cfg(unix)]
async fn interrupted(world: &World, which: &[&str]) -> (u64, String) {
    for _ in 0..30 {
        world.store.create(NewSession::new().user("ann")).await.unwrap();
    }
    let mut command = world.program(&[&["kick", "--yes", "--json", "--rate", "5"], which].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it does nothing", async || stored(world).await <= 26).await;
    interrupt(&child);
    let ended = Ended::of(child.wait_with_output().unwrap()).failed(130);
    let done: Value = serde_json::from_str(&ended.out).unwrap();
    let left = stored(world).await;
    assert_eq!(done["ended"].as_u64().unwrap() + left, 30);
    assert!(left > 0);
    let error: Value = serde_json::from_str(&ended.error).unwrap();
    assert_eq!(error["error"], "interrupted");
    (left, error["message"].as_str().unwrap().to_owned())
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_run_tells_how_to_go_on_and_the_next_one_does() {
    let world = World::new().await;
    let (left, message) = interrupted(&world, &["--all"]).await;
    let (_, from) = message.split_once(" --from ").unwrap();
    let text = world.run(&["kick", "--all", "--yes", "--from", from]).done();
    assert_eq!(text, format!("{left} sessions ended\n"));
    assert_eq!(stored(&world).await, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_user_with_many_sessions_is_ended_at_the_rate() {
    let world = World::new().await;
    let (left, message) = interrupted(&world, &["--user", "ann"]).await;
    assert_eq!(message, "interrupted; to go on: the same command again");
    let text = world.run(&["kick", "--user", "ann", "--yes", "--rate", "20"]).done();
    assert_eq!(text, format!("{left} sessions ended\n"));
}

#[tokio::test]
async fn what_list_shows_can_be_kicked_and_shown_by() {
    for partitions in [1, 16] {
        let world = World::of_partitions(partitions).await;
        for (whose, name) in [("--user", "ann"), ("--node", "n1")] {
            for prefix in ["", "#"] {
                let session = world.session("ann", "n1").await;
                let stays = world.session("ann", "n1").await;
                let line = world.run(&["list", "ann", "--limit", "1"]).done();
                assert_eq!(line.lines().count(), 2);
                let shown = format!("{prefix}{}", session.id().short_hash());
                let told = world.run(&["show", whose, name, &shown, "--json"]).told();
                assert_eq!(told[0]["hash"], session.id().short_hash());
                let kicked = world.run(&["kick", whose, name, &shown, "--yes"]).done();
                assert_eq!(kicked, "1 session ended\n");
                assert_eq!(world.store.get(session.id()).await.unwrap(), None);
                assert!(world.store.get(stays.id()).await.unwrap().is_some());
                // An id is one too.
                world.run(&["kick", whose, name, stays.id().as_str(), "--yes"]).done();
                for command in [&["kick", "--yes"][..], &["show"]] {
                    let gone = world.run(&[command, &[whose, name, &shown]].concat()).failed(3);
                    assert_eq!(gone.error, "cloakroom: there is no such session among them\n");
                }
            }
        }
        let session = world.session("ann", "n1").await;
        let alone = world.run(&["kick", &session.id().short_hash(), "--yes"]).failed(3);
        assert!(alone.error.contains("add --user or --node"), "{}", alone.error);
        assert_eq!(stored(&world).await, 1);
    }
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
