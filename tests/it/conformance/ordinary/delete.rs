//! Random deletions, with the ordinary way and without.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Twins, forms, one_in, word_of};
use crate::conformance::case::Arguments;
use crate::conformance::exported;
use crate::support::Context;

/// A session's names: a user, a connection and a node, none or another of each.
fn any_names(id: &str) -> [String; 3] {
    let long = "n".repeat(fastrand::usize(1..=256));
    let name = |names: [&str; 4]| fastrand::choice(names).unwrap().to_owned();
    [
        name(["ann", "ann", "", "é"]),
        if one_in(4) { String::new() } else { format!("connection of {id}") },
        name(["", "n", "n", &long]),
    ]
}

/// A deletion of a session, mostly by its names, with whatever a call may say.
fn any_delete(now: u64, id: &str, names: &[String; 3]) -> Arguments {
    let [user, connection, node] = if one_in(6) { &any_names(id) } else { names };
    let op_id = match fastrand::u8(..10) {
        0 => String::new(),
        1 => "0000000000000001".to_owned(),
        2 => "0000000000000000".to_owned(),
        _ => format!("{:016x}", fastrand::u64(1..)),
    };
    let tombstone = fastrand::choice([0, 30_000, 30_000, 300_000, 3_600_000, 1_u64 << 45]).unwrap();
    let mut values = json!({ "now_ms": now, "op_id": op_id, "id": id, "user": user, "connection": connection,
        "node": node, "tombstone_ms": tombstone });
    if one_in(8) {
        values["as_node"] = json!(node);
        values["lease_id"] = json!("0000000000000001");
    }
    serde_json::from_value(values).unwrap()
}

/// Puts in the way of both what may be there at worst.
async fn plant(twins: &Twins<'_>, names: &[String; 3]) {
    let [user, connection, node] = names;
    let keys = [
        "expiry".to_owned(),
        format!("user:{user}:sessions"),
        format!("node:{node}:sessions"),
        format!("connection:{connection}:session"),
        "session:s".to_owned(),
    ];
    let key = fastrand::choice(&keys).unwrap();
    twins.plant(key, "DEL", &[]).await;
    if one_in(2) {
        twins.plant(key, "HSET", &["field", "value"]).await;
    } else if key == &keys[3] {
        twins.plant(key, "SET", &["another"]).await;
    }
}

#[tokio::test]
async fn random_deletions_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let deletes = forms(&context, "delete").await;
    let create: String = context.command(&["SCRIPT", "LOAD", &bundle.operations["create"].source]).await;
    let namespace = context.namespace.clone();
    let mut words = BTreeMap::<String, u32>::new();
    for round in 0..400 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle };
        let sessions = ["s", "t"].map(|id| (id, any_names(id)));
        for (id, [user, connection, node]) in &sessions {
            let entries =
                json!([{ "kind": "attribute", "key": "a", "json": format!("\"{}\"", "x".repeat(200)) }]);
            let made = json!({ "now_ms": 1_000_000, "op_id": "0000000000000001", "id": id, "user": user,
                "connection": connection, "node": node, "status": fastrand::choice(["active", "suspended"]),
                "ttl_ms": 1_800_000, "lifetime_ms": 0, "grace_ms": 7_200_000, "tombstone_ms": 30_000, "limit": 0,
                "policy": "reject", "entries": entries });
            let made: Arguments = serde_json::from_value(made).unwrap();
            assert!(twins.both("create", [&create, &create], &made).await.iter().all(Result::is_ok));
        }
        if one_in(3) {
            plant(&twins, &sessions[0].1).await;
        }
        let mut now = 1_000_000;
        for _ in 0..4 {
            now += fastrand::choice([0, 1, 50, 70_000, 1_900_000]).unwrap();
            let (id, names) = fastrand::choice(&sessions).unwrap();
            let values = any_delete(now, id, names);
            let [one, other] = twins.both("delete", [&deletes[0], &deletes[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            twins.assert_same(&values).await;
            *words.entry(word_of(&one)).or_default() += 1;
        }
    }
    for word in ["ok", "missing", "need", "corrupt", "fenced", "an error"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
