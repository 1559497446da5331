//! Random refreshes, with the ordinary way and without.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Twins, forms, one_in, word_of};
use crate::conformance::case::Arguments;
use crate::conformance::exported;
use crate::support::Context;

/// Far enough from 0 for a clock that only goes back.
const BEGIN_MS: u64 = 1_000_000_000;

/// A refresh of the session at any time, with whatever a call may say.
fn any_refresh(now: u64, user: &str, node: &str) -> Arguments {
    let threshold = fastrand::choice([1, 500, 1000, 1000, 1000, 1001]).unwrap();
    // A longer grace, by which no TTL comes to be what a key already has: the time between the twins would decide then.
    // Only a call that moves the TTLs asks for another user's name, so both come together more often than by chance.
    let is_far = one_in(4);
    let mut values = json!({ "now_ms": now, "id": "s", "user": user, "connection": "c", "node": node,
        "threshold": threshold, "touch_ms": fastrand::choice([0, 0, 1000, 600_000]),
        "grace_ms": if is_far { 14_000_000 } else { 7_200_000 }, "want": fastrand::choice(["times", "record"]) });
    if one_in(if is_far { 2 } else { 8 }) {
        values["user"] = json!("another");
    }
    if one_in(20) {
        values["want"] = json!("all");
    }
    if one_in(12) {
        values["as_node"] = json!(node);
        values["lease_id"] = json!("0000000000000001");
    }
    serde_json::from_value(values).unwrap()
}

/// Makes of what both have what it may be at worst.
async fn plant(twins: &Twins<'_>) {
    match fastrand::u8(..6) {
        0 => twins.plant("expiry", "ZREM", &["s"]).await,
        1 => {
            twins.plant("expiry", "DEL", &[]).await;
            twins.plant("expiry", "HSET", &["field", "value"]).await;
        }
        2 => twins.plant("expiry", "DEL", &[]).await,
        // A list of entries that ends too late, one of a kind that there is not, and a record of another status.
        3 => twins.plant("session:s", "APPEND", &["x"]).await,
        4 => twins.plant("session:s", "SETRANGE", &["122", "\u{7}\u{7}\u{7}"]).await,
        _ => twins.plant("session:s", "SETRANGE", &["2", "\u{4}"]).await,
    }
}

#[tokio::test]
async fn random_refreshes_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let refreshes = forms(&context, "refresh").await;
    let create: String = context.command(&["SCRIPT", "LOAD", &bundle.operations["create"].source]).await;
    let namespace = context.namespace.clone();
    let mut words = BTreeMap::<String, u32>::new();
    for round in 0..150 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle };
        let user = fastrand::choice(["ann", "ann", "", "é"]).unwrap();
        let node = fastrand::choice(["", "n"]).unwrap();
        let entries = (0..fastrand::usize(..4)).map(
            |at| json!({ "kind": "attribute", "key": at.to_string(), "json": format!("\"{}\"", "x".repeat(at * 90)) }),
        );
        let made = json!({ "now_ms": BEGIN_MS, "op_id": "0000000000000001", "id": "s", "user": user,
            "connection": "c", "node": node, "status": fastrand::choice(["active", "suspended"]),
            "ttl_ms": 1_800_000, "lifetime_ms": fastrand::choice([0, 3_000_000]), "grace_ms": 7_200_000,
            "tombstone_ms": 30_000, "limit": 0, "policy": "reject", "entries": entries.collect::<Vec<_>>() });
        let made: Arguments = serde_json::from_value(made).unwrap();
        assert!(twins.both("create", [&create, &create], &made).await.iter().all(Result::is_ok));
        let mut now = BEGIN_MS;
        for _ in 0..12 {
            if one_in(25) {
                plant(&twins).await;
            }
            now += fastrand::choice([0, 1, 50, 999, 1000, 200_000, 700_000, 1_500_000]).unwrap();
            if one_in(12) {
                now -= fastrand::choice([500, 400_000]).unwrap();
            }
            let values = any_refresh(now, user, node);
            let [one, other] = twins.both("refresh", [&refreshes[0], &refreshes[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            twins.assert_same(&values).await;
            *words.entry(word_of(&one)).or_default() += 1;
        }
    }
    for word in ["ok", "unchanged", "missing", "need", "corrupt", "fenced", "an error"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
