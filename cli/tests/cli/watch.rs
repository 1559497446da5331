//! watch: what becomes of sessions, for a program that reads it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use cloakroom::{NewSession, Rotation, Rules, SessionStore as _};
use serde_json::Value;

use crate::world::{Ended, World, interrupt, is_discreet};

/// The program at work.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn begin(world: &World, arguments: &[&str]) -> Self {
        let mut command = world.program(&[&["watch"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line, however long it takes.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it has ended: {:?}", self.child.wait());
        line
    }

    fn told(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// What happened and why of the next, in words.
    fn words(&mut self) -> [String; 2] {
        let told = self.told();
        ["what", "why"].map(|name| told[name].as_str().unwrap_or_default().to_owned())
    }

    /// Ends it, and answers from where to go on.
    fn interrupt(self) -> String {
        interrupt(&self.child);
        let ended = Ended::of(self.child.wait_with_output().unwrap()).failed(130);
        let (_, from) = ended.error.split_once("the same command with --from ").unwrap();
        from.trim_end_matches(['\n', '"', '}']).to_owned()
    }
}

async fn world(partitions: u16) -> World {
    World::with(partitions, Rules::new().events(1000)).await
}

#[tokio::test]
async fn what_happens_is_told_without_secrets_and_gone_on_with_where_it_was_interrupted() {
    for partitions in [1, 16] {
        let world = world(partitions).await;
        let mut watching = Watching::begin(&world, &[]);
        // Who reads it from here on misses nothing.
        let heading = watching.line();
        assert!(heading.starts_with("AT ") && !heading.contains("CONNECTION"), "{heading}");
        let session = world.session("ann", "n1").await;
        let line = watching.line();
        assert!(line.contains("created") && line.contains(&session.id().short_hash()), "{line}");
        assert!(line.trim_end().ends_with("n1            ann") && is_discreet(&line, &session), "{line}");
        let from = watching.interrupt();
        world.store.delete(&session).await.unwrap();
        let mut watching = Watching::begin(&world, &["--json", "--from", &from]);
        let line = watching.line();
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!([&told["what"], &told["why"], &told["user"]], ["ended", "deleted", "ann"]);
        assert_eq!(told["hash"], session.id().short_hash());
        assert!(told["at"].as_str().unwrap().starts_with("20") && is_discreet(&line, &session), "{line}");
        assert_eq!(watching.interrupt(), told["position"].as_str().unwrap());
        let mut watching = Watching::begin(&world, &["--json", "--from", "beginning", "--reveal"]);
        let told = watching.told();
        assert_eq!([&told["what"], &told["id"]], ["created", session.id().as_str()]);
        assert_eq!(told["connection"], session.connection().unwrap());
        watching.interrupt();
    }
}

#[tokio::test]
async fn the_events_of_one_user_or_one_node_are_told_alone() {
    let world = world(4).await;
    for (user, node) in [("ann", "n1"), ("bob", "n1"), ("bob", "n2"), ("ann", "n2")] {
        world.session(user, node).await;
    }
    let whose = [("--user", "user", "ann", "node"), ("--node", "node", "n2", "user")];
    for (option, field, name, other) in whose {
        let mut watching = Watching::begin(&world, &["--json", "--from", "beginning", option, name]);
        let mut others = Vec::new();
        for _ in 0..2 {
            let told = watching.told();
            assert_eq!(told[field], name);
            others.push(told[other].as_str().unwrap().to_owned());
        }
        others.sort();
        assert_eq!(others, if option == "--user" { ["n1", "n2"] } else { ["ann", "bob"] });
        watching.interrupt();
    }
    let mut watching =
        Watching::begin(&world, &["--json", "--from", "beginning", "--user", "bob", "--node", "n1"]);
    assert_eq!(watching.told()["user"], "bob");
    watching.interrupt();
}

#[tokio::test]
async fn a_login_tells_the_new_id_and_not_as_a_secret() {
    let world = world(1).await;
    let session = world.store.create(NewSession::new()).await.unwrap().session;
    let rotated = world.store.rotate(&session, Rotation::new().user("ann")).await.unwrap();
    let mut watching = Watching::begin(&world, &["--json", "--from", "beginning"]);
    assert_eq!(watching.words(), ["created", ""]);
    let line = watching.line();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!([&told["what"], &told["why"], &told["user"]], ["rotated", "login", "ann"]);
    assert_eq!(told["new_hash"], rotated.session.id().short_hash());
    assert!(!line.contains(rotated.session.id().as_str()) && !line.contains(session.id().as_str()), "{line}");
    watching.interrupt();
}

#[tokio::test]
async fn events_that_were_missed_are_told_as_that() {
    let world = world(1).await;
    world.session("ann", "n1").await;
    let mut watching = Watching::begin(&world, &["--json", "--from", "beginning"]);
    assert_eq!(watching.told()["what"], "created");
    let from = watching.interrupt();
    world.session("bob", "n1").await;
    world.raw(&["XTRIM", "{shop:0}:events", "MAXLEN", "0"]).await;
    world.session("cid", "n1").await;
    let mut watching = Watching::begin(&world, &["--json", "--from", &from]);
    let lagged = watching.told();
    assert_eq!((&lagged["what"], &lagged["partition"]), (&"lagged".into(), &0.into()));
    assert_eq!(watching.told()["user"], "cid");
    watching.interrupt();
    let mut watching = Watching::begin(&world, &["--from", &from]);
    assert!(watching.line().starts_with("AT "));
    assert_eq!(watching.line(), "some events of partition 0 were missed\n");
    watching.interrupt();
}

#[tokio::test]
async fn a_namespace_without_events_is_told_so_and_what_to_do() {
    let world = World::new().await;
    let refused = world.run(&["watch"]).failed(3);
    assert!(
        refused.error.contains("has no events") && refused.error.contains("docs/events.md"),
        "{refused:?}"
    );
}
