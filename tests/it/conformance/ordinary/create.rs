//! Random creates, with the ordinary way and without.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Twins, forms, one_in, word_of};
use crate::conformance::case::Arguments;
use crate::conformance::exported;
use crate::support::Context;

fn any(choices: &[&'static str]) -> &'static str {
    fastrand::choice(choices.iter().copied()).unwrap()
}

/// The session that was last bound to each connection.
type Holders = BTreeMap<String, String>;

/// A create of one of four sessions at any time, with whatever a call may say.
fn any_create(now: u64, holders: &Holders) -> Arguments {
    let connection = any(&["", "", "c", "d"]);
    let holder = if one_in(4) { any(&["", "s"]) } else { holders.get(connection).map_or("", String::as_str) };
    let entries = (0..fastrand::usize(..4)).map(|_| {
        let json =
            if one_in(20) { String::new() } else { format!("\"{}\"", "x".repeat(fastrand::usize(..400))) };
        json!({ "kind": any(&["attribute", "extension"]), "key": any(&["a", "b", "long key"]), "json": json })
    });
    let entries: Vec<Value> = entries.collect();
    let operation = if one_in(4) { fastrand::u64(1..4) } else { fastrand::u64(1..) };
    let values = json!({
        "now_ms": now,
        "op_id": if one_in(12) { String::new() } else { format!("{operation:016x}") },
        "bound_ms": if one_in(4) { json!("") } else { json!(now - fastrand::choice([0, 50, 29_999, 30_000]).unwrap()) },
        "id": any(&["s", "t", "u", "ü"]),
        "user": any(&["", "ann", "bob", "zoë"]),
        "connection": connection,
        "node": any(&["", "n", "m"]),
        "holder_id": holder,
        "status": any(&["active", "suspended"]),
        "ttl_ms": if one_in(20) { 0 } else { fastrand::choice([1000, 50_000, 300_000]).unwrap() },
        "lifetime_ms": fastrand::choice([0, 0, 500, 400_000]).unwrap(),
        "grace_ms": if one_in(6) { 270_000 } else { 90_000 },
        "tombstone_ms": 30_000,
        "limit": if one_in(20) { 501 } else { fastrand::choice([0, 0, 0, 1, 2]).unwrap() },
        "policy": any(&["reject", "evict"]),
        "as_node": if one_in(10) { "n" } else { "" },
        "lease_id": if one_in(10) { "00000000000000aa" } else { "" },
        "entries": entries,
    });
    serde_json::from_value(values).unwrap()
}

impl Twins<'_> {
    /// Does the same to both: what is left of a half, or none of ours.
    async fn plant_any(&self) {
        let command: &[&str] = match fastrand::u8(..7) {
            0 => &["DEL", "session:s"],
            1 => &["SET", "user:bob:sessions", "foreign", "PX", "600000"],
            2 => &["SET", "node:m:sessions", "foreign", "PX", "600000"],
            3 => &["SET", "expiry", "foreign", "PX", "600000"],
            4 => &["PEXPIRE", "user:ann:sessions", "60000"],
            5 => &["ZADD", "expiry", "2000000", "t"],
            _ => &["DEL", "expiry"],
        };
        self.plant(command[1], command[0], &command[2..]).await;
    }
}

#[tokio::test]
async fn random_creates_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let creates = forms(&context, "create").await;
    let namespace = context.namespace.clone();
    let mut words = BTreeMap::<String, u32>::new();
    for round in 0..150 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle };
        let (mut now, mut holders) = (1_000_000, Holders::new());
        for _ in 0..12 {
            now += fastrand::choice([0, 1, 700, 30_000]).unwrap();
            if one_in(4) {
                twins.plant_any().await;
            }
            let values = any_create(now, &holders);
            let [one, other] = twins.both("create", [&creates[0], &creates[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            twins.assert_same(&values).await;
            let word = word_of(&one);
            if word == "ok" {
                let text = |name: &str| values[name].as_str().unwrap().to_owned();
                holders.insert(text("connection"), text("id"));
            }
            *words.entry(word).or_default() += 1;
        }
    }
    for word in ["ok", "exists", "unsure", "taken", "fenced", "need", "corrupt", "an error"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
