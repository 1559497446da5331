//! Each index entry has its record, each record its entries, every key a TTL.

use std::collections::BTreeMap;

use cloakroom::testing::Stored as Kept;
use redis::Value;

use super::context::Context;
use super::record::{LIVE, Stored};
use super::spread::Spread;

/// The stored state of a namespace, read apart by what the keys are.
#[derive(Default)]
struct State {
    records: BTreeMap<String, Stored>,
    /// By suffix of the key: (user or node key) → id → score.
    owners: BTreeMap<String, BTreeMap<String, u64>>,
    expiry: BTreeMap<String, u64>,
    migrations: BTreeMap<String, u64>,
    pointers: BTreeMap<String, String>,
    /// Ends of leases, by node: as the list of the nodes has them, and as each lease says.
    nodes: BTreeMap<String, u64>,
    /// Until when each is listed.
    kept: BTreeMap<String, u64>,
    leases: BTreeMap<String, u64>,
    ttls: BTreeMap<String, i64>,
}

/// All that is wrong in a namespace, a line each. Nobody may write to it meanwhile.
pub(crate) async fn violations(context: &Context) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(snapshot) = context.snapshot() {
        let state = of_snapshot(context, snapshot, &mut found);
        check_all(context, &state, &mut found);
        return found;
    }
    let (partitions, mut keys) = (context.partitions(), context.all_keys().await);
    for (partition, tag) in (0..).zip(partitions.tags()) {
        let prefix = format!("{tag}:");
        let here = keys.extract_if(.., |key| key.starts_with(&prefix)).collect();
        let state = read(context, &prefix, here, &mut found).await;
        check_all(context, &state, &mut found);
        check_place(&partitions, partition, &state, &mut found);
    }
    found.extend(keys.into_iter().map(|key| format!("{key} is in no partition")));
    found
}

/// All is in the partition of its id, and of its user.
fn check_place(partitions: &Spread, partition: u16, state: &State, found: &mut Vec<String>) {
    for (id, record) in &state.records {
        if partitions.of(id) != partition {
            found.push(format!("session {id} is in partition {partition}"));
        }
        let is_of_user = record.kind == LIVE && !record.user.is_empty();
        if is_of_user && partitions.of(&record.user) != partition {
            found.push(format!("session {id} of {} is in partition {partition}", record.user));
        }
    }
}

/// All that is wrong in a partition.
fn check_all(context: &Context, state: &State, found: &mut Vec<String>) {
    check_ttls(context, state, found);
    check_records(state, found);
    check_entries(state, found);
    if state.nodes != state.leases {
        found.push(format!("nodes are listed as {:?}, and their leases {:?}", state.nodes, state.leases));
    }
    if !state.nodes.keys().eq(state.kept.keys()) {
        found.push(format!("nodes are listed as {:?}, and kept as {:?}", state.nodes, state.kept));
    }
    check_migrations(state, found);
}

async fn read(context: &Context, prefix: &str, keys: Vec<String>, found: &mut Vec<String>) -> State {
    let mut state = State::default();
    for chunk in keys.chunks(500) {
        let mut pipeline = redis::pipe();
        for key in chunk {
            pipeline.cmd("PTTL").arg(key);
            let rest = &key[prefix.len()..];
            if rest.starts_with("aside:") {
                pipeline.cmd("EXISTS").arg(key);
                continue;
            }
            let is_string = rest.starts_with("session:") || rest.starts_with("connection:");
            if is_string || rest == "contract" || lease_of(rest).is_some() {
                pipeline.cmd("GET").arg(key);
            } else {
                pipeline.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES");
            }
        }
        let values: Vec<Value> = pipeline.query_async(&mut context.raw()).await.unwrap();
        for (key, pair) in chunk.iter().zip(values.chunks(2)) {
            let rest = key[prefix.len()..].to_owned();
            let ttl: i64 = redis::from_redis_value(pair[0].clone()).unwrap();
            if ttl == -2 {
                continue; // went between SCAN and here
            }
            state.ttls.insert(rest.clone(), ttl);
            sort_in(&mut state, rest, kept(pair[1].clone()), found);
        }
    }
    state
}

/// Whose lease a key has.
fn lease_of(rest: &str) -> Option<&str> {
    rest.strip_prefix("node:").and_then(|rest| rest.strip_suffix(":lease"))
}

/// A value as the server gives it.
fn kept(value: Value) -> Kept {
    match value {
        Value::BulkString(bytes) => Kept::String(bytes),
        pairs => {
            let pairs: Vec<(String, f64)> = redis::from_redis_value(pairs).unwrap();
            Kept::SortedSet(pairs.into_iter().map(|(id, score)| (id, score as u64)).collect())
        }
    }
}

/// In memory nothing has a TTL.
fn of_snapshot(context: &Context, snapshot: BTreeMap<String, Kept>, found: &mut Vec<String>) -> State {
    let mut state = State::default();
    let prefix = context.key("");
    for (key, kept) in snapshot {
        sort_in(&mut state, key[prefix.len()..].to_owned(), kept, found);
    }
    state
}

fn sort_in(state: &mut State, rest: String, kept: Kept, found: &mut Vec<String>) {
    let connection = rest.strip_prefix("connection:").and_then(|rest| rest.strip_suffix(":session"));
    let is_owner = (rest.starts_with("user:") || rest.starts_with("node:")) && rest.ends_with(":sessions");
    match kept {
        Kept::String(bytes) if rest.starts_with("session:") => {
            let id = rest["session:".len()..].to_owned();
            state.records.insert(id, Stored::parse(&bytes));
        }
        Kept::String(bytes) if connection.is_some() => {
            let connection = connection.unwrap().to_owned();
            state.pointers.insert(connection, String::from_utf8(bytes).unwrap());
        }
        Kept::SortedSet(members) if is_owner => {
            state.owners.insert(rest, members.into_iter().collect());
        }
        Kept::String(bytes) if rest == "contract" => {
            let noted = String::from_utf8_lossy(&bytes);
            if !["1", "1 16", "1 1 token", "1 16 token"].contains(&&*noted) {
                found.push(format!("contract is {noted:?}"));
            }
        }
        Kept::String(bytes) if lease_of(&rest).is_some() => match bytes.get(8..16).map(<[u8; 8]>::try_from) {
            Some(Ok(deadline)) if bytes.len() == 24 => {
                let node = lease_of(&rest).unwrap().to_owned();
                state.leases.insert(node, u64::from_be_bytes(deadline));
            }
            _ => found.push(format!("{rest} is no lease: {bytes:?}")),
        },
        Kept::SortedSet(members) if rest == "nodes" => state.nodes = members.into_iter().collect(),
        Kept::SortedSet(members) if rest == "nodes:kept" => state.kept = members.into_iter().collect(),
        // What is set aside is as it was, and looked at by nobody.
        _ if rest.starts_with("aside:") => {}
        Kept::SortedSet(members) if rest == "expiry" => state.expiry = members.into_iter().collect(),
        Kept::SortedSet(members) if rest == "migrations" => state.migrations = members.into_iter().collect(),
        kept => found.push(format!("a key that is not in the key table: {rest}: {kept:?}")),
    }
}

/// Every key goes by itself, and no index before a session that it leads to.
fn check_ttls(context: &Context, state: &State, found: &mut Vec<String>) {
    for (key, ttl) in &state.ttls {
        if *ttl < 0 {
            found.push(format!("{key} has no TTL"));
        }
    }
    let lag = context.clock_lag_ms() + 50; // and what passes between two readings
    let now = i64::try_from(context.clock.now_ms()).unwrap();
    let mut outlives = |key: String, id: &str, record: &Stored| {
        let (index, kept) = (state.ttls.get(&key), state.ttls.get(&format!("session:{id}")));
        if let (Some(index), Some(kept)) = (index, kept) {
            // A test's clock that is moved on leaves TTLs that run by the server's as they are: a record that was
            // written before has longer than it needs, and an index that was written after has what it needs.
            let needed = i64::try_from(record.stored_until).unwrap().saturating_sub(now).min(*kept);
            if index + lag < needed {
                found.push(format!("{key} goes in {index} ms, before session {id} in {needed} ms"));
            }
        }
    };
    for (id, record) in state.records.iter().filter(|(_, record)| record.kind == LIVE) {
        outlives("expiry".to_owned(), id, record);
        if record.task().is_some() {
            outlives("migrations".to_owned(), id, record);
        }
        for key in owner_keys(record) {
            outlives(key, id, record);
        }
        if !record.connection.is_empty() {
            outlives(format!("connection:{}:session", record.connection), id, record);
        }
    }
    for node in state.leases.keys() {
        let lease = state.ttls.get(&format!("node:{node}:lease"));
        if let (Some(nodes), Some(lease)) = (state.ttls.get("nodes"), lease)
            && nodes + lag < *lease
        {
            found.push(format!("nodes goes in {nodes} ms, before the lease of {node} in {lease} ms"));
        }
    }
    if let Some(mark) = state.expiry.get("")
        && state.expiry.iter().any(|(id, score)| !id.is_empty() && score > mark)
    {
        found.push(format!("{}: an entry sorts behind the expiry index's own note", context.namespace));
    }
}

fn owner_keys(record: &Stored) -> Vec<String> {
    let mut keys = Vec::new();
    if !record.user.is_empty() {
        keys.push(format!("user:{}:sessions", record.user));
    }
    if !record.node.is_empty() {
        keys.push(format!("node:{}:sessions", record.node));
    }
    keys
}

/// Each record has its entries.
fn check_records(state: &State, found: &mut Vec<String>) {
    for (id, record) in state.records.iter().filter(|(_, record)| record.kind == LIVE) {
        if state.expiry.get(id) != Some(&record.expires_at) {
            let entry = state.expiry.get(id);
            found.push(format!(
                "session {id} expires at {} and its expiry entry says {entry:?}",
                record.expires_at
            ));
        }
        for key in owner_keys(record) {
            if state.owners.get(&key).and_then(|owner| owner.get(id)) != Some(&record.created_at) {
                found.push(format!("session {id} is not in {key}"));
            }
        }
        if !record.connection.is_empty() && state.pointers.get(&record.connection) != Some(id) {
            found.push(format!("connection {} does not point to session {id}", record.connection));
        }
        if record.deadline > 0 && record.expires_at > record.deadline {
            found.push(format!("session {id} expires after its deadline"));
        }
        if record.stored_until < record.expires_at {
            found.push(format!("session {id} is stored shorter than it lives"));
        }
        if record.stored_until < record.copies_until {
            found.push(format!("session {id} is stored shorter than a copy of it may be"));
        }
    }
}

/// Each session that is on its way is in the list of them, by the end of its freeze. An entry may outlive that.
fn check_migrations(state: &State, found: &mut Vec<String>) {
    for (id, record) in state.records.iter().filter(|(_, record)| record.task().is_some()) {
        let until = state.migrations.get(id);
        let is_told = record.freeze.as_ref().map_or(until.is_some(), |freeze| until == Some(&freeze.until));
        if !is_told {
            found.push(format!("session {id} is on its way, and its entry in the list says {until:?}"));
        }
    }
}

/// Each entry has its record.
fn check_entries(state: &State, found: &mut Vec<String>) {
    let live = |id: &str| state.records.get(id).filter(|record| record.kind == LIVE);
    for id in state.expiry.keys().filter(|id| !id.is_empty() && live(id).is_none()) {
        found.push(format!("expiry leads to {id}, which is no session"));
    }
    for (key, owner) in &state.owners {
        for id in owner.keys() {
            if !live(id).is_some_and(|record| owner_keys(record).contains(key)) {
                found.push(format!("{key} leads to {id}, which is none of its sessions"));
            }
        }
    }
    for (connection, id) in &state.pointers {
        if live(id).is_none_or(|record| record.connection != *connection) {
            found.push(format!("connection {connection} leads to {id}, which does not have it"));
        }
    }
}
