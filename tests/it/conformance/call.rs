//! KEYS and ARGV of a call, made as the bundle says.

use serde_json::Value;

use super::bundle::{Argument, Bundle, EntryLayout, Operation};
use super::case::{Arguments, unhex};

/// What a call sends.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) keys: Vec<String>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

impl Sent {
    pub(crate) fn new(bundle: &Bundle, operation: &Operation, tag: &str, values: &Arguments) -> Self {
        let mut keys: Vec<String> =
            operation.keys.iter().map(|key| key_of(bundle, &key.pattern, tag, values)).collect();
        let bytes = |argument: &Argument, values: &Arguments| {
            bytes_of(&bundle.record.entry, &argument.kind, values.get(&argument.name))
        };
        let mut arguments: Vec<Vec<u8>> =
            operation.arguments.iter().map(|argument| bytes(argument, values)).collect();
        if let Some(group) = &operation.group {
            let members = values.get(&group.name).and_then(Value::as_array);
            for member in members.into_iter().flatten() {
                let values: Arguments = serde_json::from_value(member.clone()).unwrap();
                let is_known = |name: &String| group.arguments.iter().any(|argument| argument.name == *name);
                assert!(values.keys().all(is_known), "{member}");
                keys.extend(group.keys.iter().map(|key| key_of(bundle, &key.pattern, tag, &values)));
                arguments.extend(group.arguments.iter().map(|argument| bytes(argument, &values)));
            }
        }
        if let Some(keep) = values.get("events") {
            keys.extend(streams(bundle, operation, tag, values));
            arguments.push(keep.to_string().into_bytes());
        }
        Self { keys, arguments }
    }
}

/// The streams of a call that asks for events. That of the partition stands in for that of no node.
fn streams(bundle: &Bundle, operation: &Operation, tag: &str, values: &Arguments) -> Vec<String> {
    let events = operation.events.as_ref().expect("the operation tells events");
    let members = operation.group.as_ref().and_then(|group| values.get(&group.name));
    let members = members.and_then(Value::as_array).into_iter().flatten();
    let members: Vec<Arguments> =
        members.map(|member| serde_json::from_value(member.clone()).unwrap()).collect();
    let own = events.keys.iter().map(|key| (&key.pattern, values));
    let of_members =
        members.iter().flat_map(|member| events.of_member.iter().map(move |key| (&key.pattern, member)));
    let key = |(pattern, values): (&String, &Arguments)| {
        let is_named = is_named(pattern, values);
        filled(if is_named { pattern } else { &bundle.unnamed_events }, tag, values)
    };
    own.chain(of_members).map(key).collect()
}

fn text_of<'a>(values: &'a Arguments, name: &str) -> &'a str {
    values.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A key as its pattern makes it, or where a name in it is empty, what stands in for it.
fn key_of(bundle: &Bundle, pattern: &str, tag: &str, values: &Arguments) -> String {
    let pattern = bundle.unnamed.as_deref().filter(|_| !is_named(pattern, values)).unwrap_or(pattern);
    filled(pattern, tag, values)
}

fn is_named(pattern: &str, values: &Arguments) -> bool {
    let mut holes = pattern.split('<').skip(1).map(|rest| rest.split('>').next().unwrap());
    holes.all(|hole| hole.split('|').any(|name| !text_of(values, name).is_empty()))
}

/// A pattern, filled: `<id>` is the value of that name, `<holder_id|id>` the first that is not empty.
fn filled(pattern: &str, tag: &str, values: &Arguments) -> String {
    let mut key = String::new();
    let mut rest = pattern;
    while let Some((before, behind)) = rest.split_once('<') {
        let (hole, after) = behind.split_once('>').unwrap();
        let value = hole.split('|').map(|name| text_of(values, name)).find(|value| !value.is_empty());
        key.push_str(&before.replace("{ns:p}", tag));
        key.push_str(value.unwrap_or_default());
        rest = after;
    }
    key + &rest.replace("{ns:p}", tag)
}

fn bytes_of(entry: &EntryLayout, kind: &str, value: Option<&Value>) -> Vec<u8> {
    match (kind, value) {
        (_, None) => Vec::new(),
        ("integer", Some(Value::Number(number))) => number.to_string().into_bytes(),
        ("bytes", Some(Value::String(digits))) => unhex(digits),
        ("bytes", Some(Value::Array(parts))) => {
            parts.iter().flat_map(|part| unhex(part.as_str().unwrap())).collect()
        }
        ("entries", Some(Value::Array(entries))) => entries.iter().flat_map(|one| entry.write(one)).collect(),
        ("text" | "utf-8" | "word", Some(Value::String(text))) => text.as_bytes().to_vec(),
        (_, Some(Value::String(text))) if text.is_empty() => Vec::new(),
        (kind, Some(value)) => panic!("{value} is no {kind}"),
    }
}
