//! What may be wrong, as a script is asked about it.

use redis::Cmd;

use crate::model::IndexFields;
use crate::redis::call::Call;
use crate::redis::commands::{mend_key, mend_node, mend_record, mend_session};
use crate::redis::mend::Want;
use crate::redis::script::{self, Script};
use crate::redis::stored_id::StoredId;
use crate::redis::verify::kind::ViolationKind;
use crate::stored::partitions::Partition;

/// What a script is asked about, in a partition.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// What leads to an id.
    Session {
        id: StoredId,
        named: IndexFields<Vec<u8>>,
        holder: StoredId,
    },
    /// What is under the key of a session, by its SHA-1, with what was read of its owners, and what is wrong with it.
    Record {
        id: StoredId,
        named: IndexFields<Vec<u8>>,
        found: String,
        kind: ViolationKind,
    },
    /// A key, by what stands behind its tag; its type; when it has to go at the earliest, and how long it lasts at least,
    /// in milliseconds; the SHA-1 of what is broken under it.
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

    /// The same with the session that the script says has the connection.
    pub(crate) fn with_holder(self, found: StoredId) -> Self {
        match self {
            Self::Session { id, named, .. } => Self::Session { id, named, holder: found },
            other => other,
        }
    }
}

/// Which of the words of a script are about what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// What leads to a record. What must not is found where it leads from.
    Record,
    /// One thing, which is found elsewhere than by what leads to the record.
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

/// What may be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) partition: Partition,
    pub(crate) subject: Subject,
    pub(crate) about: About,
}
