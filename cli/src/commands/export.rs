//! export: writes all live sessions to a file.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use cloakroom::migration::{Export, MigrationStore as _};
use cloakroom::operating::Position;
use cloakroom::{Error, RedisStore, Result as StoreResult, SessionId};
use serde_json::json;

use crate::arguments::ExportArguments;
use crate::commands::file::{self, Line};
use crate::counted::counted;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::pace::Pace;
use crate::progress::{Unit, bar};

/// How many are read together at most.
const PAGE: usize = 200;

pub(crate) async fn run(
    store: &RedisStore,
    namespace: &str,
    arguments: &ExportArguments,
    output: &Output,
) -> Result<(), Failure> {
    let mut written = if arguments.resume {
        Written::resume(&arguments.file)?
    } else {
        Written::begin(&arguments.file, namespace)?
    };
    let (mut pace, interrupt) = (Pace::new(arguments.rate.per_second), Interrupt::listen());
    let (size, mut refused) = (pace.page(PAGE), 0);
    let progress = bar("export", Some(store.stored().await?), Unit::Things);
    let stopped = |why: Option<Failure>| {
        progress.finish_and_clear();
        let how_to_go_on = "the same command with --resume".to_owned();
        Failure::Stopped { how_to_go_on, why: why.map(Box::new) }
    };
    while !written.is_whole {
        if interrupt.is_set() {
            return Err(stopped(None));
        }
        pace.wait_for(size).await;
        let page = async {
            let page = store.walk(written.position.as_ref(), size).await?;
            let ids = page.sessions.into_iter().map(|passed| passed.id).collect();
            Ok::<_, Failure>((exported(store, ids).await?, page.next))
        };
        let ((exports, corrupt), next) = page.await.map_err(|why| stopped(Some(why)))?;
        refused += corrupt;
        written.add(&exports, next)?;
        progress.set_position(written.sessions);
    }
    progress.finish_and_clear();
    let text = format!("{} written", counted(written.sessions, "session", "sessions"));
    output.tell(&json!({"written": written.sessions, "refused": refused}), &text)?;
    if refused > 0 { Err(Failure::Partly(refused)) } else { Ok(()) }
}

/// The live ones of some sessions, and how many cannot be read.
async fn exported(store: &RedisStore, ids: Vec<SessionId>) -> StoreResult<(Vec<Export>, u64)> {
    let export = |id: SessionId| {
        let store = store.clone();
        tokio::spawn(async move { store.export(&id).await })
    };
    let exports: Vec<_> = ids.into_iter().map(export).collect();
    let (mut found, mut corrupt) = (Vec::new(), 0);
    for export in exports {
        // A task that panicked has reported that.
        let Ok(export) = export.await else { continue };
        match export {
            Ok(export) => found.extend(export),
            Err(Error::Corrupt { .. }) => corrupt += 1,
            // It is in another store.
            Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((found, corrupt))
}

/// The file, and its progress.
struct Written {
    file: File,
    path: String,
    sessions: u64,
    position: Option<Position>,
    is_whole: bool,
}

impl Written {
    /// Creates a file that only its owner may read.
    fn begin(path: &Path, namespace: &str) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path_text = path.display().to_string();
        let file = options.open(path).map_err(|error| Failure::Io(path_text.clone(), error))?;
        let mut written = Self { file, path: path_text, sessions: 0, position: None, is_whole: false };
        written.write(&format!("{}\n", file::head(namespace)))?;
        Ok(written)
    }

    /// Opens the file of an earlier run, and cuts it off behind its last mark.
    fn resume(path: &Path) -> Result<Self, Failure> {
        let path_text = path.display().to_string();
        let io = |error| Failure::Io(path_text.clone(), error);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let mut lines = BufReader::new(file.try_clone().map_err(io)?);
        let mut written =
            Self { file, path: path_text.clone(), sessions: 0, position: None, is_whole: false };
        let (mut at, mut whole_until, mut sessions, mut number) = (0, 0, 0, 0);
        loop {
            let mut line = String::new();
            number += 1;
            let length = lines.read_line(&mut line).map_err(io)? as u64;
            // A half-written last line is cut off.
            if length == 0 || !line.ends_with('\n') {
                break;
            }
            at += length;
            match Line::parse(line.trim_end(), number)? {
                Line::Head if number == 1 => whole_until = at,
                Line::Head => return Err(Failure::File(format!("line {number}: a second beginning"))),
                Line::Session(_) => sessions += 1,
                Line::Mark(position) => {
                    (whole_until, written.sessions) = (at, sessions);
                    written.position = Some(position);
                }
                Line::End => {
                    (whole_until, written.sessions) = (at, sessions);
                    written.is_whole = true;
                }
            }
        }
        written.file.set_len(whole_until).map_err(io)?;
        written.file.seek(SeekFrom::Start(whole_until)).map_err(io)?;
        Ok(written)
    }

    /// Adds a page, and where the next one begins.
    fn add(&mut self, exports: &[Export], next: Option<Position>) -> Result<(), Failure> {
        self.sessions += exports.len() as u64;
        let mut text = String::new();
        for export in exports {
            text += &export.to_json();
            text.push('\n');
        }
        text += &next.as_ref().map_or_else(|| file::end(self.sessions), file::mark);
        text.push('\n');
        self.is_whole = next.is_none();
        self.position = next;
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.flush());
        written.map_err(|error| Failure::Io(self.path.clone(), error))
    }
}
