//! expired: the sessions that expired before a time.

use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::operation::Operation;
use crate::script;

/// The largest page.
const PAGE: usize = 1000;

/// A session that has expired and was not reaped yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// The session's id.
    pub id: SessionId,
    /// When it expired, in milliseconds since the epoch.
    pub expired_at_ms: u64,
}

/// `before` in milliseconds since the epoch, `None` for now.
pub(crate) async fn run(
    operation: &Operation<'_>,
    before: Option<u64>,
    skip: usize,
    limit: usize,
) -> Result<Vec<Expired>> {
    check_page(limit)?;
    let keys = [operation.keys().expiry()];
    let mut call = operation.call(&script::EXPIRED, keys.iter().map(String::as_str));
    call.arg(before.map(|before| before.to_string()).unwrap_or_default()).arg(skip).arg(limit);
    let mut reply = operation.run(&script::EXPIRED, &call).await?.expect_ok()?;
    let mut expired = Vec::new();
    while !reply.is_empty() {
        expired.push(Expired {
            id: reply.session_id().map_err(|_| Error::corrupt("expiry"))?,
            expired_at_ms: reply.number()?,
        });
    }
    Ok(expired)
}

/// How many to read at once.
pub(crate) fn check_page(limit: usize) -> Result<()> {
    if limit == 0 || limit > PAGE {
        return Err(Error::invalid("page size", format!("is {limit}, must be 1 to {PAGE}")));
    }
    Ok(())
}
