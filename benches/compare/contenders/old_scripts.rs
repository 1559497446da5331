//! cloakroom's scripts as they were before they were made faster, by their bundle in the repository's history.

use std::collections::BTreeMap;
use std::process::Command;

use async_trait::async_trait;
use serde_json::Value;

use super::Contender;
use crate::connections::Connections;
use crate::operation::Operation;
use crate::payload::{PATCHED, Payload, patched};
use crate::subject::{OF_A_USER, Subject};

/// The commit that has them.
pub(crate) const COMMIT: &str = "a483e96";
const NAMESPACE: &str = "{old:0}";

pub(crate) struct OldScripts {
    connections: Connections,
    /// As it was: keys and arguments of each operation, and its script, which is loaded.
    bundle: Value,
    entries: Vec<u8>,
}

/// What a call is about, by the names of the bundle.
type Values = BTreeMap<&'static str, Vec<u8>>;

impl OldScripts {
    /// None where the history is not there.
    pub(crate) async fn connect(url: &str, payload: Payload) -> Option<Self> {
        let show = Command::new("git").args(["show", &format!("{COMMIT}:lua/bundle.json")]).output().ok()?;
        let bundle: Value = serde_json::from_slice(&show.stdout).ok()?;
        let connections = Connections::open(url).await;
        for operation in bundle["operations"].as_object()?.values() {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(operation["source"].as_str()?);
            load.query_async::<String>(&mut connections.get()).await.unwrap();
        }
        let entries = payload.attributes().iter().flat_map(|(name, value)| entry(name, value)).collect();
        Some(Self { connections, bundle, entries })
    }

    async fn call(&self, stem: &str, values: &Values, group: &[Values]) -> Vec<redis::Value> {
        let operation = &self.bundle["operations"][stem];
        let list = |of: &'_ Value, name| of[name].as_array().cloned().unwrap_or_default();
        let mut keys: Vec<_> =
            list(operation, "keys").iter().map(|key| filled(&key["pattern"], values)).collect();
        let mut arguments: Vec<_> =
            list(operation, "arguments").iter().map(|argument| given(argument, values)).collect();
        for values in group {
            keys.extend(list(&operation["group"], "keys").iter().map(|key| filled(key, values)));
            arguments.extend(
                list(&operation["group"], "arguments").iter().map(|argument| given(argument, values)),
            );
        }
        let mut call = redis::cmd("EVALSHA");
        call.arg(operation["sha1"].as_str()).arg(keys.len()).arg(keys).arg(arguments);
        call.query_async(&mut self.connections.get()).await.unwrap()
    }
}

/// An attribute as the scripts take it.
fn entry(name: &str, value: &str) -> Vec<u8> {
    let json = serde_json::to_string(value).unwrap();
    let lengths = [(name.len() as u16).to_be_bytes().as_slice(), &(json.len() as u32).to_be_bytes()].concat();
    [&[1], lengths.as_slice(), name.as_bytes(), json.as_bytes()].concat()
}

/// `{ns:p}:session:<holder_id|id>`: the first of the names that has a value.
fn filled(pattern: &Value, values: &Values) -> Vec<u8> {
    let pattern = pattern.as_str().unwrap().replace("{ns:p}", NAMESPACE);
    let mut key = Vec::new();
    for (at, part) in pattern.split(['<', '>']).enumerate() {
        if at % 2 == 0 {
            key.extend_from_slice(part.as_bytes());
        } else if let Some(value) = part.split('|').find_map(|name| values.get(name)) {
            key.extend_from_slice(value);
        }
    }
    key
}

fn given(argument: &Value, values: &Values) -> Vec<u8> {
    let default = argument["default"].as_str().unwrap_or_default();
    let name = argument["name"].as_str().unwrap();
    values.get(name).map_or_else(|| default.as_bytes().to_vec(), Clone::clone)
}

#[async_trait]
impl Contender for OldScripts {
    fn name(&self) -> &'static str {
        "old scripts"
    }

    fn has(&self, operation: Operation) -> bool {
        Operation::SINGLE.contains(&operation)
            && !matches!(operation, Operation::Get | Operation::ByConnection)
    }

    async fn run(&self, operation: Operation, subject: Subject) {
        let mut values = Values::from([
            ("id", subject.id().into_bytes()),
            ("user", subject.user().into_bytes()),
            ("connection", subject.connection().into_bytes()),
            ("op_id", fastrand::u64(..).to_be_bytes().to_vec()),
        ]);
        let (stem, more) = match operation {
            Operation::Create => ("create", ("entries", self.entries.clone())),
            Operation::Refresh => ("refresh", ("threshold", b"1000".to_vec())),
            Operation::Patch => ("patch", ("changes", entry(PATCHED, &patched()))),
            Operation::Rotate => ("rotate", ("new_id", subject.rotated().id().into_bytes())),
            Operation::Delete => ("delete", ("tombstone_ms", b"30000".to_vec())),
            Operation::List => ("list", ("kind", b"user".to_vec())),
            _ => unreachable!("it has no {operation:?}"),
        };
        values.insert(more.0, more.1);
        values.insert("owner", subject.user().into_bytes());
        // It was told the sessions, which had been read from the index.
        let first = subject.number / OF_A_USER * OF_A_USER;
        let listed = (first..first + OF_A_USER).filter(|_| operation == Operation::List);
        let group: Vec<_> = listed
            .map(|number| Values::from([("id", Subject::of_the_crowd(number).id().into_bytes())]))
            .collect();
        let reply = self.call(stem, &values, &group).await;
        assert!(matches!(&reply[0], redis::Value::BulkString(word) if word == b"ok"), "{stem}: {reply:?}");
    }
}
