//! `lua/bundle.json`, as a client of another language reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Bundle {
    pub(crate) record: Layout,
    /// What is sent in the place of a key whose name is empty. `None` in a test that sends such keys all the same.
    pub(crate) unnamed: Option<String>,
    pub(crate) unnamed_events: String,
    /// The patterns of all keys, by what they are.
    pub(crate) keys: BTreeMap<String, String>,
    pub(crate) operations: BTreeMap<String, Operation>,
}

/// How a record is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Layout {
    pub(crate) header: Vec<Field>,
    pub(crate) header_bytes: usize,
    /// What stands behind the header.
    pub(crate) texts: Vec<String>,
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) statuses: BTreeMap<String, u64>,
    pub(crate) freeze: FreezeLayout,
    pub(crate) departed_task_bytes: u64,
    pub(crate) entry: EntryLayout,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FreezeLayout {
    pub(crate) header: Vec<Field>,
    pub(crate) header_bytes: usize,
    pub(crate) directions: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EntryLayout {
    pub(crate) header: Vec<Field>,
    pub(crate) header_bytes: usize,
    pub(crate) kinds: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Operation {
    pub(crate) keys: Vec<Key>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) group: Option<Group>,
    pub(crate) replies: Vec<Form>,
    pub(crate) needs: Vec<Need>,
    pub(crate) writes: bool,
    pub(crate) events: Option<Events>,
    pub(crate) commands: BTreeSet<String>,
    pub(crate) sha1: String,
    pub(crate) source: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) pattern: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Argument {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// What follows for each of any number of sessions.
#[derive(Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) keys: Vec<Key>,
    pub(crate) arguments: Vec<Argument>,
}

/// What a call that asks for events passes behind all else.
#[derive(Debug, Deserialize)]
pub(crate) struct Events {
    pub(crate) keys: Vec<Key>,
    #[serde(default)]
    pub(crate) of_member: Vec<Key>,
}

/// A field of a reply.
#[derive(Debug, Deserialize)]
pub(crate) struct ReplyField {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// A form of reply.
#[derive(Debug, Deserialize)]
pub(crate) struct Form {
    pub(crate) word: String,
    pub(crate) fields: Vec<ReplyField>,
    #[serde(default)]
    pub(crate) optional: Vec<ReplyField>,
    #[serde(default)]
    pub(crate) rest: Vec<Repeat>,
}

/// A kind of `need`.
#[derive(Debug, Deserialize)]
pub(crate) struct Need {
    pub(crate) kind: String,
    pub(crate) fields: Vec<ReplyField>,
    #[serde(default)]
    pub(crate) rest: Vec<Repeat>,
}

/// What repeats: as often as a field says, or to the end.
#[derive(Debug, Deserialize)]
pub(crate) struct Repeat {
    pub(crate) fields: Vec<ReplyField>,
    pub(crate) times: Option<String>,
}
