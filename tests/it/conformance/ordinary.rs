//! Scripts that have an ordinary way and another: both do the same.

use std::collections::BTreeMap;

use cloakroom_export::script::{Script, read_all};
use redis::Value as Reply;
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::call::Sent;
use super::case::Arguments;
use super::{exported, lua, run_all};
use crate::support::Context;

/// Scripts that have an ordinary way.
fn scripts() -> Vec<Script> {
    read_all(&lua()).unwrap().into_iter().filter(|script| script.general != script.source).collect()
}

#[tokio::test]
async fn every_case_answers_and_leaves_what_it_tells_without_the_ordinary_way() {
    let (mut bundle, context) = (exported(), Context::redis().await);
    for Script { header, general, .. } in scripts() {
        let operation = bundle.operations.get_mut(&header.stem).unwrap();
        operation.sha1 = context.command(&["SCRIPT", "LOAD", &general]).await;
        operation.source = general;
    }
    run_all(bundle).await;
}

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
        values.extend([("ttl_ms", json!(60_000)), ("user", json!("ann"))]);
    }
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

struct Twins<'a> {
    context: &'a Context,
    bundle: &'a Bundle,
    /// The one is patched as it is sent, the other without the ordinary way.
    patches: [String; 2],
}

impl Twins<'_> {
    /// The answers of both.
    async fn both(&self, stem: &str, shas: [&str; 2], values: &Arguments) -> [Result<Reply, String>; 2] {
        let mut answers = [Ok(Reply::Nil), Ok(Reply::Nil)];
        for (at, sha) in shas.into_iter().enumerate() {
            let sent = Sent::new(self.bundle, &self.bundle.operations[stem], &self.tag(at), values);
            let mut evalsha = redis::cmd("EVALSHA");
            evalsha.arg(sha).arg(sent.keys.len()).arg(sent.keys).arg(sent.arguments);
            let answer = evalsha.query_async(&mut self.context.raw()).await;
            // An error names the line and the script, which are the form's own.
            answers[at] = answer.map_err(|error: redis::RedisError| {
                error
                    .to_string()
                    .split("cloakroom: ")
                    .last()
                    .unwrap_or_default()
                    .split(" script: ")
                    .next()
                    .map(str::to_owned)
                    .unwrap_or_default()
            });
        }
        answers
    }

    fn tag(&self, twin: usize) -> String {
        format!("{{{}-{twin}:0}}", self.context.namespace)
    }

    async fn records(&self) -> [Option<Vec<u8>>; 2] {
        let [one, other] = [0, 1].map(|twin| format!("{}:session:s", self.tag(twin)));
        [self.context.command(&["GET", &one]).await, self.context.command(&["GET", &other]).await]
    }
}

#[tokio::test]
async fn random_patches_answer_and_leave_the_same_with_the_ordinary_way_and_without() {
    let (bundle, mut context) = (exported(), Context::own(&[]).await);
    let patch = scripts().into_iter().find(|script| script.header.stem == "patch").unwrap();
    let mut patches = [patch.source, patch.general];
    for form in &mut patches {
        *form = context.command(&["SCRIPT", "LOAD", form]).await;
    }
    let create: String = context.command(&["SCRIPT", "LOAD", &bundle.operations["create"].source]).await;
    let namespace = context.namespace.clone();
    let (mut words, mut is_compacted) = (BTreeMap::<String, u32>::new(), false);
    for round in 0..150 {
        context.namespace = format!("{namespace}-{round}");
        let twins = Twins { context: &context, bundle: &bundle, patches: patches.clone() };
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
            let [one, other] = twins.both("patch", [&twins.patches[0], &twins.patches[1]], &values).await;
            assert_eq!(one, other, "{values:?}");
            let [left, right] = twins.records().await;
            assert!(left == right, "{values:?} leaves {left:?} and {right:?}");
            let record = left.unwrap();
            is_compacted |= record[9..13] == record[13..17] && step > 0;
            if let Ok(Reply::Array(items)) = one
                && let Reply::BulkString(word) = &items[0]
            {
                *words.entry(String::from_utf8_lossy(word).into_owned()).or_default() += 1;
            }
        }
    }
    assert!(is_compacted);
    for word in ["ok", "unchanged", "unsure", "conflict", "limit", "missing"] {
        assert!(words.contains_key(word), "{word} of {words:?}");
    }
}
