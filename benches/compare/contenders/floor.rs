//! The writes that cloakroom's scripts make, with the values worked out beforehand: for those who make the same writes
//! and decide nothing.

use std::time::SystemTime;

use super::TTL;
use crate::subject::Subject;

/// The default of `Rules::grace`.
const GRACE_MS: u64 = 3_600_000;
/// Those of `Rules::tombstone` and `Rules::rotation_grace`.
pub(crate) const TOMBSTONE_MS: u64 = 30_000;
/// Where a refresh writes, in a record of format 2: three times of six bytes.
pub(crate) const TIMES_OFFSET: usize = 71;
const TIME_BYTES: usize = 6;
const TIMES_BYTES: usize = 3 * TIME_BYTES;
/// What is left of a deleted session.
const HEADER_BYTES: usize = TIMES_OFFSET + TIMES_BYTES;

/// What is written of one session.
pub(crate) struct Floor {
    pub(crate) id: String,
    pub(crate) record: String,
    pub(crate) expiry: String,
    pub(crate) user: String,
    pub(crate) connection: String,
    pub(crate) now: u64,
    pub(crate) expires_at: u64,
    /// Of the record and the connection.
    pub(crate) ttl: u64,
    /// Of the user's index.
    pub(crate) index_ttl: u64,
    /// The score of the expiry index's empty member.
    pub(crate) deadline: u64,
}

pub(crate) fn record_key(id: &str) -> String {
    format!("{{floor:0}}:session:{id}")
}

impl Floor {
    pub(crate) fn of(subject: Subject) -> Self {
        let id = subject.id();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let expires_at = now + TTL.as_millis() as u64;
        let ttl = expires_at + GRACE_MS - now;
        Self {
            record: record_key(&id),
            expiry: "{floor:0}:expiry".to_owned(),
            user: format!("{{floor:0}}:user:{}:sessions", subject.user()),
            connection: format!("{{floor:0}}:connection:{}:session", subject.connection()),
            now,
            expires_at,
            ttl,
            index_ttl: ttl + GRACE_MS,
            deadline: ((expires_at + GRACE_MS) / GRACE_MS + 1) * GRACE_MS,
            id,
        }
    }

    /// The part of a record that a refresh rewrites.
    pub(crate) fn times(&self) -> [u8; TIMES_BYTES] {
        let mut times = [0; TIMES_BYTES];
        for (at, time) in [self.now, self.expires_at, self.now + self.ttl].into_iter().enumerate() {
            times[at * TIME_BYTES..][..TIME_BYTES].copy_from_slice(&time.to_be_bytes()[8 - TIME_BYTES..]);
        }
        times
    }
}

pub(crate) fn tombstone(record: &[u8]) -> &[u8] {
    &record[..HEADER_BYTES]
}
