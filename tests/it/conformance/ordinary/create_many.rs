//! Random batches of creates, with the ordinary way and without.

use std::collections::BTreeMap;

use redis::Value as Reply;
use serde_json::{Value, json};

use super::{Twins, forms, one_in, word_of};
use crate::conformance::case::Arguments;
use crate::conformance::exported;
use crate::support::Context;

fn any(choices: &[&'static str]) -> &'static str {
    fastrand::choice(choices.iter().copied()).unwrap()
}

/// One of twelve sessions, so that some are there already, with whatever a call may say.
fn any_member() -> Value {
    let entries = (0..fastrand::usize(..4)).map(|_| {
        let json =
            if one_in(60) { String::new() } else { format!("\"{}\"", "x".repeat(fastrand::usize(..400))) };
        json!({ "kind": any(&["attribute", "extension"]), "key": any(&["a", "b", "long key"]), "json": json })
    });
    let entries: Vec<Value> = entries.collect();
    json!({
        "id": if one_in(40) { "ü".to_owned() } else { format!("s-{}", fastrand::u8(..12)) },
        "user": any(&["", "ann", "bob", if one_in(10) { "zoë" } else { "carl" }]),
        "connection": if one_in(3) { String::new() } else { format!("c-{}", fastrand::u8(..20)) },
        "node": any(&["", "n", "m"]),
        "op_id": if one_in(40) { String::new() } else { format!("{:016x}", fastrand::u64(1..)) },
        "status": any(&["active", "suspended"]),
        "ttl_ms": if one_in(60) { 0 } else { fastrand::choice([1000, 50_000, 300_000]).unwrap() },
        "entries": entries,
    })
}

fn any_batch(now: u64) -> Arguments {
    let members: Vec<Value> = (0..fastrand::usize(..4)).map(|_| any_member()).collect();
    let values = json!({
        "now_ms": now,
        "bound_ms": if one_in(4) { json!("") } else { json!(now - fastrand::choice([0, 50, 29_999, 30_000]).unwrap()) },
        "lifetime_ms": fastrand::choice([0, 0, 500, 400_000]).unwrap(),
        "grace_ms": if one_in(6) { 270_000 } else { 90_000 },
        "tombstone_ms": if one_in(40) { 0 } else { 30_000 },
        "session": members,
    });
    serde_json::from_value(values).unwrap()
}

impl Twins<'_> {
    /// Does the same to both: what is left of a half, or none of ours.
    async fn plant_before_a_batch(&self) {
        let command: &[&str] = match fastrand::u8(..9) {
            0 => &["DEL", "session:s-1"],
            1 => &["SET", "user:bob:sessions", "foreign", "PX", "600000"],
            2 => &["SET", "node:m:sessions", "foreign", "PX", "600000"],
            3 => &["SET", "expiry", "foreign", "PX", "600000"],
            4 => &["PEXPIRE", "user:ann:sessions", "60000"],
            5 => &["PERSIST", "node:n:sessions"],
            6 => &["ZADD", "expiry", "2000000", "s-2"],
            7 => &["SET", "connection:c-3:session", "s-9", "PX", "600000"],
            _ => &["DEL", "expiry"],
        };
        self.plant(command[1], command[0], &command[2..]).await;
    }
}

#[tokio::test]
async fn random_batches_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let batches = forms(&context, "create_many").await;
    let namespace = context.namespace.clone();
    let (mut words, mut whole, mut in_parts) = (BTreeMap::<String, u32>::new(), 0, 0);
    for round in 0..150 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle };
        let mut now = 1_000_000;
        for _ in 0..8 {
            now += fastrand::choice([0, 1, 700, 30_000]).unwrap();
            if one_in(4) {
                twins.plant_before_a_batch().await;
            }
            let values = any_batch(now);
            let [one, other] = twins.both("create_many", [&batches[0], &batches[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            twins.assert_same(&values).await;
            *words.entry(word_of(&one)).or_default() += 1;
            if let Ok(Reply::Array(items)) = one {
                let places = values["session"].as_array().unwrap().len();
                whole += u32::from(items.len() == 2 && places > 0);
                in_parts += u32::from(items.len() > 2 && items.len() < 2 + places);
            }
        }
    }
    assert!(whole > 100 && in_parts > 20, "{whole} whole, {in_parts} in parts");
    for word in ["ok", "an error"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
