//! All stored data, one line per key, so that a store and the model can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cloakroom::testing::Stored as Kept;
use cloakroom::{OperationId, Status};
use redis::Value;

use super::reply::Seen;
use crate::support::Context;
use crate::support::record::{DELETED, LIVE, MOVED, Stored, compacted};

/// What a store has under each key, without the namespace.
pub(super) struct Contents(BTreeMap<String, Kept>);

impl Contents {
    pub(super) async fn of(context: &Context, now: u64) -> Self {
        let kept = match context.snapshot() {
            Some(snapshot) => snapshot,
            None => read(context).await,
        };
        let prefix = context.key("").len();
        let kept = kept.into_iter().map(|(key, kept)| (key[prefix..].to_owned(), kept));
        Self(kept.filter(|(key, kept)| !is_over(key, kept, now)).collect())
    }

    /// Two stores have the same, to the byte, once the changes in the records are made.
    pub(super) fn assert_same(&self, other: &Self) {
        for key in self.0.keys().chain(other.0.keys()) {
            let [left, right] = [self, other].map(|one| one.0.get(key).map(|kept| settled(key, kept)));
            assert_eq!(left, right, "left what redis has under {key}, right memory");
        }
    }
}

/// All keys of a namespace on a server.
async fn read(context: &Context) -> BTreeMap<String, Kept> {
    let keys = context.keys().await;
    if keys.is_empty() {
        return BTreeMap::new();
    }
    let prefix = context.key("").len();
    let mut pipeline = redis::pipe();
    for key in &keys {
        match key[prefix..].starts_with("session:") || key[prefix..].starts_with("connection:") {
            true => pipeline.cmd("GET").arg(key),
            false => pipeline.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES"),
        };
    }
    let values: Vec<Value> = pipeline.query_async(&mut context.raw()).await.unwrap();
    let mut contents = BTreeMap::new();
    for (key, value) in keys.into_iter().zip(values) {
        let kept = match value {
            Value::BulkString(bytes) => Kept::String(bytes),
            value => {
                let pairs: Vec<(String, f64)> = redis::from_redis_value(value).unwrap();
                // The empty member is the expiry index's note of its own TTL.
                let pairs = pairs.into_iter().filter(|(id, _)| !id.is_empty());
                Kept::SortedSet(pairs.map(|(id, score)| (id, score as u64)).collect())
            }
        };
        contents.insert(key, kept);
    }
    contents
}

/// A record with its changes made; anything else as it is.
fn settled(key: &str, kept: &Kept) -> Kept {
    match kept {
        Kept::String(bytes) if key.starts_with("session:") => Kept::String(compacted(bytes)),
        kept => kept.clone(),
    }
}

/// What counts as absent: an old id by the clock that the case moves, which is ahead of the server's, and an index with
/// nothing but a note.
fn is_over(key: &str, kept: &Kept, now: u64) -> bool {
    match kept {
        Kept::String(bytes) if key.starts_with("session:") => {
            let stored = Stored::parse(bytes);
            stored.kind != LIVE && stored.stored_until <= now
        }
        Kept::SortedSet(members) => members.is_empty(),
        _ => false,
    }
}

/// The same, as far as the model can tell it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Picture(BTreeMap<String, Line>);

#[derive(Debug, PartialEq)]
enum Line {
    Record(String),
    Pointer(String),
    /// Sorted by id, not by score.
    Index(BTreeMap<String, u64>),
}

impl Picture {
    /// A session with its record and all the entries that lead to it.
    pub(super) fn session(&mut self, seen: &Seen, stored_until: u64, changes: &[OperationId]) {
        let line = record(seen, stored_until, &noted(changes));
        self.0.insert(format!("session:{}", seen.id), Line::Record(line));
        self.enter("expiry".to_owned(), &seen.id, seen.expires_at);
        for (kind, name) in [("user", &seen.user), ("node", &seen.node)] {
            if !name.is_empty() {
                self.enter(format!("{kind}:{name}:sessions"), &seen.id, seen.created_at);
            }
        }
        if !seen.connection.is_empty() {
            let key = format!("connection:{}:session", seen.connection);
            assert!(self.0.insert(key, Line::Pointer(seen.id.clone())).is_none(), "two have one connection");
        }
    }

    /// An id that was a session's.
    pub(super) fn former(&mut self, id: &str, end: (&str, &str), stored_until: u64, changes: &[OperationId]) {
        let line = former(end, stored_until, &noted(changes));
        self.0.insert(format!("session:{id}"), Line::Record(line));
    }

    fn enter(&mut self, key: String, id: &str, score: u64) {
        let index = self.0.entry(key).or_insert_with(|| Line::Index(BTreeMap::new()));
        if let Line::Index(index) = index {
            index.insert(id.to_owned(), score);
        }
    }

    /// What a store has.
    pub(super) fn of(contents: &Contents) -> Self {
        let mut picture = Self::default();
        for (key, kept) in &contents.0 {
            let line = match kept {
                Kept::String(bytes) if key.starts_with("session:") => Line::Record(stored(bytes)),
                Kept::String(bytes) => Line::Pointer(String::from_utf8_lossy(bytes).into_owned()),
                Kept::SortedSet(members) => Line::Index(members.iter().cloned().collect()),
                kept => panic!("{key}: {kept:?}"),
            };
            picture.0.insert(key.clone(), line);
        }
        picture
    }

    /// Where the two differ, a line each.
    pub(super) fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        for key in self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(*key))) {
            let (one, other) = (self.0.get(key), other.0.get(key));
            if one != other {
                writeln!(text, "{key}\n    model: {one:?}\n    store: {other:?}").unwrap();
            }
        }
        text
    }
}

fn record(seen: &Seen, stored_until: u64, changes: &str) -> String {
    let mut text = format!("{:?} {:?} {:?} {:?}", seen.status, seen.user, seen.connection, seen.node);
    let times = [seen.created_at, seen.ttl, seen.deadline, seen.last_active, seen.expires_at, stored_until];
    write!(text, " version {} times {times:?} by{changes}", seen.version).unwrap();
    for (kind, entries) in [("attribute", &seen.attributes), ("extension", &seen.extensions)] {
        entries.iter().for_each(|(key, json)| write!(text, " {kind} {key} {json}").unwrap());
    }
    text
}

fn former((word, to): (&str, &str), stored_until: u64, changes: &str) -> String {
    format!("{word} to {to:?} until {stored_until} by{changes}")
}

/// The operations that changed a session last, the latest first.
fn noted(changes: &[OperationId]) -> String {
    changes.iter().map(|change| format!(" {change:?}")).collect()
}

/// The same of a record.
fn noted_in(bytes: &[u8]) -> String {
    let ids = bytes[17..49].chunks(8).filter(|id| *id != [0; 8]);
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    ids.map(|id| format!(" OperationId({})", hex(id))).collect()
}

/// A record as it is stored, in the same words.
fn stored(bytes: &[u8]) -> String {
    let (stored, changes) = (Stored::parse(bytes), noted_in(bytes));
    if stored.kind != LIVE {
        let word = match stored.kind {
            MOVED => "moved",
            DELETED => "deleted",
            _ => "unknown",
        };
        let to = String::from_utf8_lossy(&stored.body);
        return former((word, &to), stored.stored_until, &changes);
    }
    let (attributes, extensions) = entries(&stored.body);
    let seen = Seen {
        id: String::new(),
        user: stored.user.clone(),
        connection: stored.connection.clone(),
        node: stored.node.clone(),
        status: match stored.status {
            1 => Status::Active,
            2 => Status::Suspended,
            _ => Status::Migrating,
        },
        version: stored.version,
        ttl: stored.ttl,
        created_at: stored.created_at,
        last_active: stored.last_active,
        expires_at: stored.expires_at,
        deadline: stored.deadline,
        attributes,
        extensions,
    };
    record(&seen, stored.stored_until, &changes)
}

type Entries = Vec<(String, String)>;

/// Attributes and extensions of a body, sorted by key.
fn entries(mut body: &[u8]) -> (Entries, Entries) {
    let (mut attributes, mut extensions) = (Entries::new(), Entries::new());
    while !body.is_empty() {
        let key_end = 5 + usize::from(body[1]);
        let end = key_end + u32::from_be_bytes([0, body[2], body[3], body[4]]) as usize;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let entry = (text(&body[5..key_end]), text(&body[key_end..end]));
        if body[0] == 1 {
            attributes.push(entry)
        } else {
            extensions.push(entry)
        }
        body = &body[end..];
    }
    attributes.sort();
    extensions.sort();
    (attributes, extensions)
}
