//! The keys of a partition, and the names in their patterns.

/// Every key of a partition: its name, type and pattern. The headers have the keys that each script takes; these are
/// all keys.
pub const KEYS: [(&str, &str, &str); 13] = [
    ("session", "string", "{ns:p}:session:<id>"),
    ("user", "zset", "{ns:p}:user:<user>:sessions"),
    ("connection", "string", "{ns:p}:connection:<connection>:session"),
    ("node", "zset", "{ns:p}:node:<node>:sessions"),
    ("expiry", "zset", EXPIRY),
    ("migrations", "zset", "{ns:p}:migrations"),
    ("contract", "string", "{ns:p}:contract"),
    ("nodes", "zset", "{ns:p}:nodes"),
    ("kept", "zset", "{ns:p}:nodes:kept"),
    ("aside", "string", "{ns:p}:aside:<id>"),
    ("lease", "string", "{ns:p}:node:<node>:lease"),
    ("events", "stream", EVENTS),
    ("node_events", "stream", "{ns:p}:node:<node>:events"),
];

/// The expiry index of a partition.
pub const EXPIRY: &str = "{ns:p}:expiry";

/// The stream of all events of a partition. It takes the place of the stream of a node whose name is empty.
pub const EVENTS: &str = "{ns:p}:events";

/// The stream of the node whose index has this pattern, if it is a node's index.
pub fn node_stream(pattern: &str) -> Option<String> {
    let node = pattern.strip_prefix("{ns:p}:node:")?.strip_suffix(":sessions")?;
    Some(format!("{{ns:p}}:node:{node}:events"))
}

/// The key that takes the place of a key whose name is empty: the record of its session.
pub const UNNAMED: &str = KEYS[0].2;

/// The names in a key's pattern: `<id>`, or `<holder_id|id>`, which means the first that is not empty.
pub fn names(pattern: &str) -> impl Iterator<Item = &str> {
    let holes = pattern.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    holes.flat_map(|hole| hole.split('|'))
}
