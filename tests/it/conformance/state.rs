//! The contents of a namespace, in the form of a case.

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
            "stream" => json!({ "stream": events(context, &key).await }),
            other => json!({ "other": other }),
        };
        state.insert(name, value);
    }
    state
}

/// The events of a stream, each by its fields that are not empty.
async fn events(context: &Context, key: &str) -> Vec<BTreeMap<String, String>> {
    let entries: Vec<(String, BTreeMap<String, String>)> = context.command(&["XRANGE", key, "-", "+"]).await;
    let told = |(_, mut fields): (_, BTreeMap<String, String>)| {
        fields.retain(|_, value| !value.is_empty());
        fields
    };
    entries.into_iter().map(told).collect()
}

/// The same with each event once: who repeats a call that was refused a command tells some twice.
pub(crate) fn without_repeats(mut state: State) -> State {
    for stream in state.values_mut().filter_map(|value| value.get_mut("stream")?.as_array_mut()) {
        let mut seen = Vec::new();
        stream.retain(|event| {
            let is_new = !seen.contains(event);
            seen.push(event.clone());
            is_new
        });
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
