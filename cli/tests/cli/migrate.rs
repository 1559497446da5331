//! migrate: all sessions moved to another server, each in one of the two, whatever happens meanwhile.

use std::process::Stdio;

use cloakroom::migration::MigrationStore as _;
use cloakroom::{
    Error, IdScheme, NewSession, RedisStore, Refusal, Rules, Session, SessionStore as _, Status,
};
use serde_json::{Value, json};

use crate::world::{Ended, World, eventually};

/// Where sessions are, and a server to which they go.
struct Move {
    from: World,
    to: World,
    sessions: Vec<Session>,
}

impl Move {
    async fn of(sessions: usize, partitions: u16) -> Self {
        let (from, to) = (World::of_partitions(partitions).await, World::new().await);
        let mut made = Vec::new();
        for number in 0..sessions {
            made.push(from.session(&format!("user-{}", number % 7), &format!("n{}", number % 3)).await);
        }
        Self { from, to, sessions: made }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["migrate", "--to-url", self.to.server.url(), "--to-namespace", "moved", "--yes", "--json"], more]
            .concat()
    }

    fn run(&self, more: &[&str]) -> Ended {
        self.from.run(&self.arguments(more))
    }

    /// The store that they go to.
    async fn target(&self) -> RedisStore {
        let partitions = self.from.store.partition_count();
        let builder = RedisStore::builder(self.to.server.url()).namespace("moved").partitions(partitions);
        builder.build().await.unwrap()
    }

    /// How many are there so far.
    async fn arrived(&self) -> u64 {
        let builder = RedisStore::builder(self.to.server.url()).namespace("moved").existing();
        match builder.partitions(self.from.store.partition_count()).build().await {
            Ok(store) => store.stored().await.unwrap(),
            Err(_) => 0,
        }
    }

    /// Each session is there as it was, and here it is not.
    async fn is_done(&self) {
        let target = self.target().await;
        for session in &self.sessions {
            let here = self.from.store.get_fresh(session.id()).await;
            assert!(matches!(here, Ok(None) | Err(Error::Refused(Refusal::Departed { .. }))), "{here:?}");
            let there = target.get(session.id()).await.unwrap().unwrap();
            assert_eq!(there.status(), Status::Active);
            assert_eq!(there, *session);
        }
        let count = self.sessions.len() as u64;
        assert_eq!((self.from.store.stored().await.unwrap(), target.stored().await.unwrap()), (0, count));
        assert_eq!(target.migrations(0, 200).await.unwrap().migrations, []);
        assert_eq!(self.from.store.migrations(0, 200).await.unwrap().migrations, []);
    }
}

#[tokio::test]
async fn all_sessions_are_moved_into_a_namespace_that_is_made() {
    for partitions in [1, 16] {
        let moving = Move::of(50, partitions).await;
        let expected = json!({
            "moved": 50, "resumed": 0, "missing": 0, "foreign": 0, "refused": {}, "left": 0
        });
        assert_eq!(moving.run(&[]).told(), [expected]);
        moving.is_done().await;
        // There is nothing left to do.
        assert_eq!(moving.run(&[]).told()[0]["moved"], 0);
    }
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_changes_nothing() {
    let moving = Move::of(5, 4).await;
    let told = moving.run(&["--dry-run"]).told().remove(0);
    assert_eq!([&told["sessions"], &told["on_their_way"], &told["to_partitions"]], [5, 0, 4]);
    assert_eq!((&told["to_is_made"], &told["to_sessions"]), (&json!(true), &Value::Null));
    assert_eq!(moving.to.raw(&["KEYS", "{moved*"]).await, "*0\r\n");
    assert_eq!(moving.from.store.stored().await.unwrap(), 5);
    let arguments = ["migrate", "--dry-run", "--to-url", moving.to.server.url()];
    let text = moving.from.run(&arguments).done();
    assert!(text.contains("/shop: 5 sessions in 4 partitions\n"), "{text}");
    assert!(text.contains("/shop: 0 sessions in 1 partition\n"), "{text}");
}

/// However often it is killed, and wherever.
#[cfg(unix)]
#[tokio::test]
async fn a_run_that_is_killed_loses_no_session_and_the_next_one_moves_the_rest() {
    let moving = Move::of(400, 4).await;
    for _ in 0..4 {
        let before = moving.arrived().await;
        let mut command = moving.from.program(&moving.arguments(&["--rate", "1000"]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("it moves nothing", async || moving.arrived().await > before + 10).await;
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(moving.from.store.stored().await.unwrap() > 0, "it was killed in the middle");
    let told = moving.run(&[]).told().remove(0);
    assert_eq!((&told["refused"], &told["left"], &told["foreign"]), (&json!({}), &json!(0), &json!(0)));
    moving.is_done().await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_run_is_gone_on_with() {
    let moving = Move::of(40, 1).await;
    let mut command = moving.from.program(&moving.arguments(&["--rate", "20"]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it moves nothing", async || moving.arrived().await > 3).await;
    crate::world::interrupt(&child);
    let ended = Ended::of(child.wait_with_output().unwrap()).failed(130);
    assert!(ended.error.contains("to go on: the same command again"), "{}", ended.error);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    let moved = told["moved"].as_u64().unwrap();
    assert!(moved > 0 && moved < 40, "{told}");
    // None is on its way.
    assert_eq!(moving.arrived().await, moved);
    assert_eq!(moving.run(&[]).told()[0]["moved"], 40 - moved);
    moving.is_done().await;
}

#[tokio::test]
async fn what_the_other_place_refuses_stays_where_it_is() {
    let moving = Move::of(3, 1).await;
    let taken = moving.sessions[0].connection().unwrap();
    moving.target().await.create(NewSession::new().connection(taken)).await.unwrap();
    let ended = moving.run(&[]).failed(5);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&told["moved"], &told["refused"]), (&json!(2), &json!({"taken": 1})));
    let stays = moving.from.store.get(moving.sessions[0].id()).await.unwrap().unwrap();
    assert_eq!(stays, moving.sessions[0]);
}

#[tokio::test]
async fn sessions_whose_ids_do_not_fit_their_users_there_stay_and_a_dry_run_says_so() {
    let moving = Move::of(40, 1).await;
    let builder = RedisStore::builder(moving.to.server.url()).namespace("moved").partitions(16);
    let target = builder.build().await.unwrap();
    let arguments = ["migrate", "--dry-run", "--to-url", moving.to.server.url(), "--to-namespace", "moved"];
    let text = moving.from.run(&arguments).done();
    assert!(text.contains("sessions are refused if their ids do not fit their users there"), "{text}");
    let ended = moving.run(&[]).failed(5);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    let refused = told["refused"]["invalid"].as_u64().unwrap();
    assert!(refused > 0 && told["refused"].as_object().unwrap().len() == 1, "{told}");
    let here = moving.from.store.stored().await.unwrap();
    assert_eq!((here, here + target.stored().await.unwrap()), (refused, 40));
    for session in &moving.sessions {
        // What stays is as it was.
        if let Ok(Some(here)) = moving.from.store.get_fresh(session.id()).await {
            assert_eq!(here, *session);
        }
    }
}

#[tokio::test]
async fn nothing_is_moved_to_a_server_that_is_away_or_to_where_it_is() {
    let moving = Move::of(3, 1).await;
    let away = ["migrate", "--to-url", "redis://127.0.0.1:1/", "--yes", "--timeout", "300ms"];
    let refused = moving.from.run(&away).failed(1);
    assert!(refused.error.starts_with("cloakroom: target: not executed"), "{}", refused.error);
    let here = ["migrate", "--to-url", moving.from.server.url(), "--yes"];
    let refused = moving.from.run(&here).failed(2);
    assert!(refused.error.contains("the same for both stores"), "{}", refused.error);
    let unasked = ["migrate", "--to-url", moving.to.server.url()];
    moving.from.run(&unasked).failed(4);
    assert_eq!(moving.from.store.stored().await.unwrap(), 3);
}

#[tokio::test]
async fn a_namespace_that_is_made_is_like_the_one_that_they_come_from() {
    let rules = Rules::new().id_scheme(IdScheme::Token).events(100);
    let (from, to) = (World::with(16, rules.clone()).await, World::new().await);
    let created = from.store.create(NewSession::new().user("ann")).await.unwrap();
    let arguments = ["migrate", "--to-url", to.server.url(), "--to-namespace", "moved", "--yes"];
    assert_eq!(from.run(&arguments).done(), "1 session moved\n");
    let builder = RedisStore::builder(to.server.url()).namespace("moved").partitions(16).rules(rules);
    let store = builder.build().await.unwrap();
    assert!(store.get(created.token.unwrap().id()).await.unwrap().is_some());
}
