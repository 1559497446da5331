//! What a namespace holds, as a case tells it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::bundle::Layout;
use super::case::hex;
use crate::support::Context;

/// Every key, by name with the tag as cases write it.
pub(crate) type State = BTreeMap<String, Value>;

pub(crate) async fn state(context: &Context, layout: &Layout) -> State {
    let mut state = State::new();
    let tag = context.key("");
    for key in context.all_keys().await {
        let name = format!("{{ns:p}}:{}", key.strip_prefix(&tag).unwrap());
        let kind: String = context.command(&["TYPE", &key]).await;
        let value = match kind.as_str() {
            "string" => {
                let bytes: Vec<u8> = context.command(&["GET", &key]).await;
                string(layout, &name, bytes)
            }
            "zset" => json!({ "zset": context.members(&key).await }),
            other => json!({ "other": other }),
        };
        state.insert(name, value);
    }
    state
}

fn string(layout: &Layout, name: &str, bytes: Vec<u8>) -> Value {
    if (name.starts_with("{ns:p}:session:") || name.starts_with("{ns:p}:aside:"))
        && let Some(record) = layout.read(&bytes)
    {
        return json!({ "record": record });
    }
    match String::from_utf8(bytes) {
        Ok(text) => json!({ "string": text }),
        Err(error) => json!({ "hex": hex(error.as_bytes()) }),
    }
}

/// What is not as it should be, a line a key.
pub(crate) fn differences(expected: &State, found: &State) -> String {
    let mut lines = String::new();
    for key in expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key))) {
        let (expected, found) = (expected.get(key), found.get(key));
        if expected != found {
            let told = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            lines +=
                &format!("\n    {key}\n      should be {}\n      and is    {}", told(expected), told(found));
        }
    }
    lines
}
