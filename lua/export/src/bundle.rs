//! Everything that another language needs to run the scripts, as one JSON document.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::access::NOTHING;
use crate::commands::commands;
use crate::contract::Contract;
use crate::file::{json, read};
use crate::header::{Access, Argument, Field, Group, Header, Key, Need, Repeat, Reply};
use crate::keys::{EVENTS, EXPIRY, KEYS, UNNAMED, names, node_stream};
use crate::layout::{Layout, Lease, other_formats, record_format};
use crate::script::Script;
use crate::start::Start;

/// The form of the bundle itself. A generator that knows another form stops.
const FORM: u32 = 1;

/// The schema of the bundle, in the same directory.
const SCHEMA: &str = "bundle.schema.json";

/// Codes of errors that prove that nothing was written: with them a server refuses the whole call, or only the first
/// write of a script.
const NOTHING_WRITTEN: [&str; 17] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];

/// `lua/bundle.json`.
#[derive(Debug, Serialize)]
struct Bundle<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    license: &'static str,
    bundle: u32,
    contract: u32,
    accepts: &'a [u32],
    record_format: u64,
    record: Layout,
    /// Formats that another release wrote or will write, which clients must also read.
    other_records: Vec<OtherRecord>,
    lease: Lease,
    keys: BTreeMap<&'static str, NamedKey>,
    unnamed: &'static str,
    /// The key that takes the place of the stream of a node whose name is empty.
    unnamed_events: &'static str,
    start: &'a Start,
    nothing_written: [&'static str; 17],
    operations: BTreeMap<&'a str, Operation<'a>>,
}

/// A key of the namespace.
#[derive(Debug, Serialize)]
struct NamedKey {
    #[serde(rename = "type")]
    kind: &'static str,
    pattern: &'static str,
}

/// A record of another format than the current one.
#[derive(Debug, Serialize)]
struct OtherRecord {
    record_format: u64,
    record: Layout,
}

#[derive(Debug, Serialize)]
struct Operation<'a> {
    summary: &'a str,
    keys: &'a [Key],
    arguments: &'a [Argument],
    /// The names in the patterns of the keys that are not arguments.
    names: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a Group>,
    replies: &'a [Reply],
    needs: Vec<Supply<'a>>,
    /// What to do with a rotated id: `follow` it once, or return it as the `answer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<&'static str>,
    /// Whether it may write. One that does not can also be run by EVALSHA_RO, and so by a user who may not
    /// write.
    writes: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Events<'a>>,
    effect: &'static str,
    again: &'a str,
    /// The commands that it may run.
    commands: BTreeSet<String>,
    sha1: String,
    source: &'a str,
}

/// What a call that asks for events passes last: these keys, and how many events a stream keeps.
#[derive(Debug, Serialize)]
struct Events<'a> {
    keys: Vec<Key>,
    /// For each member of the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    of_member: Vec<Key>,
    told: &'a str,
}

/// A kind of `need`, and how to meet it.
#[derive(Debug, Serialize)]
struct Supply<'a> {
    kind: &'a str,
    fields: &'a [Field],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rest: &'a [Repeat],
    /// The arguments to set to the fields of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    set: Vec<&'a str>,
    /// The group of which the ids become members.
    #[serde(skip_serializing_if = "Option::is_none")]
    declare: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
}

/// The operation to run for some sessions before the call is repeated. Their records have its other
/// arguments.
#[derive(Debug, Serialize)]
struct Run<'a> {
    operation: &'a str,
    /// The field of the `need` that names them.
    ids: &'a str,
    /// The arguments of that operation, each with the argument of this call that it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    arguments: BTreeMap<&'a str, &'a str>,
}

/// Makes the document from the scripts in a directory.
pub(crate) fn export(
    lua: &Path,
    scripts: &[Script],
    start: &Start,
    contract: &Contract,
) -> Result<String, String> {
    let fragment = |name: &str| read(&lua.join(format!("lib/{name}.lua")));
    let (record, entries) = (fragment("freeze")? + &fragment("record")?, fragment("entries")?);
    let operations = scripts.iter().map(operation).collect::<Result<_, _>>()?;
    let other_records = other_formats(&record).map(|format| {
        let record = Layout::read(&record, &entries, &format!("RECORD_{format}_HEADER"))?;
        Ok(OtherRecord { record_format: format, record })
    });
    json(&Bundle {
        schema: SCHEMA,
        license: env!("CARGO_PKG_LICENSE"),
        bundle: FORM,
        contract: contract.contract,
        accepts: &contract.accepts,
        record_format: record_format(&record)?,
        record: Layout::read(&record, &entries, "RECORD_HEADER")?,
        other_records: other_records.collect::<Result<_, String>>()?,
        lease: Lease::read(&read(&lua.join("lib/lease.lua"))?)?,
        keys: KEYS.map(|(name, kind, pattern)| (name, NamedKey { kind, pattern })).into(),
        unnamed: UNNAMED,
        unnamed_events: EVENTS,
        start,
        nothing_written: NOTHING_WRITTEN,
        operations,
    })
}

fn operation(script: &Script) -> Result<(&str, Operation<'_>), String> {
    let Script { header, source, general: _ } = script;
    let operation = Operation {
        summary: &header.summary,
        keys: &header.keys,
        arguments: &header.arguments,
        names: names_besides_arguments(header),
        group: header.group.as_ref(),
        replies: &header.replies,
        needs: header.needs.iter().map(|need| supply(header, need)).collect(),
        moved: moved(header),
        writes: header.writes != NOTHING,
        events: events(header),
        effect: effect(header),
        again: &header.again,
        commands: commands(source)?,
        sha1: script.sha1(),
        source,
    };
    Ok((header.stem.as_str(), operation))
}

/// The stream of the partition, the expiry index, which the script keeps as long as the stream, and the stream of each node whose index
/// the call declares.
fn events(header: &Header) -> Option<Events<'_>> {
    let told = header.events.as_deref()?;
    let key = |name: &str, kind: &str, pattern: String| Key {
        name: name.to_owned(),
        kind: kind.to_owned(),
        pattern,
        access: Access::ReadWrite,
        note: String::new(),
    };
    let stream =
        |index: &Key| Some(key(&format!("{}_events", index.name), "stream", node_stream(&index.pattern)?));
    let own = [key("events", "stream", EVENTS.to_owned()), key("expiry", "zset", EXPIRY.to_owned())];
    let of_member = header.group.iter().flat_map(|group| &group.keys);
    Some(Events {
        keys: own.into_iter().chain(header.keys.iter().filter_map(stream)).collect(),
        of_member: of_member.filter_map(stream).collect(),
        told,
    })
}

fn is_argument(header: &Header, name: &str) -> bool {
    header.arguments.iter().any(|argument| argument.name == name)
}

fn names_besides_arguments(header: &Header) -> Vec<&str> {
    let names = header.keys.iter().flat_map(|key| names(&key.pattern));
    names.filter(|name| !is_argument(header, name)).collect()
}

fn moved(header: &Header) -> Option<&'static str> {
    let reply = header.replies.iter().find(|reply| reply.word == "moved")?;
    Some(if reply.note.starts_with("call again with it") { "follow" } else { "answer" })
}

/// As in `src/redis/script.rs`: whether a call whose reply was lost can be retried, and what it would answer.
pub fn effect(header: &Header) -> &'static str {
    match header.again.as_str() {
        "reads again." => "reads",
        again if again.contains("reported once") => "reported_once",
        again if again.starts_with("same op_id") => "noted",
        _ => "repeatable",
    }
}

fn supply<'a>(header: &'a Header, need: &'a Need) -> Supply<'a> {
    let run = run(need);
    let by_ids = run.is_none() && !need.rest.is_empty();
    let is_set = |name: &&str| run.is_none() && is_argument(header, name);
    Supply {
        kind: &need.kind,
        fields: &need.fields,
        rest: &need.rest,
        set: need.fields.iter().map(|field| field.name.as_str()).filter(is_set).collect(),
        declare: header.group.as_ref().filter(|_| by_ids).map(|group| group.name.as_str()),
        run,
        note: &need.note,
    }
}

/// Reads the note of a `need` that runs another operation: `run delete_user of <user> for these`. Its argument has the
/// same name there, without `new_`.
fn run(need: &Need) -> Option<Run<'_>> {
    let (operation, _) = need.note.strip_prefix("run ")?.split_once(' ')?;
    let fields = need.rest.iter().flat_map(|repeat| &repeat.fields).chain(&need.fields);
    let arguments = names(&need.note).map(|own| (own.trim_start_matches("new_"), own)).collect();
    Some(Run { operation, ids: &fields.into_iter().next()?.name, arguments })
}
