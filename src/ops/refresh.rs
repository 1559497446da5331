//! refresh: a live session is used, and extended when enough of its idle time is gone.

use crate::declared::{Declared, Moved};
use crate::error::Result;
use crate::id::{SessionId, Version};
use crate::operation::Operation;
use crate::reply::Reply;
use crate::rules::ms;
use crate::script;
use crate::session::Session;
use crate::target::Target;

/// What a refresh came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// The session's id, a new one if it was rotated.
    pub id: SessionId,
    /// The version that it is at. A refresh does not count.
    pub version: Version,
    /// When it was last used, in milliseconds since the epoch.
    pub last_active_ms: u64,
    /// When it expires, in milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// False: it was used within the touch interval, and nothing was written.
    pub changed: bool,
}

pub(crate) async fn run(operation: &Operation<'_>, target: &dyn Target) -> Result<Option<Refreshed>> {
    let Some((declared, mut reply)) = settle(operation, target, "times").await? else {
        return Ok(None);
    };
    Ok(Some(Refreshed {
        id: declared.id,
        version: reply.version()?,
        last_active_ms: reply.number()?,
        expires_at_ms: reply.number()?,
        changed: reply.word == "ok",
    }))
}

pub(crate) async fn run_and_get(operation: &Operation<'_>, target: &dyn Target) -> Result<Option<Session>> {
    let Some((declared, mut reply)) = settle(operation, target, "record").await? else {
        return Ok(None);
    };
    let _times = (reply.version()?, reply.number()?, reply.number()?);
    reply.session(&declared.id).map(Some)
}

async fn settle(
    operation: &Operation<'_>,
    target: &dyn Target,
    want: &str,
) -> Result<Option<(Declared, Reply)>> {
    let rules = operation.rules();
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| {
        let keys = operation.keys().of_session(declared.id.as_str(), &declared.routing);
        let mut call = operation.call(&script::REFRESH, keys.iter().map(String::as_str));
        call.arg(declared.id.as_str());
        call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
        call.arg(rules.threshold_thousandths()).arg(ms(rules.touch_interval)).arg(ms(rules.grace)).arg(want);
        call
    };
    let reply = declared.settle(operation, &script::REFRESH, call).await?;
    match reply.word.as_str() {
        "ok" | "unchanged" => Ok(Some((declared, reply))),
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}
