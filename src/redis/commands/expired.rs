//! expired: the sessions that expired before a time.

use crate::model::{Error, Expired, Result, check_count};
use crate::redis::call::Call;
use crate::redis::script;

/// `before` in milliseconds since the epoch, `None` for now.
pub(crate) async fn run(call: &Call, before: Option<u64>, skip: usize, limit: usize) -> Result<Vec<Expired>> {
    check_count("page size", limit, Expired::LARGEST_PAGE)?;
    let keys = [call.keys().expiry()];
    let mut cmd = call.evalsha(&script::EXPIRED, keys.iter().map(String::as_str));
    cmd.arg(before.map(|before| before.to_string()).unwrap_or_default()).arg(skip).arg(limit);
    let mut reply = call.run(&script::EXPIRED, || cmd.clone()).await?.expect_ok()?;
    let mut expired = Vec::new();
    while !reply.is_empty() {
        expired.push(Expired {
            id: reply.session_id().map_err(|_| Error::corrupt("expiry"))?,
            expired_at_ms: reply.number()?,
        });
    }
    Ok(expired)
}
