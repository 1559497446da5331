//! The results of a look at some keys.

use redis::Value;

use crate::model::{Error, Result, ms};
use crate::redis::call::Call;
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::subject::{About, Subject, Suspect};
use crate::redis::verify::violation::Violation;
use crate::stored::key_kind::KeyKind;
use crate::stored::partitions::Partition;

const DAY_MS: u64 = 24 * 3600 * 1000;
/// A key that the walk met.
#[derive(Clone, Debug)]
pub(crate) struct Come {
    pub(crate) partition: Partition,
    pub(crate) key: Vec<u8>,
    pub(crate) kind: KeyKind,
}

/// An index, and how far it was read.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) come: Come,
    pub(crate) cursor: Vec<u8>,
    pub(crate) has_ttl: bool,
    /// The latest time until which its sessions are kept, as far as it was read.
    pub(crate) longest: u64,
}

/// The result of a look.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) suspects: Vec<Suspect>,
    /// Violations that need no second look, because no script writes such data.
    pub(crate) violations: Vec<Violation>,
    /// Indexes that have more.
    pub(crate) walks: Vec<Walk>,
    pub(crate) sessions: u64,
    pub(crate) entries: u64,
}

impl Looked {
    pub(crate) fn suspect(&mut self, partition: Partition, about: About, subject: Subject) {
        self.suspects.push(Suspect { partition, subject, about });
    }
}

/// Notes a key as a suspect, with how long it must last if it has no TTL.
pub(crate) fn of_key(call: &Call, come: &Come, until: u64, found: String) -> Subject {
    let rest = call.partitions().keys(come.partition).behind_tag(&come.key).unwrap_or_default().to_vec();
    let grace_ms = ms(call.rules().grace);
    let least_ms = match come.kind {
        KeyKind::Contract => 315_360_000_000,
        KeyKind::Events => 14 * DAY_MS,
        KeyKind::Aside => 7 * DAY_MS,
        KeyKind::Lease(_) | KeyKind::Nodes | KeyKind::Kept => DAY_MS,
        _ => grace_ms,
    };
    // An index lasts a grace longer, as where a script made it: the next session then finds it long enough.
    let until = if come.kind.stored_type() == "zset" && until > 0 { until + grace_ms } else { until };
    Subject::Key { rest, stored_type: come.kind.stored_type(), until, least_ms, found }
}

pub(crate) fn unknown(key: Vec<u8>) -> Violation {
    Violation { kind: ViolationKind::UnknownKey, key, mend: None }
}

pub(crate) fn sha1(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).hexdigest()
}

pub(crate) fn parsed<T: redis::FromRedisValue>(value: Value) -> Result<T> {
    redis::from_redis_value(value).map_err(|_| Error::corrupt("reply to a look"))
}
