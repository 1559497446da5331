//! A file of cases, as lua/conformance/README.md has it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Arguments by name.
pub(crate) type Arguments = BTreeMap<String, Value>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) operation: String,
    pub(crate) defaults: Arguments,
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) before: Vec<Step>,
    pub(crate) call: Call,
    pub(crate) after: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    Call(Call),
    Command { command: Vec<Value> },
}

/// One execution of a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) with: Arguments,
    pub(crate) reply: Vec<Value>,
}

impl Case {
    /// Whether anything but calls made its state.
    pub(crate) fn is_planted(&self) -> bool {
        self.before.iter().any(|step| matches!(step, Step::Command { .. }))
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        let before = self.before.iter().filter_map(|step| match step {
            Step::Call(call) => Some(call),
            Step::Command { .. } => None,
        });
        before.chain([&self.call])
    }
}

impl Call {
    /// What was passed, else the default, else nothing.
    pub(crate) fn values(&self, defaults: &Arguments) -> Arguments {
        defaults.iter().chain(&self.with).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "half a byte: {digits}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
