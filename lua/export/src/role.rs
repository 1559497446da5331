//! The role of an argument, by its name: a client that knows the roles fills in most arguments by itself.

use crate::parameter::{Argument, Group};
use crate::reply::Need;

/// The roles of names that are the same in every operation.
const BY_NAME: [(&str, &[&str]); 10] = [
    ("clock", &["now_ms"]),
    ("operation", &["op_id"]),
    ("bound", &["bound_ms"]),
    ("id", &["id"]),
    ("declared", &["holder_id", "holder_node"]),
    (
        "new",
        &[
            "new_id",
            "new_user",
            "new_connection",
            "new_node",
            "becomes",
            "status",
            "ttl_ms",
            "new_ttl_ms",
            "lifetime_ms",
            "new_lifetime_ms",
            "created_at_ms",
            "last_active_ms",
            "deadline_ms",
            "operations",
            "entries",
            "changes",
        ],
    ),
    ("condition", &["replaces"]),
    (
        "rule",
        &[
            "threshold",
            "touch_ms",
            "grace_ms",
            "tombstone_ms",
            "rotation_grace_ms",
            "aside_ms",
            "keep_ms",
            "entries_bytes",
            "entries_most",
            "login_limit",
            "login_policy",
        ],
    ),
    ("fence", &["as_node"]),
    ("migration", &["task", "place", "hand_over", "direction"]),
];

/// The names of a caller's own input.
const INPUT: [&str; 19] = [
    "want",
    "what",
    "when",
    "kind",
    "owner",
    "name",
    "type",
    "found",
    "from_ms",
    "before_ms",
    "skip",
    "page",
    "changed",
    "bytes",
    "start",
    "lease_ms",
    "freeze_ms",
    "reconnect_ms",
    "until_ms",
];

/// Sets the roles of the arguments of a script.
pub(crate) fn set(stem: &str, needs: &[Need], arguments: &mut [Argument]) -> Result<(), String> {
    let asks_routing = needs.iter().any(|need| need.kind == "routing");
    let is_migration = arguments.iter().any(|one| one.name == "task");
    let evicts = |one: &Argument| one.name == "policy" && one.words.iter().any(|word| word == "evict");
    let is_login = arguments.iter().any(evicts);
    for argument in arguments {
        argument.role = match (stem, argument.name.as_str()) {
            ("import", "version" | "expires_at_ms") => "new",
            ("unbind", "connection") => "input",
            ("heartbeat" | "recover" | "mend_node", "node") => "input",
            ("heartbeat" | "recover", "lease_id") => "lease",
            (_, "lease_id") => "fence",
            (_, "version") => "condition",
            (_, "until_ms") if is_migration => "migration",
            (_, "limit" | "policy") if is_login => "rule",
            (_, "limit" | "policy") => "input",
            (_, "user" | "connection" | "node") if argument.kind == "utf-8" => "new",
            (_, "user" | "connection" | "node") if asks_routing => "routing",
            (_, "user" | "connection" | "node") => "input",
            (_, name) => by_name(name)?,
        };
    }
    Ok(())
}

/// Sets those of a group.
pub(crate) fn set_of_members(group: Option<&mut Group>) -> Result<(), String> {
    for argument in group.into_iter().flat_map(|group| &mut group.arguments) {
        argument.role = match argument.name.as_str() {
            "user" | "connection" | "node" if argument.kind == "utf-8" => "new",
            "user" | "connection" | "node" => "routing",
            "expires_at_ms" => "condition",
            name => by_name(name)?,
        };
    }
    Ok(())
}

fn by_name(name: &str) -> Result<&'static str, String> {
    if INPUT.contains(&name) {
        return Ok("input");
    }
    let found = BY_NAME.iter().find(|(_, names)| names.contains(&name));
    found.map(|(role, _)| *role).ok_or_else(|| format!("no role of an argument: {name}"))
}
