//! migrate: moves all sessions to another server or namespace. At any moment each session is in exactly one
//! of the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloakroom::migration::{
    Destination, MigrationManager, MigrationStore as _, MigrationTask, Outcome, Report, Resumed, Submitted,
};
use cloakroom::operating::Position;
use cloakroom::{Error, IdScheme, Readiness, RedisStore, Result as StoreResult, SessionStore as _};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::task::JoinSet;

use crate::arguments::MigrateArguments;
use crate::ask;
use crate::connection::{Place, find, find_or_make, open};
use crate::counted::counted;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::pace::Pace;
use crate::progress::{Unit, bar};

/// How many sessions are submitted together at most.
const PAGE: usize = 200;

/// How many sessions are on their way at once.
const WORKERS: usize = 32;

pub(crate) async fn run(
    place: &Place<'_>,
    arguments: &MigrateArguments,
    output: &Output,
) -> Result<(), Failure> {
    let target = arguments.place(place);
    let from = open(place).await.map_err(|failure| failure.at(SOURCE))?;
    let to = find(&target).await.map_err(|failure| failure.at(TARGET))?;
    is_ready(&from).await.map_err(|failure| failure.at(SOURCE))?;
    if let Some(to) = &to {
        is_ready(to).await.map_err(|failure| failure.at(TARGET))?;
    }
    let names = arguments.names.clone().unwrap_or_else(|| vec![place.name(), target.name()]);
    let [here, there] = <[String; 2]>::try_from(names).unwrap_or_default();
    let sessions = from.stored().await?;
    if arguments.dry_run {
        return plan(&from, to.as_ref(), [&here, &there], sessions, arguments, output).await;
    }
    if !arguments.yes {
        let sessions = counted(sessions, "session", "sessions");
        ask::confirm(&format!("Move {sessions} from {here} to {there}?"))?;
    }
    let (partitions, rules) = (partitions(&from, arguments), from.rules().clone());
    let made = find_or_make(&target, partitions, rules).await;
    let to = Arc::new(made.map_err(|failure| failure.at(TARGET))?);
    let manager = MigrationManager::builder(Arc::new(from.clone()), to);
    let manager = manager.places(here, there).workers(WORKERS).build()?;
    let mut moved = Moved::default();
    let ended = moved.all(&from, manager, arguments, sessions).await;
    moved.tell(from.stored().await.ok(), output)?;
    ended?;
    let refused: u64 = moved.refused.values().sum();
    if refused > 0 { Err(Failure::Partly(refused)) } else { Ok(()) }
}

const SOURCE: &str = "source";
const TARGET: &str = "target";

/// All servers must be ready, so that no session waits for a server that is away.
async fn is_ready(store: &RedisStore) -> Result<(), Failure> {
    let health = store.health().await;
    match health.error {
        Some(error) if health.readiness != Readiness::Ready => Err(error.into()),
        _ => Ok(()),
    }
}

/// The number of partitions of a namespace that is created.
fn partitions(from: &RedisStore, arguments: &MigrateArguments) -> u16 {
    arguments.partitions.unwrap_or_else(|| from.partition_count())
}

/// Prints the plan.
async fn plan(
    from: &RedisStore,
    to: Option<&RedisStore>,
    [here, there]: [&str; 2],
    sessions: u64,
    arguments: &MigrateArguments,
    output: &Output,
) -> Result<(), Failure> {
    let on_their_way = on_their_way(from).await?;
    let stored = match to {
        Some(to) => Some(to.stored().await?),
        None => None,
    };
    let [of_source, of_target] =
        [from.partition_count(), to.map_or_else(|| partitions(from, arguments), RedisStore::partition_count)];
    let told = json!({
        "from": here,
        "to": there,
        "sessions": sessions,
        "on_their_way": on_their_way,
        "partitions": of_source,
        "to_sessions": stored,
        "to_partitions": of_target,
        "to_is_made": to.is_none(),
    });
    let mut text = format!(
        "from        {here}: {} in {}",
        counted(sessions, "session", "sessions"),
        counted(of_source.into(), "partition", "partitions")
    );
    if on_their_way > 0 {
        text += &format!(", {on_their_way} of them on their way since an earlier run");
    }
    let there_are = match stored {
        Some(stored) => format!("{} in", counted(stored, "session", "sessions")),
        None => "a new namespace with".to_owned(),
    };
    text += &format!(
        "\nto          {there}: {there_are} {}",
        counted(of_target.into(), "partition", "partitions")
    );
    // Partitions are chosen by the remainder of a hash.
    if of_source % of_target != 0 {
        text += "\n            sessions are refused if their ids do not fit their users there";
    }
    if to.is_some_and(|to| scheme(to) != scheme(from)) {
        text += "\n            its id scheme differs: services of one namespace do not start in the other";
    }
    output.tell(&told, &text)
}

fn scheme(store: &RedisStore) -> IdScheme {
    store.rules().get_id_scheme()
}

async fn on_their_way(from: &RedisStore) -> StoreResult<usize> {
    let mut next = Some(0);
    let mut count = 0;
    while let Some(skip) = next {
        let page = from.migrations(skip, PAGE).await?;
        count += page.migrations.len();
        next = page.next;
    }
    Ok(count)
}

/// The result of a migration.
#[derive(Debug, Default)]
struct Moved {
    arrived: u64,
    /// Deleted or expired meanwhile.
    missing: u64,
    /// Finished for an earlier run.
    resumed: u64,
    /// On their way between other places.
    foreign: u64,
    /// How many, by the code of the reason.
    refused: BTreeMap<&'static str, u64>,
    /// An error that concerns no single session.
    failure: Option<Error>,
}

impl Moved {
    /// First the sessions that an earlier run left, then all by the time of their expiry. Moved sessions
    /// leave the walk.
    async fn all(
        &mut self,
        from: &RedisStore,
        manager: MigrationManager,
        arguments: &MigrateArguments,
        sessions: u64,
    ) -> Result<(), Failure> {
        let interrupt = Interrupt::listen();
        let progress = bar("migrate", Some(sessions), Unit::Things);
        let mut waiting = JoinSet::new();
        self.note_resumed(manager.resume().await.map_err(|error| stopped(Some(error)))?);
        let walked = self.walk(from, &manager, arguments, &mut waiting, &progress, &interrupt).await;
        if walked.is_err() || self.failure.is_some() {
            // Tasks that were not begun leave their sessions where they are.
            let _ = manager.hand_back().await;
        } else {
            manager.close().await;
        }
        while let Some(ended) = waiting.join_next().await {
            self.note_ended(ended);
        }
        progress.finish_and_clear();
        walked?;
        self.failure.take().map_or(Ok(()), |error| Err(stopped(Some(error))))
    }

    async fn walk(
        &mut self,
        from: &RedisStore,
        manager: &MigrationManager,
        arguments: &MigrateArguments,
        waiting: &mut JoinSet<StoreResult<Report>>,
        progress: &ProgressBar,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let mut pace = Pace::new(arguments.rate.per_second);
        let size = pace.page(PAGE);
        let mut at: Option<Position> = None;
        loop {
            let page = from.walk(at.as_ref(), size).await.map_err(|error| stopped(Some(error)))?;
            pace.wait_for(page.sessions.len()).await;
            for passed in page.sessions {
                let task = MigrationTask::new(passed.id, Destination::Remote);
                let submitted = manager.submit(task).await?;
                waiting.spawn(ended(submitted));
            }
            while let Some(ended) = waiting.try_join_next() {
                self.note_ended(ended);
            }
            progress.set_position(self.arrived + self.missing);
            if interrupt.is_set() {
                return Err(stopped(None));
            }
            at = page.next;
            if at.is_none() || self.failure.is_some() {
                return Ok(());
            }
        }
    }

    fn note_ended(&mut self, ended: Result<StoreResult<Report>, tokio::task::JoinError>) {
        // A task that panicked has reported that; one without a report was handed back.
        if let Ok(Ok(report)) = ended {
            self.note(report.outcome);
        }
    }

    fn note_resumed(&mut self, resumed: Resumed) {
        self.foreign = resumed.foreign as u64;
        for report in resumed.reports {
            match report.outcome {
                // The walk will meet it again.
                Ok(Outcome::Stayed) => {}
                outcome => {
                    self.resumed += u64::from(outcome == Ok(Outcome::Arrived));
                    self.note(outcome);
                }
            }
        }
    }

    fn note(&mut self, outcome: StoreResult<Outcome>) {
        match outcome {
            Ok(Outcome::Arrived) => self.arrived += 1,
            Ok(Outcome::Missing) => self.missing += 1,
            Ok(_) => *self.refused.entry("stayed").or_default() += 1,
            Err(error @ (Error::Refused(_) | Error::Invalid(_) | Error::Corrupt { .. })) => {
                *self.refused.entry(error.code()).or_default() += 1;
            }
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn tell(&self, left: Option<u64>, output: &Output) -> Result<(), Failure> {
        let Self { arrived, missing, resumed, foreign, refused, .. } = self;
        let mut text = format!("{} moved", counted(*arrived, "session", "sessions"));
        if *resumed > 0 {
            text += &format!(" ({resumed} on their way since an earlier run)");
        }
        for (count, what) in [(*missing, "ended meanwhile"), (refused.values().sum(), "refused")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        for (code, count) in refused {
            text += &format!("\n  {code}: {count}");
        }
        if *foreign > 0 {
            text += &format!("\n{foreign} on their way between other places: see --names");
        }
        if let Some(left) = left.filter(|left| *left > 0) {
            text += &format!("\n{left} still stored where they were");
        }
        let told = json!({
            "moved": arrived,
            "resumed": resumed,
            "missing": missing,
            "foreign": foreign,
            "refused": refused,
            "left": left,
        });
        output.tell(&told, &text)
    }
}

async fn ended(submitted: Submitted) -> StoreResult<Report> {
    submitted.await
}

fn stopped(why: Option<Error>) -> Failure {
    let why = why.map(|error| Box::new(Failure::Store(error)));
    Failure::Stopped { how_to_go_on: "the same command again".to_owned(), why }
}
