//! Processes that are killed while they move sessions, by SIGKILL at a random call, and others that go on.
//!
//! `CLOAKROOM_TEST_CRASHES` sets how many die (12 if not), with ten sessions each.

mod child;
pub(super) mod user;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::migration::{Destination, MigrationManager, Report};
use cloakroom::{NewSession, Rules, SessionId};
use tokio::task::JoinHandle;

use self::child::Child;
use self::user::{Fate, User};
use super::World;
use crate::support::Context;
use crate::support::context::Store;
use crate::support::expect::session_id;

/// How many at once a process is told to move.
const BATCH: usize = 24;

fn crashes() -> usize {
    std::env::var("CLOAKROOM_TEST_CRASHES").map_or(12, |text| text.parse().unwrap())
}

pub(super) fn name(number: usize) -> SessionId {
    session_id(&format!("session-{number}"))
}

/// Two servers, and the sessions of which some have still to be moved.
struct Moving {
    world: World,
    destination: Destination,
    round: u8,
    left: BTreeSet<usize>,
}

impl Moving {
    /// Which store they come from now.
    fn source(&self) -> &Store {
        match self.destination {
            Destination::Remote => &self.world.local,
            _ => &self.world.remote,
        }
    }

    fn target(&self) -> &Store {
        match self.destination {
            Destination::Remote => &self.world.remote,
            _ => &self.world.local,
        }
    }

    /// The next batch, moved by a process that may die. Returns whether it did.
    async fn batch(&mut self) -> bool {
        let numbers: Vec<usize> = self.left.iter().copied().take(BATCH).collect();
        let child = Child::spawn(&self.world, self.destination.clone(), self.round, &numbers).await;
        let (killed, told) = child.end().await;
        for number in told {
            self.left.remove(&number);
        }
        killed
    }
}

async fn world(sessions: usize) -> World {
    let (from, to) = (Context::own(&[]).await, Context::own(&[]).await);
    let (local, remote) = (from.store(Rules::new()).await, to.store(Rules::new()).await);
    let world = World { from, to, local, remote };
    crate::support::sessions::create_many(&world.local, sessions, |number| {
        NewSession::new()
            .id(name(number))
            .user(format!("user-{}", number % 50))
            .connection(format!("connection-{number}"))
            .node(format!("node-{}", number % 5))
    })
    .await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_neither_lost_nor_doubled_by_processes_that_are_killed_while_they_move_them() {
    let (crashes, sessions) = (crashes(), crashes() * 10);
    let world = world(sessions).await;
    let stop = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..sessions)
        .map(|number| {
            let (local, remote) = (world.local.clone(), world.remote.clone());
            tokio::spawn(User::new(name(number)).one_of(number, sessions).uses(local, remote, stop.clone()))
        })
        .collect();

    let left = (0..sessions).collect();
    let mut moving = Moving { world, destination: Destination::Remote, round: 0, left };
    let (mut killed, mut rounds) = (0, 0);
    // Whoever has deleted a session is at an end.
    while killed < crashes || !users.iter().any(JoinHandle::is_finished) {
        killed += usize::from(moving.batch().await);
        if moving.left.is_empty() {
            rounds += 1;
            moving.round += 1;
            moving.destination = match moving.destination {
                Destination::Remote => Destination::Local,
                _ => Destination::Remote,
            };
            moving.left = (0..sessions).collect();
        }
    }
    // What is left is moved by one that lives, who first brings to an end what the dead left.
    let (local, remote) = (moving.world.local.clone(), moving.world.remote.clone());
    let told = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let told = told.clone();
        move |report: &Report| told.lock().unwrap().extend(child::number(moving.round, report))
    };
    let manager = MigrationManager::builder(local, remote).on_report(note).build().unwrap();
    while manager.resume().await.unwrap().failed() > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for number in told.lock().unwrap().iter() {
        moving.left.remove(number);
    }
    let source = moving.source().clone();
    // A crash may have taken a callback with it only where nothing had moved yet.
    for number in &moving.left {
        let target = moving.target().get(&name(*number)).await;
        assert!(!matches!(target, Ok(Some(_))), "session {number} moved, and nobody was told");
    }
    for number in moving.left.clone() {
        let task = child::task(moving.round, number, moving.destination.clone());
        let report = manager.submit(task).await.unwrap().await.unwrap();
        report.outcome.unwrap_or_else(|error| panic!("session {number}: {error}"));
        assert!(!matches!(source.get(&name(number)).await, Ok(Some(_))), "session {number} did not move");
    }
    manager.close().await;

    stop.store(true, Ordering::SeqCst);
    let (mut deleted, mut changes) = (0, 0);
    for user in users {
        let user = user.await.unwrap();
        deleted += usize::from(user.fate == Fate::Deleted);
        changes += user.changes;
        user.check(&moving.world.local, &moving.world.remote).await;
    }
    println!(
        "{killed} killed, {sessions} sessions moved {rounds} times and once more, {changes} changes, {deleted} deleted"
    );
    assert!(deleted > 0 && changes > sessions as u64, "{deleted} deleted, {changes} changes");
    moving.world.is_settled().await;
}
