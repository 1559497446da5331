//! The fields of replies. A name has one type, whatever the reply.

use serde::Serialize;

/// A field of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// All names that a field of a reply may have, by type.
const TYPES: [(&str, &[&str]); 9] = [
    ("id", &["id", "new_id", "holder_id", "evicted_id", "last_id"]),
    ("text", &["user", "connection", "node", "holder_node"]),
    ("word", &["lease", "wrong"]),
    ("place", &["place"]),
    ("key", &["key"]),
    ("ms", &["now", "created_at", "last_active", "expires_at", "frozen_until", "deadline"]),
    (
        "integer",
        &[
            "version",
            "live",
            "bytes",
            "entries",
            "next",
            "dropped",
            "removed",
            "recovered",
            "stale",
            "frozen",
            "corrupt",
            "left",
        ],
    ),
    ("position", &["position"]),
    ("record", &["record"]),
];

impl Field {
    pub(crate) fn of(name: &str) -> Result<Self, String> {
        let found = TYPES.iter().find(|(_, names)| names.contains(&name));
        let (kind, _) = found.ok_or_else(|| format!("no type of a field: {name}"))?;
        Ok(Self { name: name.to_owned(), kind })
    }
}
