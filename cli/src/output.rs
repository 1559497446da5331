//! The output: text for people, or JSON for programs; secrets only on request.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use cloakroom::verify::Violation;
use cloakroom::{Entries, IdScheme, Rules, Session, SessionId};
use serde_json::{Map, Value, json};

use crate::arguments::Common;
use crate::failure::Failure;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
    reveals: bool,
    /// Whether ids are shown, and not hashes of them.
    shows_ids: bool,
    /// The length of ids that the store makes.
    id_bytes: usize,
}

impl Output {
    pub(crate) fn new(common: &Common) -> Self {
        Self { is_json: common.json, reveals: common.reveal, shows_ids: common.reveal, id_bytes: 36 }
    }

    /// The same for a namespace: if clients hold tokens, ids are no secrets.
    pub(crate) fn of(self, rules: &Rules) -> Self {
        match rules.get_id_scheme() {
            IdScheme::Token => Self { shows_ids: true, id_bytes: 43, ..self },
            _ => self,
        }
    }

    /// Prints one item: as a line of JSON, or as text.
    pub(crate) fn tell(&self, value: &Value, text: &str) -> Result<(), Failure> {
        let line = if self.is_json { value.to_string() } else { text.to_owned() };
        self.raw(format!("{line}\n").as_bytes())
    }

    /// Prints a heading, which programs do not need.
    pub(crate) fn heading(&self, text: &str) -> Result<(), Failure> {
        if self.is_json { Ok(()) } else { self.raw(format!("{text}\n").as_bytes()) }
    }

    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        written.map_err(|error| Failure::Io("standard output".to_owned(), error))
    }

    /// Prints a failure on standard error, and returns the exit code.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        // The reader has closed the output.
        if matches!(failure, Failure::Io(_, error) if error.kind() == ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let line = if self.is_json {
            json!({"error": failure.word(), "message": failure.to_string()}).to_string()
        } else {
            format!("cloakroom: {failure}")
        };
        // If standard error is closed too, the exit code must do.
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(failure.code())
    }

    /// An id, or the hash that logs show for it.
    pub(crate) fn id(&self, id: &SessionId) -> String {
        if self.shows_ids { shown(id.as_str()) } else { id.short_hash() }
    }

    /// The same for JSON: the hash, and the id if ids are shown.
    pub(crate) fn note_id(&self, told: &mut Value, names: [&str; 2], id: &SessionId) {
        let [hash, whole] = names;
        told[hash] = id.short_hash().into();
        if self.shows_ids {
            told[whole] = id.as_str().into();
        }
    }

    /// The width of a column of ids.
    pub(crate) fn id_width(&self) -> usize {
        if self.shows_ids { self.id_bytes } else { 8 }
    }

    /// A connection, which is a secret too.
    pub(crate) fn connection<'a>(&self, connection: Option<&'a str>) -> Option<&'a str> {
        connection.filter(|_| self.reveals)
    }

    /// Whether secrets are shown.
    pub(crate) fn reveals(&self) -> bool {
        self.reveals
    }

    /// A violation, as JSON.
    pub(crate) fn violation(&self, violation: &Violation) -> Value {
        json!({
            "kind": violation.kind().code(),
            "key": self.key(violation),
            "session": violation.session().map(|session| self.id(&session)),
            "is_mendable": violation.is_mendable(),
            "hint": violation.hint(),
        })
    }

    /// The same as one line of text.
    pub(crate) fn line_of_violation(&self, violation: &Violation) -> String {
        let (kind, key) = (violation.kind().code(), self.key(violation));
        let session = violation.session().map(|session| format!("  {}", self.id(&session)));
        format!("{kind:<15}  {key}{}: {}", session.unwrap_or_default(), violation.hint())
    }

    /// The key of a violation, with hashes in the place of ids and connections.
    fn key(&self, violation: &Violation) -> String {
        let whole = || String::from_utf8_lossy(violation.key()).into_owned();
        shown(&if self.reveals { whole() } else { violation.place() })
    }

    /// A session as JSON, with everything that may be shown.
    pub(crate) fn session(&self, session: &Session) -> Value {
        let mut told = json!({
            "user": session.user(),
            "node": session.node(),
            "is_connected": session.connection().is_some(),
            "status": status(session),
            "version": session.version().get(),
            "ttl_ms": session.ttl().as_millis() as u64,
            "created_at": time(session.created_at_ms()),
            "last_active": time(session.last_active_ms()),
            "expires_at": time(session.expires_at_ms()),
            "deadline": session.deadline_ms().map(time),
            "attributes": session.attributes().len(),
            "extensions": session.extensions().len(),
        });
        self.note_id(&mut told, ["hash", "id"], session.id());
        if self.reveals {
            told["connection"] = session.connection().into();
            told["attributes"] = entries(session.attributes()).into();
            told["extensions"] = entries(session.extensions()).into();
        }
        told
    }

    /// The same as one line of text.
    pub(crate) fn line(&self, session: &Session) -> String {
        let [created, active, expires] =
            [session.created_at_ms(), session.last_active_ms(), session.expires_at_ms()].map(time);
        let (id, node) = (self.id(session.id()), shown(session.node().unwrap_or("-")));
        let (width, status) = (self.id_width(), status(session));
        let mut line = format!("{id:<width$}  {status:<9}  {created}  {active}  {expires}  {node:<12}");
        line += &format!("  {}", shown(session.user().unwrap_or("-")));
        if self.reveals {
            line += &format!("  {}", shown(session.connection().unwrap_or("-")));
        }
        line
    }

    /// The heading above such lines.
    pub(crate) fn columns(&self) -> String {
        let (id, status, times, node) = ("SESSION", "STATUS", ["CREATED", "LAST ACTIVE", "EXPIRES"], "NODE");
        let [created, active, expires] = times;
        let width = self.id_width();
        let mut line = format!("{id:<width$}  {status:<9}");
        line += &format!("  {created:<20}  {active:<20}  {expires:<20}  {node:<12}  USER");
        if self.reveals { line + "  CONNECTION" } else { line }
    }
}

/// Text from outside, without the characters on which a terminal would act.
pub(crate) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn status(session: &Session) -> &'static str {
    match session.status() {
        cloakroom::Status::Active => "active",
        cloakroom::Status::Suspended => "suspended",
        cloakroom::Status::Migrating => "migrating",
        _ => "unknown",
    }
}

/// Values that are not valid JSON are printed as text.
fn entries(entries: &Entries) -> Map<String, Value> {
    let value = |json: &str| serde_json::from_str(json).unwrap_or_else(|_| json.into());
    entries.iter().map(|(key, json)| (key.to_owned(), value(json))).collect()
}

/// A time of a server's.
pub(crate) fn time(ms: u64) -> String {
    let seconds = UNIX_EPOCH.checked_add(Duration::from_secs(ms / 1000)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(seconds).to_string()
}
