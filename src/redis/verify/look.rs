//! Looks at some keys, by commands that each read one, for anything that may be wrong. Others write meanwhile, so a
//! script must judge it.

use redis::{Pipeline, Value};

use crate::model::{IndexFields, Result};
use crate::redis::call::Call;
use crate::redis::stored_id::{StoredId, told};
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::looked::{Come, Looked, Walk, of_key, parsed, sha1, unknown};
use crate::redis::verify::records::{Seen, look_at_records, read_the_rest};
use crate::redis::verify::subject::{About, Subject};
use crate::redis::verify::violation::Violation;
use crate::stored::key_kind::KeyKind;
use crate::stored::keys::Keys;
use crate::stored::lease::Lease;
use crate::stored::partitions::Partition;
use crate::stored::record::Head;

/// How many bytes of a record hold its owners: the header, and a user, a connection and a node.
const ROUTING_BYTES: usize = 870;

/// How many entries' records are read at once.
const ENTRIES: usize = 250;

/// An entry of an index, or a pointer, and where it was found.
struct Entry {
    partition: Partition,
    id: StoredId,
    of: KeyKind,
}

/// Reads some keys, and the entries that lead to and from them.
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

/// Records what one key shows by itself, and what else must be read for it.
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
    // For an index or a record without a TTL, the time that it must last is known only after it was read.
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

/// Takes in a page of an index. Returns what is left to do: read on, or judge its TTL after the last page.
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
            // The entry that holds the expiry index's own TTL.
            longest = longest.max(score as u64);
        }
    }
    let walk = Walk { cursor, longest, ..walk };
    let is_done = walk.cursor == b"0" && walk.has_ttl;
    Ok((!is_done).then_some(walk))
}

/// Reads the records of entries, and those that an index without a TTL leads to.
async fn look_at_entries(call: &Call, looked: &mut Looked, entries: Vec<Entry>) -> Result<()> {
    let mut rest = entries.into_iter();
    loop {
        let some: Vec<Entry> = rest.by_ref().take(ENTRIES).collect();
        if some.is_empty() {
            break;
        }
        look_at_some(call, looked, some).await?;
    }
    // After its last page it is known how long an index without a TTL must last.
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
        // Foreign or corrupt records are reported where the walk meets them.
        let Some(answer) = answer else { continue };
        let bytes: Vec<u8> = parsed(answer)?;
        let head = Head::decode(&bytes).or_else(|| bytes.is_empty().then(Head::default));
        if let Some(head) = head {
            look_at_entry(call, looked, entry, &head);
        }
    }
    Ok(())
}

/// Checks, by the beginning of the record, whether an entry leads to a session that it belongs to.
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
    // No script accepts such an id.
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
