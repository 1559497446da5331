//! What does not agree mended: by one script for each, which asks again whether it is so.

use std::sync::Arc;

use crate::model::Result;
use crate::redis::call::Call;
use crate::redis::mend::Want;
use crate::redis::store::RedisStore;
use crate::redis::verify::judge::Verdict;
use crate::redis::verify::subject::Subject;
use crate::redis::verify::violation::{Mend, Violation};
use crate::store::migration_store::MigrationStore as _;

/// How often a script may name another holder of a connection.
const ROUNDS: usize = 4;

/// What became of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// It is mended.
    Mended,
    /// It is not there any more: it was mended with another of the same session, others were faster, or the session is gone.
    Gone,
    /// It stays: nothing mends it but a hand, something foreign or corrupt is in the way that is a violation of its own, or
    /// the session is on its way to another store.
    Left,
}

impl RedisStore {
    /// Mends what a [`Verifier`](crate::verify::Verifier) found. What has changed since is asked for first, so nothing is
    /// changed that is as it should be, and it may be called again.
    ///
    /// No live session is deleted. What cannot be read is set aside for a week, under a key `aside`.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// One script: `mend_session`, `mend_record`, `mend_key` or `mend_node`.
    pub async fn repair(&self, violation: &Violation) -> Result<Repaired> {
        let Some(Mend { partition, subject, word }) = &violation.mend else { return Ok(Repaired::Left) };
        let mut subject = subject.clone();
        if let Subject::Key { until, least_ms, .. } = &mut subject {
            *until = (*until).max(self.now().await?.saturating_add(*least_ms));
        }
        for _ in 0..ROUNDS {
            let asked = &subject;
            let body = |call: Arc<Call>| async move {
                let cmd = || asked.command(&call, *partition, Want::Mend);
                Verdict::of(call.run(asked.script(), cmd).await?)
            };
            match self.call_in(*partition, "repair", self.operation_id, body).await? {
                Verdict::Wrong(words) if words.contains(word) => return Ok(Repaired::Mended),
                Verdict::Wrong(_) => return Ok(Repaired::Gone),
                Verdict::Holder(holder) => subject = subject.with_holder(holder),
                Verdict::Unread => return Ok(Repaired::Left),
            }
        }
        Ok(Repaired::Left)
    }
}
