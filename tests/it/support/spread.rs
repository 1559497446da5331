//! The partitions of a namespace, by rules of the tests' own: what the engine makes of them must be the same.

use cloakroom::SessionId;

use super::expect::session_id;

/// A namespace and its number of partitions.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    namespace: String,
    pub(crate) count: u16,
}

/// CRC-16/XMODEM, a bit after the other.
fn crc(text: &str) -> u16 {
    let step = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
    text.bytes().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| step(crc)))
}

/// The slot of a key with that tag.
pub(crate) fn slot(tag: &str) -> u16 {
    crc(tag) % 16384
}

impl Spread {
    pub(crate) fn new(namespace: &str, count: u16) -> Self {
        Self { namespace: namespace.to_owned(), count }
    }

    pub(crate) fn of(&self, text: &str) -> u16 {
        crc(text) % self.count
    }

    /// The tag of a partition, with its braces.
    pub(crate) fn tag(&self, partition: u16) -> String {
        let slice = |slot: u16| u32::from(slot) * u32::from(self.count) / 16384;
        let lies_there =
            |tag: &u32| slice(slot(&format!("{}:{tag}", self.namespace))) == u32::from(partition);
        format!("{{{}:{}}}", self.namespace, (0..).find(lies_there).unwrap())
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        (0..self.count).map(|partition| self.tag(partition)).collect()
    }

    /// The tag of a key by what follows it. Of a key that all partitions have the one partition's that there is.
    pub(crate) fn tag_of(&self, rest: &str) -> String {
        let of_session = rest.strip_prefix("session:").or_else(|| rest.strip_prefix("aside:"));
        let of_user = || rest.strip_prefix("user:")?.strip_suffix(":sessions");
        match of_session.or_else(of_user) {
            Some(text) => self.tag(self.of(text)),
            None if self.count == 1 => self.tag(0),
            None => panic!("each partition has a key {rest}"),
        }
    }

    /// An id or user like a name, in the same partition as another: the name itself, if that is.
    pub(crate) fn near(&self, name: &str, other: &str) -> String {
        let names = (1..).map(|number| format!("{name}.{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(names);
        names.find(|name| self.of(name) == self.of(other)).unwrap()
    }

    /// The same in another partition.
    pub(crate) fn far(&self, name: &str, other: &str) -> String {
        let mut names = (1..).map(|number| format!("{name}.{number}"));
        names.find(|name| self.of(name) != self.of(other)).unwrap()
    }

    pub(crate) fn id_near(&self, name: &str, other: &str) -> SessionId {
        session_id(&self.near(name, other))
    }
}
