//! Random rotations, with the ordinary way and without.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Twins, forms, one_in, word_of};
use crate::conformance::case::Arguments;
use crate::conformance::exported;
use crate::support::Context;

fn any<'a>(choices: &[&'a str]) -> &'a str {
    fastrand::choice(choices.iter().copied()).unwrap()
}

/// A session as a test knows it: its id, user, connection and node.
type Known = [String; 4];

fn made(now: u64, [id, user, connection, node]: &Known) -> Arguments {
    let entries = json!([{ "kind": "attribute", "key": "a", "json": format!("\"{}\"", "x".repeat(fastrand::usize(..400))) }]);
    let values = json!({ "now_ms": now, "op_id": format!("{:016x}", fastrand::u64(1..)), "id": id, "user": user,
        "connection": connection, "node": node, "status": any(&["active", "suspended"]), "ttl_ms": 300_000,
        "lifetime_ms": 0, "grace_ms": 90_000, "tombstone_ms": 30_000, "limit": 0, "policy": "reject",
        "entries": if one_in(2) { entries } else { json!([]) } });
    serde_json::from_value(values).unwrap()
}

/// A rotation of a session at any time, with whatever a call may say.
fn any_rotation(now: u64, [id, user, connection, node]: &Known) -> Arguments {
    let operation = if one_in(4) { fastrand::u64(1..4) } else { fastrand::u64(1..) };
    let change = json!({ "kind": "attribute", "key": any(&["a", "b", "c"]), "json": any(&["", "1"]) });
    let values = json!({
        "now_ms": now,
        "op_id": if one_in(12) { String::new() } else { format!("{operation:016x}") },
        "id": id,
        "user": if one_in(12) { "bob" } else { user },
        "connection": if one_in(12) { "d" } else { connection },
        "node": node,
        "new_id": any(&["s", "t", "u", "v", "w", "ü"]),
        "new_user": if one_in(6) { "bob" } else if one_in(2) { user } else { "" },
        "grace_ms": 90_000,
        "rotation_grace_ms": 30_000,
        "tombstone_ms": 30_000,
        "limit": if one_in(20) { 501 } else { fastrand::choice([0, 0, 0, 2]).unwrap() },
        "policy": any(&["reject", "evict"]),
        "as_node": if one_in(10) { "n" } else { "" },
        "lease_id": if one_in(10) { "00000000000000aa" } else { "" },
        "becomes": if one_in(8) { "anonymous" } else { "" },
        "new_ttl_ms": if one_in(8) { json!(70_000) } else { json!("") },
        "new_lifetime_ms": fastrand::choice([json!(""), json!(""), json!(0), json!(90_000)]),
        "entries_bytes": if one_in(12) { 15_728_641 } else { 1000 },
        "entries_most": fastrand::choice([1, 1, 2]),
        "changes": if one_in(3) { json!([change]) } else { json!([]) },
    });
    serde_json::from_value(values).unwrap()
}

impl Twins<'_> {
    /// Does the same to both: an entry, an index, a pointer or a record is lost, or none of ours.
    async fn lose(&self, [id, ..]: &Known) {
        let record = format!("session:{id}");
        let command: &[&str] = match fastrand::u8(..10) {
            0 => &["DEL", "user:ann:sessions"],
            1 => &["DEL", "expiry"],
            2 => &["ZREM", "user:ann:sessions", id],
            3 => &["ZREM", "node:n:sessions", id],
            4 => &["ZREM", "expiry", id],
            5 => &["DEL", "connection:c:session"],
            6 => &["SET", "connection:c:session", "another", "PX", "600000"],
            7 => &["SET", "node:n:sessions", "foreign", "PX", "600000"],
            8 => &["SET", "expiry", "foreign", "PX", "600000"],
            _ => &["SETRANGE", &record, "2", "\u{3}"],
        };
        self.plant(command[1], command[0], &command[2..]).await;
    }
}

#[tokio::test]
async fn random_rotations_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let rotations = forms(&context, "rotate").await;
    let create: String = context.command(&["SCRIPT", "LOAD", &bundle.operations["create"].source]).await;
    let namespace = context.namespace.clone();
    let mut words = BTreeMap::<String, u32>::new();
    for round in 0..150 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle };
        let mut now = 1_000_000;
        let other = ["o", "ann", "", "n"].map(str::to_owned);
        let mut known = ["s", any(&["", "ann", "zoë"]), any(&["", "c"]), any(&["", "n"])].map(str::to_owned);
        for session in [&other, &known] {
            if session == &known || one_in(2) {
                assert!(
                    twins
                        .both("create", [&create, &create], &made(now, session))
                        .await
                        .iter()
                        .all(Result::is_ok)
                );
            }
        }
        for step in 0..10 {
            // With the last step it has expired.
            now += if step == 9 { 600_000 } else { fastrand::choice([0, 1, 700, 20_000]).unwrap() };
            if one_in(6) {
                twins.lose(&known).await;
            }
            let values = any_rotation(now, &known);
            let [one, other] = twins.both("rotate", [&rotations[0], &rotations[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            twins.assert_same(&values).await;
            let word = word_of(&one);
            if word == "ok" {
                known[0] = values["new_id"].as_str().unwrap().to_owned();
                let user = values["new_user"].as_str().unwrap();
                if values["becomes"] == "anonymous" || !user.is_empty() {
                    known[1] = user.to_owned();
                }
            }
            *words.entry(word).or_default() += 1;
        }
    }
    for word in ["ok", "exists", "missing", "large", "fenced", "need", "corrupt", "an error"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
