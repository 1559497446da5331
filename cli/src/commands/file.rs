//! The file of an export: one line of JSON per item. First its origin, then sessions, after each page the position of
//! the walk, and last the number of sessions.

use cloakroom::migration::Export;
use cloakroom::operating::Position;
use serde_json::{Value, json};

use crate::failure::Failure;

/// A line of the file.
#[derive(Debug)]
pub(crate) enum Line {
    Head,
    Session(Box<Export>),
    /// Everything before this mark is whole, and an export can continue here.
    Mark(Position),
    End,
}

/// The first line.
pub(crate) fn head(namespace: &str) -> String {
    json!({"export": "cloakroom", "format": 1, "namespace": namespace}).to_string()
}

pub(crate) fn mark(position: &Position) -> String {
    json!({"position": position.to_string()}).to_string()
}

pub(crate) fn end(sessions: u64) -> String {
    json!({"end": sessions}).to_string()
}

impl Line {
    pub(crate) fn parse(text: &str, number: u64) -> Result<Self, Failure> {
        let wrong = |what: &dyn std::fmt::Display| Failure::File(format!("line {number}: {what}"));
        // Most are sessions.
        if let Ok(export) = Export::from_json(text) {
            return Ok(Self::Session(Box::new(export)));
        }
        let line: Value = serde_json::from_str(text).map_err(|_| wrong(&"no JSON"))?;
        if line["export"] == "cloakroom" && line["format"] == 1 {
            return Ok(Self::Head);
        }
        if let Some(position) = line["position"].as_str() {
            return position.parse().map(Self::Mark).map_err(|error| wrong(&error));
        }
        if line["end"].is_u64() {
            return Ok(Self::End);
        }
        // It must be a session, so its error says what is wrong.
        match Export::from_json(text) {
            Ok(export) => Ok(Self::Session(Box::new(export))),
            Err(error) => Err(wrong(&error)),
        }
    }
}
