//! Random patches, with the ordinary way and without.

use std::collections::BTreeMap;

use redis::Value as Reply;
use serde_json::{Value, json};

use super::{Twins, forms};
use crate::conformance::case::Arguments;
use crate::conformance::exported;
use crate::support::Context;

/// A patch of one of four keys at any time, with whatever a call may say.
fn any_patch(now: u64, version: u64) -> Arguments {
    let one_in = |many: u8| fastrand::u8(..many) == 0;
    let sizes = [2, 2, 20, 20, 300, 511];
    let changes = (0..fastrand::usize(..4)).map(|_| {
        let (key, size) = (fastrand::choice(["a", "b", "c", "long key"]), fastrand::choice(sizes));
        let json = if one_in(4) { String::new() } else { format!("\"{}\"", "x".repeat(size.unwrap() - 2)) };
        json!({ "kind": fastrand::choice(["attribute", "extension"]), "key": key, "json": json })
    });
    let changes: Vec<Value> = changes.collect();
    let mut values = BTreeMap::from([
        ("now_ms", json!(now)),
        (
            "op_id",
            json!(format!("{:016x}", if one_in(8) { fastrand::u64(1..4) } else { fastrand::u64(1..) })),
        ),
        ("bound_ms", if one_in(8) { json!("") } else { json!(now - fastrand::u64(..120)) }),
        ("id", json!("s")),
        ("threshold", json!(fastrand::choice([1, 500, 999, 1000]))),
        ("touch_ms", json!(fastrand::choice([0, 0, 500, 40_000]))),
        ("grace_ms", json!(90_000)),
        ("entries_bytes", json!(if one_in(6) { fastrand::u64(..2500) } else { 1 << 20 })),
        ("entries_most", json!(if one_in(6) { fastrand::u64(3..12) } else { 1024 })),
        ("changes", json!(changes)),
    ]);
    if one_in(6) {
        values.insert("version", json!(version + u64::from(one_in(4))));
    }
    if one_in(10) {
        values.insert("status", json!(fastrand::choice(["active", "suspended"])));
    }
    if one_in(20) {
        values.insert("new_lifetime_ms", json!(fastrand::choice([0, 100_000])));
    }
    if one_in(3) {
        values.insert("user", json!("ann"));
    }
    if one_in(20) {
        values.extend([("ttl_ms", json!(60_000)), ("user", json!("ann"))]);
    }
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[tokio::test]
async fn random_patches_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let patches = forms(&context, "patch").await;
    let create: String = context.command(&["SCRIPT", "LOAD", &bundle.operations["create"].source]).await;
    let namespace = context.namespace.clone();
    let (mut words, mut is_compacted) = (BTreeMap::<String, u32>::new(), false);
    for round in 0..150 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle };
        let large =
            json!([{ "kind": "attribute", "key": "large", "json": format!("\"{}\"", "x".repeat(1500)) }]);
        let entries = if round % 3 == 0 { large } else { json!([]) };
        let made = json!({ "now_ms": 1_000_000, "op_id": "0000000000000001", "id": "s", "user": "ann",
            "status": "active", "ttl_ms": 50_000, "lifetime_ms": 0, "grace_ms": 90_000, "tombstone_ms": 30_000,
            "limit": 0, "policy": "reject", "entries": entries });
        let made: Arguments = serde_json::from_value(made).unwrap();
        assert!(twins.both("create", [&create, &create], &made).await.iter().all(Result::is_ok));
        let mut now = 1_000_000;
        for step in 0..40 {
            // With the last step it has expired.
            now += if step == 39 { 200_000 } else { fastrand::choice([0, 1, 50, 700, 3000]).unwrap() };
            let values = any_patch(now, step);
            let [one, other] = twins.both("patch", [&patches[0], &patches[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            let [left, right] = twins.records().await;
            assert!(left == right, "{values:?} leaves {left:?} and {right:?}");
            let record = left.unwrap();
            is_compacted |= record[9..12] == record[12..15] && step > 0;
            if let Ok(Reply::Array(items)) = one
                && let Reply::BulkString(word) = &items[0]
            {
                *words.entry(String::from_utf8_lossy(word).into_owned()).or_default() += 1;
            }
        }
    }
    assert!(is_compacted);
    for word in ["ok", "unchanged", "unsure", "conflict", "large", "need", "missing"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
