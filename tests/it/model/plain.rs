//! A plain model of the engine, which states its promises as directly as possible. It is one list of sessions,
//! searched from the beginning; no indexes, no keys.

mod bulk;
mod change;
mod import;
mod login;
mod read;

use cloakroom::{OperationId, Status};

use super::coverage::RECOGNIZED;
use super::picture::Picture;
use super::reply::{Reply, Seen};
use super::rules::CaseRules;
use super::step::{Call, Entry, KEYS, Mode, VALUES, Whose};
use super::turn::Turn;

/// How many changes of a session are remembered, to recognize a call that is repeated.
const REMEMBERED: usize = 4;

/// The model of a store.
#[derive(Debug)]
pub(super) struct Plain {
    rules: CaseRules,
    now: u64,
    /// Live ones, and expired ones that nobody removed.
    sessions: Vec<Kept>,
    former: Vec<Former>,
    /// The ids that the engine made, which the model cannot know beforehand.
    made: Vec<(OperationId, String)>,
    /// Where the last page ended: whose it was, created_at and id of its last session.
    cursor: Option<(Whose, (u64, String))>,
    /// What the word of the last answer does not tell.
    pub(super) noted: Option<&'static str>,
}

/// A session that is stored.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    seen: Seen,
    stored_until: u64,
    /// The operations that changed it last, the latest first.
    changes: Vec<OperationId>,
}

/// An id that was a session's.
#[derive(Clone, Debug)]
struct Former {
    id: String,
    end: End,
    stored_until: u64,
    /// The session as the operation left it that ended the id, which is the first of its changes.
    last: Box<Kept>,
}

/// What became of the session with an id.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Rotated(String),
    /// Rotated and another user's since: only a delete follows.
    LoggedIn(String),
    Deleted,
}

/// What is stored under an id.
enum Found {
    Live(usize),
    Expired,
    Former(Former),
    Nothing,
}

impl Kept {
    /// Which version an operation made, if it is remembered.
    fn made_by(&self, operation_id: OperationId) -> Option<u64> {
        let age = self.changes.iter().position(|change| *change == operation_id)?;
        Some(self.seen.version - age as u64)
    }

    /// Notes a change.
    fn count(&mut self, operation_id: OperationId) {
        self.seen.version += 1;
        self.changes.insert(0, operation_id);
        self.changes.truncate(REMEMBERED);
    }

    /// Its idle time begins now.
    fn begin(&mut self, now: u64, ttl: u64, grace: u64) {
        self.seen.ttl = ttl;
        self.seen.last_active = now;
        self.seen.expires_at = clamp(now + ttl, self.seen.deadline);
        self.keep(grace);
    }

    /// A record is stored a grace longer than it lives: never more, and half of that at least.
    fn keep(&mut self, grace: u64) {
        let full = self.seen.expires_at + grace;
        if self.stored_until > full || self.stored_until < full - grace / 2 {
            self.stored_until = full;
        }
    }
}

/// No later than the deadline, if there is one.
fn clamp(time: u64, deadline: u64) -> u64 {
    if deadline == 0 { time } else { time.min(deadline) }
}

fn status(mode: Mode) -> Status {
    match mode {
        Mode::Active => Status::Active,
        Mode::Suspended => Status::Suspended,
    }
}

/// What attributes and extensions take: their keys, their values and five bytes each.
fn bytes(seen: &Seen) -> usize {
    let of = |entries: &[(String, String)]| -> usize {
        entries.iter().map(|(key, json)| 5 + key.len() + json.len()).sum()
    };
    of(&seen.attributes) + of(&seen.extensions)
}

fn put(seen: &mut Seen, entry: Entry) {
    let (entries, key, value) = match entry {
        Entry::Attribute(key, value) => (&mut seen.attributes, key, value),
        Entry::Extension(key, value) => (&mut seen.extensions, key, value),
    };
    let key = KEYS[usize::from(key)];
    entries.retain(|(other, _)| other != key);
    entries.extend(value.map(|value| (key.to_owned(), VALUES[usize::from(value)].to_owned())));
    entries.sort();
}

impl Plain {
    pub(super) fn new(rules: CaseRules) -> Self {
        Self {
            rules,
            now: 0,
            sessions: Vec::new(),
            former: Vec::new(),
            made: Vec::new(),
            cursor: None,
            noted: None,
        }
    }

    /// The answer to a call. `made` is the id that a store says it made, if it made one.
    pub(super) fn answer(&mut self, turn: &Turn, now: u64, made: Option<&str>) -> Reply {
        self.now = now;
        self.noted = None;
        self.former.retain(|former| former.stored_until > now);
        let target = |on| turn.target(on).id().as_str();
        match &turn.call {
            Call::Create { .. } => self.create(turn, made),
            Call::Get(on) => self.get(target(*on)),
            Call::Update { .. } => self.update(turn),
            Call::Patch { on, .. } => self.patch(turn, target(*on)),
            Call::Refresh(on) => self.refresh(target(*on)),
            Call::RefreshAndGet(on) => self.refresh_and_get(target(*on)),
            Call::Rotate { on, .. } => self.rotate(turn, target(*on), made),
            Call::Bind { on, .. } => self.bind(turn, target(*on)),
            Call::Unbind { on, connection } => self.unbind(turn, target(*on), *connection),
            Call::Export(on) => self.get(target(*on)),
            Call::Import { .. } => self.import(turn),
            Call::Delete(on) => self.delete(turn, target(*on)),
            Call::List { whose, size } => self.list(Some((*whose, (0, String::new()))), *size),
            Call::ListNext { size } => {
                let cursor = self.cursor.take();
                self.list(cursor, *size)
            }
            Call::Count(whose) => self.count(*whose),
            Call::ByConnection(number) => self.by_connection(*number),
            Call::DeleteUser { user, keep } => self.delete_user(turn, *user, keep.map(target)),
            Call::Expired { ago_s, skip, limit } => self.expired(turn.before(*ago_s), *skip, *limit),
            Call::Reap(batch) => self.reap(*batch),
        }
    }

    fn find(&self, id: &str) -> Found {
        if let Some(at) = self.sessions.iter().position(|kept| kept.seen.id == id) {
            return if self.is_live(at) { Found::Live(at) } else { Found::Expired };
        }
        match self.former.iter().find(|former| former.id == id) {
            Some(former) => Found::Former(former.clone()),
            None => Found::Nothing,
        }
    }

    fn is_live(&self, at: usize) -> bool {
        self.now < self.sessions[at].seen.expires_at
    }

    /// The live session with an id, or with the one that it was rotated to.
    fn follow(&self, id: &str) -> Option<usize> {
        let found = match self.find(id) {
            Found::Former(Former { end: End::Rotated(to), .. }) => self.find(&to),
            found => found,
        };
        if let Found::Live(at) = found { Some(at) } else { None }
    }

    /// The answer where it is not.
    fn absent(&self, id: &str) -> Reply {
        let found = match self.find(id) {
            Found::Former(Former { end: End::Rotated(to), .. }) => self.find(&to),
            found => found,
        };
        let was_left = matches!(found, Found::Former(Former { end: End::LoggedIn(_), .. }));
        Reply::word(if was_left { "rotated" } else { "missing" })
    }

    /// The session, live or expired, that has a connection.
    fn holder(&self, connection: &str) -> Option<usize> {
        if connection.is_empty() {
            return None;
        }
        self.sessions.iter().position(|kept| kept.seen.connection == connection)
    }

    fn take(&mut self, id: &str) -> Kept {
        let at = self.sessions.iter().position(|kept| kept.seen.id == id).unwrap();
        self.sessions.remove(at)
    }

    /// Removes a session, and its id stays blocked.
    fn end(&mut self, id: &str, end: End, operation_id: OperationId) -> Kept {
        let kept = self.take(id);
        let lasts = match end {
            End::Deleted => CaseRules::TOMBSTONE,
            End::Rotated(_) | End::LoggedIn(_) => CaseRules::ROTATION,
        };
        let mut last = kept.clone();
        last.count(operation_id);
        let (id, stored_until) = (id.to_owned(), self.now + lasts);
        self.former.push(Former { id, end, stored_until, last: Box::new(last) });
        kept
    }

    /// What is stored under an id of a session that an operation changed, with the id that it has by now, and the version
    /// that the operation made.
    fn noted_at(&self, id: &str, operation_id: OperationId) -> Option<(Seen, u64)> {
        if let Some(kept) = self.sessions.iter().find(|kept| kept.seen.id == id) {
            return Some((kept.seen.clone(), kept.made_by(operation_id)?));
        }
        let former = self.former.iter().find(|former| former.id == id)?;
        let version = former.last.made_by(operation_id)?;
        let id = if let End::Rotated(to) = &former.end { to } else { &former.id };
        Some((Seen { id: id.clone(), ..former.last.seen.clone() }, version))
    }

    /// The same for one that may have been rotated before.
    fn noted(&self, id: &str, operation_id: OperationId) -> Option<(Seen, u64)> {
        self.noted_at(id, operation_id).or_else(|| {
            let former = self.former.iter().find(|former| former.id == id)?;
            if let End::Rotated(to) = &former.end { self.noted_at(to, operation_id) } else { None }
        })
    }

    /// The answer is one that this call had before.
    fn recognize(&mut self) {
        self.noted = Some(RECOGNIZED);
    }

    pub(super) fn has_recognized(&self) -> bool {
        self.noted == Some(RECOGNIZED)
    }

    /// The engine's id for a call: the same when it is repeated.
    fn made_id(&mut self, operation_id: OperationId, made: Option<&str>) -> String {
        if let Some((_, id)) = self.made.iter().find(|(operation, _)| *operation == operation_id) {
            return id.clone();
        }
        made.unwrap_or("an id that no store made").to_owned()
    }

    /// When the first session may go for its age, which each store sees to in its own time.
    pub(super) fn first_to_lapse(&self) -> Option<u64> {
        self.sessions.iter().map(|kept| kept.stored_until).min()
    }

    /// All that is stored, as the keys should show it.
    pub(super) fn picture(&self, now: u64) -> Picture {
        let mut picture = Picture::default();
        for kept in &self.sessions {
            picture.session(&kept.seen, kept.stored_until, &kept.changes);
        }
        for former in self.former.iter().filter(|former| former.stored_until > now) {
            let end = match &former.end {
                End::Rotated(to) => ("moved", to.as_str()),
                End::LoggedIn(to) => ("deleted", to.as_str()),
                End::Deleted => ("deleted", ""),
            };
            picture.former(&former.id, end, former.stored_until, &former.last.changes);
        }
        picture
    }
}
