//! The kind of a partition's key, by its name.

/// The longest id, and the longest name of a user, connection or node.
const ID_BYTES: usize = 128;
const NAME_BYTES: usize = 256;

/// The kind of a key, and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// The record of a session.
    Session(String),
    /// The index of a user's sessions.
    User(String),
    /// The pointer of a connection.
    Connection(String),
    /// The index of a node's sessions.
    Node(String),
    /// The lease of a node.
    Lease(String),
    Expiry,
    Migrations,
    Nodes,
    /// Until when each node is listed.
    Kept,
    /// A stream of events.
    Events,
    /// Something that was set aside.
    Aside,
    Contract,
}

impl KeyKind {
    /// Reads the kind from the text behind the tag. `None` if the key is not ours.
    pub(crate) fn of(rest: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(rest).ok()?;
        let whole = match rest {
            "expiry" => Self::Expiry,
            "migrations" => Self::Migrations,
            "nodes" => Self::Nodes,
            "nodes:kept" => Self::Kept,
            "events" => Self::Events,
            "contract" => Self::Contract,
            _ => return Self::of_one(rest),
        };
        Some(whole)
    }

    fn of_one(rest: &str) -> Option<Self> {
        let (what, rest) = rest.split_once(':')?;
        let named = |suffix: &str| {
            let name = rest.strip_suffix(suffix)?;
            (1..=NAME_BYTES).contains(&name.len()).then(|| name.to_owned())
        };
        match what {
            "session" => (1..=ID_BYTES).contains(&rest.len()).then(|| Self::Session(rest.to_owned())),
            "user" => named(":sessions").map(Self::User),
            "connection" => named(":session").map(Self::Connection),
            "node" => {
                let lease = || named(":lease").map(Self::Lease);
                let events = || named(":events").map(|_| Self::Events);
                named(":sessions").map(Self::Node).or_else(lease).or_else(events)
            }
            "aside" => Some(Self::Aside),
            _ => None,
        }
    }

    /// Its type, in the words of Redis.
    pub(crate) fn stored_type(&self) -> &'static str {
        match self {
            Self::Session(_) | Self::Connection(_) | Self::Lease(_) | Self::Contract => "string",
            Self::User(_) | Self::Node(_) | Self::Expiry | Self::Migrations | Self::Nodes | Self::Kept => {
                "zset"
            }
            Self::Events => "stream",
            Self::Aside => "any",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::keys::Keys;

    #[test]
    fn each_key_is_known_by_its_name() {
        let keys = Keys::new("shop").unwrap();
        let kind = |key: Vec<u8>| KeyKind::of(keys.behind_tag(&key).unwrap());
        for (key, known) in [
            (keys.expiry(), KeyKind::Expiry),
            (keys.migrations(), KeyKind::Migrations),
            (keys.contract(), KeyKind::Contract),
            (keys.nodes(), KeyKind::Nodes),
            (keys.kept(), KeyKind::Kept),
            (keys.events(), KeyKind::Events),
        ] {
            assert_eq!(kind(key), Some(known));
        }
        for name in ["a", "a:b", "{x}:sessions", "ü:lease"] {
            let named = name.to_owned();
            assert_eq!(kind(keys.session(name)), Some(KeyKind::Session(named.clone())));
            assert_eq!(kind(keys.user(name)), Some(KeyKind::User(named.clone())));
            assert_eq!(kind(keys.connection(name)), Some(KeyKind::Connection(named.clone())));
            assert_eq!(kind(keys.node(name)), Some(KeyKind::Node(named.clone())));
            assert_eq!(kind(keys.lease(name)), Some(KeyKind::Lease(named)));
            assert_eq!(kind(keys.events_of(name)), Some(KeyKind::Events));
            assert_eq!(kind(keys.aside(name)), Some(KeyKind::Aside));
        }
        let long = "x".repeat(257);
        for other in ["", "session", "session:", "user::sessions", "user:a:session", "other:a", "Expiry"] {
            assert_eq!(KeyKind::of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(kind(keys.user(&long)), None);
        assert_eq!(kind(keys.session(&long[..129])), None);
        assert_eq!(kind(keys.session(b"\xff")), None);
    }
}
