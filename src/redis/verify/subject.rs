//! Something that may be wrong, in the form in which a script is asked about it.

use redis::Cmd;

use crate::model::IndexFields;
use crate::redis::call::Call;
use crate::redis::commands::{mend_key, mend_node, mend_record, mend_session};
use crate::redis::mend::Want;
use crate::redis::script::{self, Script};
use crate::redis::stored_id::StoredId;
use crate::redis::verify::kind::ViolationKind;
use crate::stored::partitions::Partition;

/// The subject of a question to a script, in a partition.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// The entries that lead to an id.
    Session {
        id: StoredId,
        named: IndexFields<Vec<u8>>,
        holder: StoredId,
    },
    /// The value under a session's key, by its SHA-1, with its owners as far as they were read, and what is wrong
    /// with it.
    Record {
        id: StoredId,
        named: IndexFields<Vec<u8>>,
        found: String,
        kind: ViolationKind,
    },
    /// A key, by the text behind its tag; its type; when it may expire at the earliest, and how long it lasts at least,
    /// in milliseconds; the SHA-1 of the broken value under it.
    Key {
        rest: Vec<u8>,
        stored_type: &'static str,
        until: u64,
        least_ms: u64,
        found: String,
    },
    Node {
        node: Vec<u8>,
    },
}

impl Subject {
    pub(crate) fn script(&self) -> &'static Script {
        match self {
            Self::Session { .. } => &script::MEND_SESSION,
            Self::Record { .. } => &script::MEND_RECORD,
            Self::Key { .. } => &script::MEND_KEY,
            Self::Node { .. } => &script::MEND_NODE,
        }
    }

    pub(crate) fn command(&self, call: &Call, partition: Partition, want: Want) -> Cmd {
        match self {
            Self::Session { id, named, holder } => {
                mend_session::command(call, partition, want, id, named, holder)
            }
            Self::Record { id, named, found, .. } => {
                mend_record::command(call, partition, want, id, named, found)
            }
            Self::Key { rest, stored_type, until, found, .. } => {
                mend_key::command(call, partition, want, (rest, stored_type), *until, found)
            }
            Self::Node { node } => mend_node::command(call, partition, want, node),
        }
    }

    pub(crate) fn id(&self) -> Option<&StoredId> {
        match self {
            Self::Session { id, .. } | Self::Record { id, .. } => Some(id),
            Self::Key { .. } | Self::Node { .. } => None,
        }
    }

    /// The same with the holder of the connection that the script named.
    pub(crate) fn with_holder(self, found: StoredId) -> Self {
        match self {
            Self::Session { id, named, .. } => Self::Session { id, named, holder: found },
            other => other,
        }
    }
}

/// Which words of a script concern the suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Entries that lead to a record. Wrong entries are found where they lead from.
    Record,
    /// One entry, which is found elsewhere than from the record.
    Entry(&'static str),
    All,
}

impl About {
    pub(crate) fn covers(self, word: &str) -> bool {
        match self {
            Self::Record => !word.ends_with("_stray") && word != "record_short",
            Self::Entry(own) => word == own,
            Self::All => true,
        }
    }
}

/// Something that may be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) partition: Partition,
    pub(crate) subject: Subject,
    pub(crate) about: About,
}
