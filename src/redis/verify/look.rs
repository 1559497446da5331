//! A look at some keys, by commands that each read one: what may be wrong there. Others write meanwhile, so that a script
//! has to judge it.

use std::collections::BTreeMap;

use redis::{Pipeline, Value};

use crate::model::{Error, IndexFields, Result, SessionId, ms};
use crate::redis::bulk::BYTES_PER_READ;
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::subject::{About, Subject, Suspect};
use crate::redis::verify::violation::Violation;
use crate::stored::key_kind::KeyKind;
use crate::stored::keys::Keys;
use crate::stored::lease::Lease;
use crate::stored::partitions::Partition;
use crate::stored::record::{Head, Record};

/// How much of a record tells whose it is: the header, and a user, a connection and a node.
const ROUTING_BYTES: usize = 870;

/// How much earlier a key may go, in milliseconds, as the scripts have it.
const SLACK_MS: i64 = 1000;

/// The same of a record and the time that stands in it.
const LATE_MS: u64 = 60_000;

/// How many records of entries are asked for at once.
const ENTRIES: usize = 250;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// A key that was come by.
#[derive(Clone, Debug)]
pub(crate) struct Come {
    pub(crate) partition: Partition,
    pub(crate) key: Vec<u8>,
    pub(crate) kind: KeyKind,
}

/// An index, and how far it was read.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    come: Come,
    cursor: Vec<u8>,
    has_ttl: bool,
    /// The last of the times until which its sessions are kept, as far as it was read.
    longest: u64,
}

/// What came of a look.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) suspects: Vec<Suspect>,
    /// What needs no second look: no script writes it.
    pub(crate) violations: Vec<Violation>,
    /// Indexes that have more.
    pub(crate) walks: Vec<Walk>,
    pub(crate) sessions: u64,
    pub(crate) entries: u64,
}

impl Looked {
    fn suspect(&mut self, partition: Partition, about: About, subject: Subject) {
        self.suspects.push(Suspect { partition, subject, about });
    }
}

/// A record that was read, and how long its key lasts.
struct Seen {
    partition: Partition,
    id: SessionId,
    ttl: i64,
    bytes: Vec<u8>,
}

/// An entry of an index, or a pointer, and how it was come by.
struct Entry {
    partition: Partition,
    id: StoredId,
    of: KeyKind,
}

/// Reads some keys, and what leads to and from them.
pub(crate) async fn look(call: &Call, keys: Vec<Come>, members: usize, now: u64) -> Result<Looked> {
    let mut pipeline = Pipeline::with_capacity(2 * keys.len());
    for Come { key, kind, .. } in &keys {
        pipeline.cmd("PTTL").arg(key);
        match kind {
            KeyKind::Session(_) => pipeline.cmd("GETRANGE").arg(key).arg(0).arg(Head::BYTES - 1),
            KeyKind::Connection(_) | KeyKind::Lease(_) => pipeline.cmd("GET").arg(key),
            KeyKind::User(_) | KeyKind::Node(_) | KeyKind::Expiry | KeyKind::Nodes | KeyKind::Kept => {
                pipeline.cmd("ZSCAN").arg(key).arg(0).arg("COUNT").arg(members)
            }
            KeyKind::Migrations | KeyKind::Events | KeyKind::Aside | KeyKind::Contract => {
                pipeline.cmd("TYPE").arg(key)
            }
        };
    }
    let mut answers = call.read_any(pipeline).await?.into_iter();
    let (mut looked, mut seen, mut entries) = (Looked::default(), Vec::new(), Vec::new());
    for come in keys {
        let (Some(ttl), Some(answer)) = (answers.next(), answers.next()) else { break };
        let ttl: i64 = parsed(ttl.unwrap_or(Value::Int(-2)))?;
        if ttl == -2 {
            continue; // it went
        }
        come_by(call, &mut looked, (&mut seen, &mut entries), come, ttl, answer)?;
    }
    read_the_rest(call, &mut seen).await?;
    look_at_records(call, &mut looked, seen, now).await?;
    look_at_entries(call, &mut looked, entries).await?;
    Ok(looked)
}

/// Reads on in an index.
pub(crate) async fn look_on(call: &Call, walk: Walk, members: usize) -> Result<Looked> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZSCAN").arg(&walk.come.key).arg(&walk.cursor).arg("COUNT").arg(members);
    let answer = call.read_any(pipeline).await?.pop().flatten();
    let (mut looked, mut entries) = (Looked::default(), Vec::new());
    let Some(page) = answer else { return Ok(looked) };
    let walk = page_of(&mut looked, &mut entries, walk, page)?;
    looked.walks.extend(walk);
    look_at_entries(call, &mut looked, entries).await?;
    Ok(looked)
}

/// Notes what one key says by itself, and what else is to be read for it.
fn come_by(
    call: &Call,
    looked: &mut Looked,
    (seen, entries): (&mut Vec<Seen>, &mut Vec<Entry>),
    come: Come,
    ttl: i64,
    answer: Option<Value>,
) -> Result<()> {
    let partition = come.partition;
    let Some(answer) = answer else {
        let subject = match &come.kind {
            KeyKind::Session(id) => Subject::Record {
                id: id.clone().into_bytes(),
                named: IndexFields::default(),
                found: String::new(),
                kind: ViolationKind::ForeignType,
            },
            _ => of_key(call, &come, 0, String::new()),
        };
        looked.suspect(partition, About::All, subject);
        return Ok(());
    };
    let is_index = matches!(
        come.kind,
        KeyKind::User(_) | KeyKind::Node(_) | KeyKind::Expiry | KeyKind::Nodes | KeyKind::Kept
    );
    if matches!(answer, Value::Nil) {
        return Ok(()); // it went
    }
    // How long an index without a TTL has to last is known when it was read, and of a record when that is read.
    if ttl == -1 && !is_index && !matches!(come.kind, KeyKind::Session(_)) {
        looked.suspect(partition, About::All, of_key(call, &come, 0, String::new()));
    }
    match &come.kind {
        KeyKind::Session(id) => match told(id.as_bytes()) {
            Some(id) => seen.push(Seen { partition, id, ttl, bytes: parsed(answer)? }),
            None => looked.violations.push(unknown(come.key)),
        },
        KeyKind::Connection(_) => {
            let id: StoredId = parsed(answer)?;
            if told(&id).is_some() {
                entries.push(Entry { partition, id, of: come.kind });
            } else {
                looked.suspect(partition, About::All, of_key(call, &come, 0, sha1(&id)));
            }
        }
        KeyKind::Lease(node) => {
            let lease: Vec<u8> = parsed(answer)?;
            let is_whole = Lease::decode(&lease).is_some();
            let subject = if is_whole {
                Subject::Node { node: node.clone().into_bytes() }
            } else {
                of_key(call, &come, 0, sha1(&lease))
            };
            looked.suspect(partition, About::All, subject);
        }
        _ if is_index => {
            let walk = Walk { come, cursor: Vec::new(), has_ttl: ttl != -1, longest: 0 };
            let walk = page_of(looked, entries, walk, answer)?;
            looked.walks.extend(walk);
        }
        KeyKind::Migrations | KeyKind::Events => {
            let stored: String = parsed(answer)?;
            if stored != come.kind.stored_type() {
                looked.suspect(partition, About::All, of_key(call, &come, 0, String::new()));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Takes in a page of an index. What is left to do in it: to read on, or to judge its TTL behind its last page.
fn page_of(looked: &mut Looked, entries: &mut Vec<Entry>, walk: Walk, page: Value) -> Result<Option<Walk>> {
    let (cursor, members): (Vec<u8>, Vec<(StoredId, f64)>) = parsed(page)?;
    looked.entries += members.len() as u64;
    let Come { partition, kind, .. } = &walk.come;
    let of_nodes = matches!(kind, KeyKind::Nodes | KeyKind::Kept);
    let mut longest = walk.longest;
    for (id, score) in members {
        if of_nodes {
            longest = longest.max(score as u64);
            looked.suspect(*partition, About::All, Subject::Node { node: id });
        } else if !(id.is_empty() && *kind == KeyKind::Expiry) {
            entries.push(Entry { partition: *partition, id, of: kind.clone() });
        } else {
            // The expiry index's note of its own TTL.
            longest = longest.max(score as u64);
        }
    }
    let walk = Walk { cursor, longest, ..walk };
    let is_done = walk.cursor == b"0" && walk.has_ttl;
    Ok((!is_done).then_some(walk))
}

/// Reads records whole of which only the beginning was read.
async fn read_the_rest(call: &Call, seen: &mut [Seen]) -> Result<()> {
    let large: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].bytes.len() == Head::BYTES).collect();
    let mut rest = large.as_slice();
    while !rest.is_empty() {
        let (mut pipeline, mut total, mut count) = (Pipeline::new(), 0, 0);
        for at in rest {
            let size = Head::decode(&seen[*at].bytes).map_or(Head::BYTES, |head| head.size);
            if total > 0 && total + size > BYTES_PER_READ {
                break;
            }
            pipeline
                .cmd("GET")
                .arg(call.partitions().keys(seen[*at].partition).session(seen[*at].id.as_str()));
            (total, count) = (total + size, count + 1);
        }
        let (now, later) = rest.split_at(count);
        for (at, bytes) in now.iter().zip(call.read_strings(pipeline).await?) {
            seen[*at].bytes = bytes;
        }
        rest = later;
    }
    Ok(())
}

/// Looks for what has to lead to each record.
async fn look_at_records(call: &Call, looked: &mut Looked, seen: Vec<Seen>, now: u64) -> Result<()> {
    let (mut pipeline, mut asked) = (Pipeline::new(), Vec::new());
    let mut homes: BTreeMap<Partition, usize> = BTreeMap::new();
    for Seen { partition, id, ttl, bytes } in seen {
        let Some((record, head)) = sound(call, looked, partition, &id, &bytes) else { continue };
        if ttl == -1 {
            let key = Come {
                partition,
                key: call.partitions().keys(partition).session(id.as_str()),
                kind: KeyKind::Session(id.as_str().to_owned()),
            };
            looked.suspect(partition, About::All, of_key(call, &key, head.stored_until, String::new()));
        }
        let (listed, is_session) = (record.listed(), head.created_at.is_some());
        looked.sessions += u64::from(is_session);
        let is_short =
            ttl >= 0 && (ttl as u64).saturating_add(LATE_MS) < head.stored_until.saturating_sub(now);
        if is_short {
            looked.suspect(partition, About::Entry("record_short"), session(&id, head.index_fields.clone()));
        }
        if !is_session && listed.is_none() {
            continue;
        }
        let keys = call.partitions().keys(partition);
        if !homes.contains_key(&partition) {
            homes.insert(partition, pipeline.len());
            pipeline.cmd("PTTL").arg(keys.expiry()).cmd("ZSCORE").arg(keys.expiry()).arg("");
        }
        let at = pipeline.len();
        ask_for(&mut pipeline, keys, &id, &head, listed.is_some());
        asked.push((partition, id, ttl, head, listed, at));
    }
    let answers = call.read_any(pipeline).await?;
    for (partition, id, ttl, head, listed, at) in asked {
        let home = &answers[homes[&partition]..][..2];
        if !agrees(&id, &head, ttl, listed, home, &answers[at..]) {
            looked.suspect(partition, About::Record, session(&id, head.index_fields));
        }
    }
    Ok(())
}

/// A record, if it is one of ours that is where it belongs and leads where it may. Else notes what it is.
fn sound(
    call: &Call,
    looked: &mut Looked,
    partition: Partition,
    id: &SessionId,
    bytes: &[u8],
) -> Option<(Record, Head)> {
    let (partitions, head) = (call.partitions(), Head::decode(bytes));
    let record = Record::decode(id, bytes);
    let leads_nowhere = |record: &Record| match record.leads_to(bytes) {
        Ok(Some(to)) => {
            let stays = matches!(record, Record::Rotated { .. });
            to == id || (stays && partitions.of(to.as_str()) != partition)
        }
        Ok(None) => false,
        Err(()) => true,
    };
    let kind = match &record {
        None => Some(ViolationKind::Corrupt),
        Some(_) if partitions.of(id.as_str()) != partition => Some(ViolationKind::WrongPartition),
        Some(record) if leads_nowhere(record) => Some(ViolationKind::WrongPointer),
        Some(_) => None,
    };
    if let Some(kind) = kind {
        let named = head.map(|head| head.index_fields).filter(is_named_rightly).unwrap_or_default();
        let id = id.as_str().as_bytes().to_vec();
        looked.suspect(partition, About::All, Subject::Record { id, named, found: sha1(bytes), kind });
        return None;
    }
    let head = head?;
    if !head.index_fields.user.is_empty() && partitions.of(&head.index_fields.user) != partition {
        let key = partitions.keys(partition).session(id.as_str());
        looked.violations.push(Violation { kind: ViolationKind::WrongPartition, key, mend: None });
    }
    Some((record?, head))
}

fn session(id: &SessionId, named: IndexFields<Vec<u8>>) -> Subject {
    Subject::Session { id: id.as_str().as_bytes().to_vec(), named, holder: Vec::new() }
}

/// What no script takes would not be mended.
fn is_named_rightly(fields: &IndexFields<Vec<u8>>) -> bool {
    [&fields.user, &fields.connection, &fields.node].iter().all(|name| name.len() <= 256)
}

/// Asks for what leads to a session: behind each entry for the TTL of what it is in.
fn ask_for(pipeline: &mut Pipeline, keys: &Keys, id: &SessionId, head: &Head, is_listed: bool) {
    let IndexFields { user, connection, node } = &head.index_fields;
    if head.created_at.is_some() {
        pipeline.cmd("ZSCORE").arg(keys.expiry()).arg(id.as_str());
    }
    for (name, key) in [(user, keys.user(user)), (node, keys.node(node))] {
        if !name.is_empty() {
            pipeline.cmd("ZSCORE").arg(&key).arg(id.as_str()).cmd("PTTL").arg(&key);
        }
    }
    if !connection.is_empty() {
        let key = keys.connection(connection);
        pipeline.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
    }
    if is_listed {
        let key = keys.migrations();
        pipeline.cmd("ZSCORE").arg(&key).arg(id.as_str()).cmd("PTTL").arg(&key);
    }
}

/// Whether all that leads to a session is as its record says, in the answers to that.
fn agrees(
    id: &SessionId,
    head: &Head,
    ttl: i64,
    listed: Option<Option<u64>>,
    home: &[Option<Value>],
    answers: &[Option<Value>],
) -> bool {
    let mut answers = answers.iter();
    let lasts = |answer: Option<&Option<Value>>| {
        let found = answer.and_then(|answer| number(answer)).unwrap_or(0.0) as i64;
        found < 0 || found + SLACK_MS >= ttl
    };
    let mut is_right = true;
    if let Some(created_at) = head.created_at {
        is_right &= answers.next().and_then(score) == Some(head.expires_at);
        is_right &= lasts(home.first()) && home.get(1).and_then(score) >= Some(head.expires_at);
        for name in [&head.index_fields.user, &head.index_fields.node] {
            if !name.is_empty() {
                is_right &= answers.next().and_then(score) == Some(created_at);
                is_right &= lasts(answers.next());
            }
        }
    }
    if !head.index_fields.connection.is_empty() {
        let pointer = answers.next().cloned().flatten();
        let points_here =
            matches!(pointer, Some(Value::BulkString(found)) if found == id.as_str().as_bytes());
        is_right &= points_here && lasts(answers.next());
    }
    if let Some(until) = listed {
        let found = answers.next().and_then(score);
        is_right &= found.is_some() && until.is_none_or(|until| found == Some(until));
        is_right &= head.created_at.is_none() || lasts(answers.next());
    }
    is_right
}

/// Looks for the records of entries, and at what an index without a TTL leads to.
async fn look_at_entries(call: &Call, looked: &mut Looked, entries: Vec<Entry>) -> Result<()> {
    let mut rest = entries.into_iter();
    loop {
        let some: Vec<Entry> = rest.by_ref().take(ENTRIES).collect();
        if some.is_empty() {
            break;
        }
        look_at_some(call, looked, some).await?;
    }
    // Behind its last page it is known how long an index without a TTL has to last.
    let (ended, more): (Vec<Walk>, Vec<Walk>) =
        std::mem::take(&mut looked.walks).into_iter().partition(|walk| walk.cursor == b"0");
    looked.walks = more;
    for walk in ended.into_iter().filter(|walk| !walk.has_ttl) {
        let subject = of_key(call, &walk.come, walk.longest, String::new());
        looked.suspect(walk.come.partition, About::All, subject);
    }
    Ok(())
}

async fn look_at_some(call: &Call, looked: &mut Looked, entries: Vec<Entry>) -> Result<()> {
    let mut pipeline = Pipeline::with_capacity(entries.len());
    for Entry { partition, id, .. } in &entries {
        let key = call.partitions().keys(*partition).session(id);
        pipeline.cmd("GETRANGE").arg(key).arg(0).arg(ROUTING_BYTES - 1);
    }
    for (entry, answer) in entries.into_iter().zip(call.read_any(pipeline).await?) {
        // What is foreign or corrupt is told where the record is come by.
        let Some(answer) = answer else { continue };
        let bytes: Vec<u8> = parsed(answer)?;
        let head = Head::decode(&bytes).or_else(|| bytes.is_empty().then(Head::default));
        if let Some(head) = head {
            look_at_entry(call, looked, entry, &head);
        }
    }
    Ok(())
}

/// Looks whether an entry leads to a session that has it, by the beginning of its record.
fn look_at_entry(call: &Call, looked: &mut Looked, entry: Entry, head: &Head) {
    let Entry { partition, id, of } = entry;
    let is_its = |walk: &&mut Walk| walk.come.partition == partition && walk.come.kind == of;
    if let Some(walk) = looked.walks.iter_mut().filter(|walk| !walk.has_ttl).find(is_its) {
        walk.longest = walk.longest.max(head.stored_until);
    }
    let (fields, mut named) = (&head.index_fields, IndexFields::default());
    let (is_right, word) = match of {
        KeyKind::User(user) => {
            named.user = user.into_bytes();
            (fields.user == named.user, "user_stray")
        }
        KeyKind::Node(node) => {
            named.node = node.into_bytes();
            (fields.node == named.node, "node_stray")
        }
        KeyKind::Connection(connection) => {
            named.connection = connection.into_bytes();
            (fields.connection == named.connection, "connection_stray")
        }
        _ => (true, "expiry_stray"),
    };
    if head.created_at.is_some() && is_right {
        return;
    }
    if (1..=128).contains(&id.len()) {
        looked.suspect(partition, About::Entry(word), Subject::Session { id, named, holder: Vec::new() });
        return;
    }
    // No script takes such an id.
    let key = index_of(call.partitions().keys(partition), &named);
    looked.violations.push(Violation { kind: ViolationKind::StrayEntry, key, mend: None });
}

/// The key that leads from a user, connection or node, or of the expiry index.
fn index_of(keys: &Keys, named: &IndexFields<Vec<u8>>) -> Vec<u8> {
    match named {
        IndexFields { user, .. } if !user.is_empty() => keys.user(user),
        IndexFields { connection, .. } if !connection.is_empty() => keys.connection(connection),
        IndexFields { node, .. } if !node.is_empty() => keys.node(node),
        _ => keys.expiry(),
    }
}

/// A key by itself, and how long it has to last if it has no TTL.
fn of_key(call: &Call, come: &Come, until: u64, found: String) -> Subject {
    let rest = call.partitions().keys(come.partition).behind_tag(&come.key).unwrap_or_default().to_vec();
    let grace_ms = ms(call.rules().grace);
    let least_ms = match come.kind {
        KeyKind::Contract => 315_360_000_000,
        KeyKind::Events => 14 * DAY_MS,
        KeyKind::Aside => 7 * DAY_MS,
        KeyKind::Lease(_) | KeyKind::Nodes | KeyKind::Kept => DAY_MS,
        _ => grace_ms,
    };
    // Of an index the next session finds that it lasts long enough, as it does where a script made it.
    let until = if come.kind.stored_type() == "zset" && until > 0 { until + grace_ms } else { until };
    Subject::Key { rest, stored_type: come.kind.stored_type(), until, least_ms, found }
}

pub(crate) fn unknown(key: Vec<u8>) -> Violation {
    Violation { kind: ViolationKind::UnknownKey, key, mend: None }
}

fn sha1(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).hexdigest()
}

fn parsed<T: redis::FromRedisValue>(value: Value) -> Result<T> {
    redis::from_redis_value(value).map_err(|_| Error::corrupt("reply to a look"))
}

fn number(answer: &Option<Value>) -> Option<f64> {
    redis::from_redis_value_ref::<Option<f64>>(answer.as_ref()?).ok().flatten()
}

fn score(answer: &Option<Value>) -> Option<u64> {
    number(answer).map(|score| score as u64)
}
