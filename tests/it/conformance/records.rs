//! Decodes the pairs of bytes and record in lua/conformance/records.json by each decoder: the bundle's layout, the
//! crate and the scripts.

use std::collections::BTreeSet;

use cloakroom::{Error, Rules};
use redis::Value as Reply;
use serde::Deserialize;
use serde_json::Value;

use super::call::Sent;
use super::case::unhex;
use super::{Arguments, exported, lua, parsed};
use crate::support::Context;
use crate::support::expect::session_id;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    name: String,
    hex: String,
    record: Option<Value>,
    #[serde(default)]
    refused: bool,
}

fn pairs() -> Vec<Pair> {
    let pairs: Vec<Pair> = parsed(&lua().join("conformance/records.json"));
    assert!(pairs.iter().all(|pair| pair.refused != pair.record.is_some()), "a record, or refused");
    pairs
}

/// What clients refuse and scripts do not ask for: they do not understand texts, and tell where an id went as it is.
const FOR_CLIENTS_ALONE: [&str; 8] = [
    "a key that is no UTF-8",
    "a value that is no UTF-8",
    "an id that leads to an empty one",
    "an id that leads to one of 129 bytes",
    "an id that leads to what is no UTF-8",
    "a freeze whose place is no UTF-8",
    "a departed id whose task ends too early",
    "a departed id whose place is no UTF-8",
];

#[test]
fn the_layout_of_the_bundle_reads_each_record_and_refuses_the_others() {
    let layout = exported().record;
    for Pair { name, hex, record, .. } in pairs() {
        assert_eq!(layout.read(&unhex(&hex)), record, "{name}");
    }
}

#[tokio::test]
async fn the_store_refuses_what_is_no_record_and_nothing_else() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let id = session_id("s");
    for Pair { name, hex, refused, .. } in pairs() {
        plant(&context, &hex).await;
        let found = store.get(&id).await;
        assert_eq!(matches!(found, Err(Error::Corrupt { .. })), refused, "{name}: {found:?}");
    }
}

#[tokio::test]
async fn scripts_refuse_what_is_no_record_but_for_texts() {
    let (context, bundle) = (Context::redis().await, exported());
    // It takes a session as a whole, and changes nothing of what is none.
    let operation = &bundle.operations["freeze"];
    let values = serde_json::json!({
        "now_ms": 1_800_000_000_123_u64, "task": "7777777777777777", "id": "s", "place": "elsewhere", "freeze_ms": 1000,
        "grace_ms": 3_600_000,
    });
    let values: Arguments = serde_json::from_value(values).unwrap();
    let tag = context.key("");
    let mut passed = BTreeSet::new();
    for Pair { name, hex, refused, .. } in pairs() {
        plant(&context, &hex).await;
        let sent = Sent::new(&bundle, operation, tag.trim_end_matches(':'), &values);
        let mut eval = redis::cmd("EVAL");
        eval.arg(&operation.source).arg(sent.keys.len()).arg(sent.keys).arg(sent.arguments);
        let reply: Vec<Reply> = eval.query_async(&mut context.raw()).await.unwrap();
        let is_refused = reply[0] == Reply::BulkString(b"corrupt".to_vec());
        assert!(refused || !is_refused, "{name}");
        if refused && !is_refused {
            passed.insert(name);
        }
    }
    assert_eq!(passed, FOR_CLIENTS_ALONE.map(str::to_owned).into());
}

async fn plant(context: &Context, hex: &str) {
    let mut set = redis::cmd("SET");
    set.arg(context.key("session:s")).arg(unhex(hex)).arg("PX").arg(60_000);
    set.query_async::<()>(&mut context.raw()).await.unwrap();
}
