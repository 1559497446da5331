//! Every key name. Nothing else in the crate builds one, and no script does.

use crate::model::{Error, IndexFields, Result, Selector};

/// The longest namespace, in bytes.
const NAMESPACE_BYTES: usize = 64;

/// The keys of one partition of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    tag: String,
}

impl Keys {
    /// The keys of a namespace with one partition.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn new(namespace: &str) -> Result<Self> {
        Self::tagged(namespace, 0)
    }

    /// The keys of the partition with this tag.
    pub(crate) fn tagged(namespace: &str, tag: u32) -> Result<Self> {
        if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES {
            let reason = format!("is {} bytes, must be 1 to {NAMESPACE_BYTES}", namespace.len());
            return Err(Error::invalid("namespace", reason));
        }
        if namespace.contains(['{', '}']) {
            return Err(Error::invalid("namespace", "has a brace, which would change the hash tag"));
        }
        Ok(Self { tag: hash_tag(namespace, tag) })
    }

    pub(crate) fn session(&self, id: impl AsRef<[u8]>) -> Vec<u8> {
        self.named("session", id.as_ref(), "")
    }

    /// The session id in a key, if it is the key of a record.
    pub(crate) fn id_of_session<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.strip_prefix(self.tag.as_bytes())?.strip_prefix(b":session:")
    }

    pub(crate) fn user(&self, user: impl AsRef<[u8]>) -> Vec<u8> {
        self.named("user", user.as_ref(), ":sessions")
    }

    /// The user in a key, if it is the key of a user's index.
    #[cfg(feature = "redis")]
    pub(crate) fn user_of_index<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.strip_prefix(self.tag.as_bytes())?.strip_prefix(b":user:")?.strip_suffix(b":sessions")
    }

    pub(crate) fn connection(&self, connection: impl AsRef<[u8]>) -> Vec<u8> {
        self.named("connection", connection.as_ref(), ":session")
    }

    pub(crate) fn node(&self, node: impl AsRef<[u8]>) -> Vec<u8> {
        self.named("node", node.as_ref(), ":sessions")
    }

    pub(crate) fn expiry(&self) -> Vec<u8> {
        self.of_all("expiry")
    }

    /// The index of a user or node.
    pub(crate) fn index(&self, owner: &Selector) -> Vec<u8> {
        match owner.words() {
            ("user", user) => self.user(user),
            (_, node) => self.node(node),
        }
    }

    /// The key of the registered nodes.
    pub(crate) fn nodes(&self) -> Vec<u8> {
        self.of_all("nodes")
    }

    /// Until when each of them is listed.
    pub(crate) fn kept(&self) -> Vec<u8> {
        self.of_all("nodes:kept")
    }

    /// The key under which a corrupt record is set aside.
    pub(crate) fn aside(&self, id: impl AsRef<[u8]>) -> Vec<u8> {
        self.named("aside", id.as_ref(), "")
    }

    /// The key of a node's lease.
    pub(crate) fn lease(&self, node: impl AsRef<[u8]>) -> Vec<u8> {
        self.named("node", node.as_ref(), ":lease")
    }

    /// The stream of all events.
    pub(crate) fn events(&self) -> Vec<u8> {
        self.of_all("events")
    }

    /// The stream of the events that concern a node. For no node it is the stream of all events.
    pub(crate) fn events_of(&self, node: impl AsRef<[u8]>) -> Vec<u8> {
        let node = node.as_ref();
        if node.is_empty() { self.events() } else { self.named("node", node, ":events") }
    }

    /// The list of the sessions that are on their way to or from another store.
    pub(crate) fn migrations(&self) -> Vec<u8> {
        self.of_all("migrations")
    }

    /// The key that records the clients' contract.
    pub(crate) fn contract(&self) -> Vec<u8> {
        self.of_all("contract")
    }

    /// One key of each kind, to prove that the user may touch all. Nothing is stored under the first: no id is
    /// empty.
    pub(crate) fn one_of_each(&self) -> [Vec<u8>; 13] {
        [
            self.session(""),
            self.user(""),
            self.connection(""),
            self.node(""),
            self.expiry(),
            self.migrations(),
            self.contract(),
            self.nodes(),
            self.kept(),
            self.aside(""),
            self.lease(""),
            self.events(),
            self.named("node", b"", ":events"),
        ]
    }

    /// The pattern of all keys, for an ACL.
    pub(crate) fn pattern(&self) -> String {
        format!("~{}:*", self.tag)
    }

    /// The keys of a session that a script declares.
    pub(crate) fn declared_of(&self, id: impl AsRef<[u8]>) -> Declared<'_> {
        Declared { keys: self, record: self.session(id) }
    }

    /// The lease of the node that writes a session; without a node, the session's record key in its place.
    pub(crate) fn fence(&self, record_key: &[u8], node: &str) -> Vec<u8> {
        if node.is_empty() { record_key.to_vec() } else { self.lease(node) }
    }

    /// The five keys that a session has at most, in the order in which the scripts take them: record, expiry, user,
    /// connection, node.
    pub(crate) fn of_session<T: AsRef<[u8]>>(
        &self,
        id: impl AsRef<[u8]>,
        index_fields: &IndexFields<T>,
    ) -> [Vec<u8>; 5] {
        let declared = self.declared_of(id);
        let IndexFields { user, connection, node } = index_fields;
        let [user, connection, node] =
            [declared.user(user), declared.connection(connection), declared.node(node)];
        [declared.record, self.expiry(), user, connection, node]
    }

    /// The pattern of all indexes of users and nodes, for SCAN.
    pub(crate) fn indexes_pattern(&self) -> Vec<u8> {
        let mut pattern = String::new();
        for character in self.tag.chars() {
            if "*?[]\\^-".contains(character) {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        (pattern + ":*:sessions").into_bytes()
    }

    /// Whether a key is one of these.
    #[cfg(feature = "redis")]
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.behind_tag(key).is_some()
    }

    /// The text behind the tag of one of these keys.
    #[cfg(feature = "redis")]
    pub(crate) fn behind_tag<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        key.strip_prefix(self.tag.as_bytes())?.strip_prefix(b":")
    }

    /// The key with this text behind the tag.
    #[cfg(feature = "redis")]
    pub(crate) fn of_rest(&self, rest: &[u8]) -> Vec<u8> {
        [self.tag.as_bytes(), b":", rest].concat()
    }

    /// The text that a cluster hashes to find the slot: the tag without its braces.
    #[cfg(feature = "redis")]
    pub(crate) fn hashed(&self) -> &str {
        self.tag.trim_matches(['{', '}'])
    }

    fn of_all(&self, what: &str) -> Vec<u8> {
        format!("{}:{what}", self.tag).into_bytes()
    }

    /// A name on a server may not be valid text, so this takes bytes.
    fn named(&self, kind: &str, name: &[u8], suffix: &str) -> Vec<u8> {
        [self.tag.as_bytes(), b":", kind.as_bytes(), b":", name, suffix.as_bytes()].concat()
    }
}

/// The keys of one session that a script declares. A session without a user, connection or node has no such key. Then
/// the record key takes its position, where the script does not touch it: while a cluster moves a slot, a call that
/// names a missing key of it fails.
#[derive(Debug)]
pub(crate) struct Declared<'k> {
    keys: &'k Keys,
    pub(crate) record: Vec<u8>,
}

impl Declared<'_> {
    pub(crate) fn user(&self, user: impl AsRef<[u8]>) -> Vec<u8> {
        self.unless_empty(user.as_ref(), |user| self.keys.user(user))
    }

    pub(crate) fn connection(&self, connection: impl AsRef<[u8]>) -> Vec<u8> {
        self.unless_empty(connection.as_ref(), |connection| self.keys.connection(connection))
    }

    pub(crate) fn node(&self, node: impl AsRef<[u8]>) -> Vec<u8> {
        self.unless_empty(node.as_ref(), |node| self.keys.node(node))
    }

    fn unless_empty<'n>(&self, name: &'n [u8], key: impl FnOnce(&'n [u8]) -> Vec<u8>) -> Vec<u8> {
        if name.is_empty() { self.record.clone() } else { key(name) }
    }
}

/// All keys of a partition share this, so they share a slot.
fn hash_tag(namespace: &str, tag: u32) -> String {
    format!("{{{namespace}:{tag}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_begins_with_the_tag_and_ends_with_a_fixed_suffix() {
        let keys = Keys::new("shop").unwrap();
        let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
        assert_eq!(text(keys.session("a:b")), "{shop:0}:session:a:b");
        assert_eq!(keys.id_of_session(b"{shop:0}:session:a:b"), Some(&b"a:b"[..]));
        for other in ["{shop:1}:session:a", "{shop:0}:aside:a", "{shop:0}:session", ""] {
            assert_eq!(keys.id_of_session(other.as_bytes()), None);
        }
        assert_eq!(text(keys.user("{x}:y")), "{shop:0}:user:{x}:y:sessions");
        assert_eq!(text(keys.connection("c")), "{shop:0}:connection:c:session");
        assert_eq!(text(keys.node("n")), "{shop:0}:node:n:sessions");
        assert_eq!(text(keys.expiry()), "{shop:0}:expiry");
        assert_eq!(text(keys.nodes()), "{shop:0}:nodes");
        assert_eq!(text(keys.kept()), "{shop:0}:nodes:kept");
        assert_eq!(text(keys.aside("a:b")), "{shop:0}:aside:a:b");
        assert_eq!(text(keys.lease("n")), "{shop:0}:node:n:lease");
        assert_eq!(text(keys.migrations()), "{shop:0}:migrations");
        assert_eq!(text(keys.contract()), "{shop:0}:contract");
    }

    #[test]
    fn what_a_session_has_not_has_no_key_but_the_record_in_its_place() {
        let keys = Keys::new("shop").unwrap();
        let none = keys.of_session("a", &IndexFields::<String>::default());
        let (record, expiry) = (keys.session("a"), keys.expiry());
        assert_eq!(none, [record.clone(), expiry, record.clone(), record.clone(), record.clone()]);
        assert_eq!([keys.fence(&record, ""), keys.fence(&record, "n")], [record, keys.lease("n")]);
    }

    #[test]
    fn one_of_each_kind_is_what_the_bundle_has_for_the_start() {
        let bundle: serde_json::Value =
            serde_json::from_str(include_str!("../../lua/bundle.json")).expect("it is JSON");
        let keys = Keys::new("shop").unwrap().one_of_each();
        let patterns = keys.map(|key| String::from_utf8(key).unwrap().replace("{shop:0}", "{ns:p}"));
        assert_eq!(bundle["start"]["keys"], serde_json::json!(patterns));
    }

    #[test]
    fn a_bad_namespace_is_refused() {
        for namespace in ["", "a{b", "a}b", &"x".repeat(65)] {
            assert!(Keys::new(namespace).is_err());
        }
    }
}
