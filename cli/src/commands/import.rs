//! import: imports the sessions of a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use cloakroom::migration::{Export, Import, MigrationStore as _};
use cloakroom::{Error, RedisStore, Refusal, Result as StoreResult};
use indicatif::ProgressBar;
use serde_json::json;

use crate::arguments::ImportArguments;
use crate::commands::file::Line;
use crate::counted::counted;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::pace::Pace;
use crate::progress::{Unit, bar};

/// How many sessions are imported together at most.
const PAGE: usize = 200;

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &ImportArguments,
    output: &Output,
) -> Result<(), Failure> {
    let path = arguments.file.display().to_string();
    let io = |error| Failure::Io(path.clone(), error);
    let file = File::open(&arguments.file).map_err(io)?;
    let progress = bar("import", Some(file.metadata().map_err(io)?.len()), Unit::Bytes);
    let mut imported = Imported::default();
    let ended = imported.all(store, BufReader::new(file), arguments, &progress, &path).await;
    progress.finish_and_clear();
    let Imported { brought, here, expired, refused, .. } = &imported;
    let total: u64 = refused.values().sum();
    let mut text = format!("{} imported", counted(*brought, "session", "sessions"));
    for (count, what) in [(*here, "here already"), (*expired, "expired"), (total, "refused")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    for (code, count) in refused {
        text += &format!("\n  {code}: {count}");
    }
    let told = json!({"brought": brought, "here": here, "expired": expired, "refused": refused});
    output.tell(&told, &text)?;
    ended?;
    if !imported.is_whole && !arguments.partial {
        return Err(Failure::File("the file has no end: its export was interrupted".to_owned()));
    }
    if total > 0 { Err(Failure::Partly(total)) } else { Ok(()) }
}

/// The result of an import.
#[derive(Debug, Default)]
struct Imported {
    brought: u64,
    /// Here already, in this version or a later one.
    here: u64,
    expired: u64,
    /// How many, by the code of the reason.
    refused: BTreeMap<&'static str, u64>,
    is_whole: bool,
}

impl Imported {
    async fn all(
        &mut self,
        store: &RedisStore,
        mut lines: BufReader<File>,
        arguments: &ImportArguments,
        progress: &ProgressBar,
        path: &str,
    ) -> Result<(), Failure> {
        let (mut pace, interrupt) = (Pace::new(arguments.rate.per_second), Interrupt::listen());
        let size = pace.page(PAGE);
        let (mut number, mut is_over) = (0, false);
        while !is_over {
            if interrupt.is_set() {
                return Err(stopped(None));
            }
            let mut batch = Vec::new();
            while batch.len() < size {
                let mut line = String::new();
                number += 1;
                let read = lines.read_line(&mut line);
                let length = read.map_err(|error| Failure::Io(path.to_owned(), error))?;
                // A half-written last line is not a line.
                if length == 0 || (arguments.partial && !line.ends_with('\n')) {
                    is_over = true;
                    break;
                }
                progress.inc(length as u64);
                match Line::parse(line.trim_end(), number)? {
                    Line::Session(export) => batch.push(*export),
                    Line::End => self.is_whole = true,
                    Line::Head | Line::Mark(_) => {}
                }
                if number == 1 && !batch.is_empty() {
                    return Err(Failure::File(
                        "the file is not an export: it begins with a session".to_owned(),
                    ));
                }
            }
            pace.wait_for(batch.len()).await;
            self.bring(store, batch).await.map_err(|why| stopped(Some(why.into())))?;
        }
        Ok(())
    }

    async fn bring(&mut self, store: &RedisStore, batch: Vec<Export>) -> StoreResult<()> {
        let bring = |export: Export| {
            let store = store.clone();
            tokio::spawn(async move { bring_one(&store, export).await })
        };
        let brought: Vec<_> = batch.into_iter().map(bring).collect();
        for brought in brought {
            // A task that panicked has reported that.
            let Ok(brought) = brought.await else { continue };
            match brought {
                Ok(true) => self.brought += 1,
                Ok(false) => self.here += 1,
                Err(Error::Refused(Refusal::Missing)) => self.expired += 1,
                Err(error @ (Error::Refused(_) | Error::Invalid(_) | Error::Corrupt { .. })) => {
                    *self.refused.entry(error.code()).or_default() += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns whether it was imported; false: it is here already, in this version or a later one.
async fn bring_one(store: &RedisStore, export: Export) -> StoreResult<bool> {
    let (id, created_at) = (export.session().id().clone(), export.session().created_at_ms());
    match store.import(Import::new(export)).await {
        Err(Error::Refused(Refusal::Conflict { current })) => {
            let here = store.export(&id).await?;
            let is_same = here.is_some_and(|here| here.session().created_at_ms() == created_at);
            if is_same { Ok(false) } else { Err(Error::Refused(Refusal::Conflict { current })) }
        }
        imported => imported,
    }
}

fn stopped(why: Option<Failure>) -> Failure {
    Failure::Stopped { how_to_go_on: "the same command again".to_owned(), why: why.map(Box::new) }
}
