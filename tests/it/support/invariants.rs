//! Each index entry has its record, each record its entries, every key a TTL.

use std::collections::BTreeMap;

use redis::Value;

use super::context::Context;
use super::record::{LIVE, Stored};

/// The stored state of a namespace, read apart by what the keys are.
#[derive(Default)]
struct State {
    records: BTreeMap<String, Stored>,
    /// By suffix of the key: (user or node key) → id → score.
    owners: BTreeMap<String, BTreeMap<String, u64>>,
    expiry: BTreeMap<String, u64>,
    pointers: BTreeMap<String, String>,
    ttls: BTreeMap<String, i64>,
}

/// All that is wrong in a namespace, a line each. Nobody may write to it meanwhile.
pub(crate) async fn violations(context: &Context) -> Vec<String> {
    let mut found = Vec::new();
    let state = read(context, &mut found).await;
    check_ttls(context, &state, &mut found);
    check_records(&state, &mut found);
    check_entries(&state, &mut found);
    found
}

async fn read(context: &Context, found: &mut Vec<String>) -> State {
    let mut state = State::default();
    let prefix = context.key("");
    let keys = context.keys().await;
    for chunk in keys.chunks(500) {
        let mut pipeline = redis::pipe();
        for key in chunk {
            pipeline.cmd("PTTL").arg(key);
            let rest = &key[prefix.len()..];
            if rest.starts_with("session:") || rest.starts_with("connection:") {
                pipeline.cmd("GET").arg(key);
            } else {
                pipeline.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES");
            }
        }
        let values: Vec<Value> = pipeline.query_async(&mut context.raw.clone()).await.unwrap();
        for (key, pair) in chunk.iter().zip(values.chunks(2)) {
            let rest = key[prefix.len()..].to_owned();
            let ttl: i64 = redis::from_redis_value(pair[0].clone()).unwrap();
            if ttl == -2 {
                continue; // went between SCAN and here
            }
            state.ttls.insert(rest.clone(), ttl);
            sort_in(&mut state, rest, pair[1].clone(), found);
        }
    }
    state
}

fn sort_in(state: &mut State, rest: String, value: Value, found: &mut Vec<String>) {
    let pairs = |value: Value| -> BTreeMap<String, u64> {
        let pairs: Vec<(String, f64)> = redis::from_redis_value(value).unwrap();
        pairs.into_iter().map(|(id, score)| (id, score as u64)).collect()
    };
    if let Some(id) = rest.strip_prefix("session:") {
        let bytes: Vec<u8> = redis::from_redis_value(value).unwrap();
        state.records.insert(id.to_owned(), Stored::parse(&bytes));
    } else if let Some(connection) =
        rest.strip_prefix("connection:").and_then(|rest| rest.strip_suffix(":session"))
    {
        state.pointers.insert(connection.to_owned(), redis::from_redis_value(value).unwrap());
    } else if (rest.starts_with("user:") || rest.starts_with("node:")) && rest.ends_with(":sessions") {
        state.owners.insert(rest, pairs(value));
    } else if rest == "expiry" {
        state.expiry = pairs(value);
    } else {
        found.push(format!("a key that is not in the key table: {rest}"));
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
    let mut outlives = |key: String, id: &str| {
        let (index, record) = (state.ttls.get(&key), state.ttls.get(&format!("session:{id}")));
        // A key that was written again by the test's clock goes later than one that was not.
        if let (Some(index), Some(record)) = (index, record)
            && index + lag < *record
        {
            found.push(format!("{key} goes in {index} ms, before session {id} in {record} ms"));
        }
    };
    for (id, record) in state.records.iter().filter(|(_, record)| record.kind == LIVE) {
        outlives("expiry".to_owned(), id);
        for key in owner_keys(record) {
            outlives(key, id);
        }
        if !record.connection.is_empty() {
            outlives(format!("connection:{}:session", record.connection), id);
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
