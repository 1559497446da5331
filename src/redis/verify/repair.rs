//! Repairs violations: one script for each, which first checks it again.

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

/// The result of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// It is repaired.
    Mended,
    /// It no longer exists: it was repaired with another violation of the same session, others were faster, or the
    /// session is gone.
    Gone,
    /// It stays: it needs manual repair, something foreign or corrupt is in the way that is a violation of its own, or
    /// a migration moves the session.
    Left,
}

impl RedisStore {
    /// Repairs a violation that a [`Verifier`](crate::verify::Verifier) found. It first checks whether the violation
    /// still exists, so it changes nothing that is correct, and you may call it again.
    ///
    /// It deletes no live session. It sets unreadable data aside for a week, under a key `aside`.
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
