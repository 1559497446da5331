//! A process that moves sessions and kills itself: this test binary, started again.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::RedisStore;
use cloakroom::migration::{Destination, MigrationManager, MigrationTask, Outcome, Report, TaskId};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::name;
use crate::migration::World;
use crate::support::context::Store;
use crate::support::hooked::{Death, Hooked};

/// Where the process finds what it is to do.
const ORDERS: &str = "CLOAKROOM_TEST_MOVES";
/// SIGKILL.
const KILLED: i32 = 9;

/// What the process is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    /// URL and namespace.
    stores: [(String, String); 2],
    to_remote: bool,
    round: u8,
    numbers: Vec<usize>,
    /// At which call to die, and how.
    death: (u64, u8),
    freeze_ms: u64,
    /// Where each end is written down.
    log: std::path::PathBuf,
}

/// The same for the same session, whoever submits it.
pub(super) fn task(round: u8, number: usize, destination: Destination) -> MigrationTask {
    let mut id = (number as u64 + 1).to_be_bytes();
    id[0] = round + 1;
    MigrationTask::new(name(number), destination).id(TaskId::new(id).unwrap())
}

/// Of which session's task of a round a report tells that it has moved, or is not there to be moved.
pub(super) fn number(round: u8, report: &Report) -> Option<usize> {
    let [of, rest @ ..] = report.task.as_bytes();
    let is_over = matches!(report.outcome, Ok(Outcome::Arrived | Outcome::Missing));
    let number = rest.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    (*of == round + 1 && is_over).then(|| number - 1)
}

/// The process.
pub(super) struct Child {
    process: tokio::process::Child,
    directory: tempfile::TempDir,
}

impl Child {
    pub(super) async fn spawn(world: &World, destination: Destination, round: u8, numbers: &[usize]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores = [&world.from, &world.to].map(|it| (it.server().url().to_owned(), it.namespace.clone()));
        let orders = Orders {
            stores,
            to_remote: destination == Destination::Remote,
            round,
            numbers: numbers.to_vec(),
            // Five calls a session, and those that look for what is to be resumed.
            death: (fastrand::u64(1..=numbers.len() as u64 * 5 + 4), fastrand::u8(0..3)),
            freeze_ms: fastrand::u64(20..2000),
            log: directory.path().join("log"),
        };
        let path = directory.path().join("orders");
        std::fs::write(&path, serde_json::to_vec(&orders).unwrap()).unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "migration::crash::child::moves_sessions_until_it_dies"])
            .env(ORDERS, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { process, directory }
    }

    /// Waits until it is gone: whether it was killed, and the numbers of the sessions that it told the end of.
    pub(super) async fn end(mut self) -> (bool, Vec<usize>) {
        let status = self.process.wait().await.unwrap();
        let killed = status.signal() == Some(KILLED);
        assert!(killed || status.success(), "it failed: {status:?}");
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        (killed, log.lines().map(|line| line.parse().unwrap()).collect())
    }
}

async fn store((url, namespace): &(String, String)) -> Store {
    let builder = RedisStore::builder(url).namespace(namespace).deadline(Duration::from_secs(20));
    Arc::new(builder.connect_timeout(Duration::from_secs(10)).build().await.unwrap())
}

/// Writes down the end of a migration, so that it outlasts this process.
fn note(log: &Mutex<File>, round: u8, report: &Report) {
    if let Some(number) = number(round, report) {
        log.lock().unwrap().write_all(format!("{number}\n").as_bytes()).unwrap();
    }
}

/// One thread, so that everything stands still while it dies.
#[tokio::test(flavor = "current_thread")]
#[ignore = "the process that crash tests begin and kill"]
async fn moves_sessions_until_it_dies() {
    let path = std::env::var(ORDERS).unwrap();
    let orders: Orders = serde_json::from_slice(&std::fs::read(Path::new(&path)).unwrap()).unwrap();
    let log = OpenOptions::new().create(true).append(true).open(&orders.log).unwrap();
    let log = Mutex::new(log);
    let local = Hooked::new(store(&orders.stores[0]).await);
    let remote = local.beside(store(&orders.stores[1]).await);
    let (calls, moment) = orders.death;
    local.die_at(calls, [Death::Before, Death::During, Death::After][usize::from(moment)]);
    let manager = MigrationManager::builder(Arc::new(local), Arc::new(remote))
        .freeze(Duration::from_millis(orders.freeze_ms))
        .on_report(move |report| note(&log, orders.round, report))
        .build()
        .unwrap();
    manager.resume().await.unwrap();
    let destination = if orders.to_remote { Destination::Remote } else { Destination::Local };
    for number in orders.numbers {
        // Awaited by the callback, which outlasts this process.
        drop(manager.submit(task(orders.round, number, destination.clone())).await.unwrap());
    }
    manager.close().await;
}
