//! A violation in the stored data.

use std::fmt;

use crate::model::SessionId;
use crate::redis::stored_id::told;
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::subject::Subject;
use crate::stored::partitions::Partition;

/// Stored data that does not agree: a state that no script leaves behind.
#[derive(Clone)]
pub struct Violation {
    pub(crate) kind: ViolationKind,
    pub(crate) key: Vec<u8>,
    pub(crate) mend: Option<Mend>,
}

/// How to repair it.
#[derive(Clone)]
pub(crate) struct Mend {
    pub(crate) partition: Partition,
    pub(crate) subject: Subject,
    /// The script's word for it.
    pub(crate) word: String,
}

impl Violation {
    /// The fields by which it is recognised again.
    pub(crate) fn identity(&self) -> (ViolationKind, &[u8], Option<&[u8]>) {
        let id = self.mend.as_ref().and_then(|mend| mend.subject.id());
        (self.kind, &self.key, id.map(Vec::as_slice))
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> ViolationKind {
        self.kind
    }

    /// The key where it is. It may contain the id of a session or a connection, which are secrets.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The session that it is about, or the text in the place of its id.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        told(self.mend.as_ref()?.subject.id()?)
    }

    /// Whether [`RedisStore::repair`](crate::RedisStore::repair) can repair it.
    #[must_use]
    pub fn is_mendable(&self) -> bool {
        self.mend.is_some()
    }

    /// What a repair does, or what to do by hand.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match (self.kind, &self.mend) {
            (ViolationKind::WrongPartition, None) => {
                "end the session, or delete the key if it is in no partition"
            }
            (_, None) => "look at it by hand: a repair does not touch it",
            (_, Some(Mend { word, .. })) => match word.as_str() {
                "record" | "value" => "a repair sets the value aside for a week and removes its entries",
                "ttl" => "a repair gives the key a TTL",
                "connection_held" => "a repair takes the connection from the session and suspends it",
                word if word.ends_with("_stray") => "a repair removes the entry",
                word if word.ends_with("_short") => "a repair makes the key live as long as the session",
                _ => "a repair writes the entry as the record says",
            },
        }
    }

    /// The key without its secrets: hashes replace the ids of sessions and connections.
    #[must_use]
    pub fn place(&self) -> String {
        let key = String::from_utf8_lossy(&self.key);
        let (tag, rest) = key.split_once("}:").unwrap_or(("", &key));
        let hashed = |text: &str| format!("#{}", &sha1_smol::Sha1::from(text.as_bytes()).hexdigest()[..8]);
        let safe = match rest.split_once(':') {
            Some((what @ ("session" | "aside"), id)) => format!("{what}:{}", hashed(id)),
            Some(("connection", rest)) => {
                let connection = rest.strip_suffix(":session").unwrap_or(rest);
                format!("connection:{}:session", hashed(connection))
            }
            _ => rest.to_owned(),
        };
        if tag.is_empty() { safe } else { format!("{tag}}}:{safe}") }
    }
}

/// Hides the ids of sessions.
impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Violation");
        told.field("kind", &self.kind).field("place", &self.place()).field("session", &self.session());
        told.field("word", &self.mend.as_ref().map(|mend| &mend.word)).finish_non_exhaustive()
    }
}

/// Writes one line, without the ids of sessions.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind.code(), self.place())?;
        match self.session() {
            Some(session) => write!(f, " of {session}"),
            None => Ok(()),
        }
    }
}
