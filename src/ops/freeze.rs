//! freeze: a live session that goes over to another store is read and deleted, and not changed.

use std::time::Duration;

use crate::declared::{Declared, Moved};
use crate::error::Result;
use crate::export::Export;
use crate::id::TaskId;
use crate::operation::Operation;
use crate::routing::check_name;
use crate::rules::{check_duration, ms};
use crate::script;
use crate::target::Target;

/// The longest that a session may be frozen.
const LONGEST: Duration = Duration::from_secs(3600);

/// A session that is frozen, so that its copy cannot grow old.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frozen {
    /// The session as it was before.
    pub export: Export,
    /// When the freeze is over, if nothing ends it before, in milliseconds since the epoch.
    pub until_ms: u64,
}

/// What a caller freezes for.
pub(crate) fn check(place: &str, span: Duration) -> Result<()> {
    check_name("place", place)?;
    check_duration("freeze", span, Duration::from_millis(1), LONGEST)
}

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    task: TaskId,
    place: &str,
    span: Duration,
) -> Result<Option<Frozen>> {
    check(place, span)?;
    let mut declared = Declared::of(target, Moved::Follow);
    let call = |declared: &Declared| {
        let keys = [operation.keys().session(declared.id.as_str()), operation.keys().migrations()];
        let mut call = operation.call(&script::FREEZE, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(declared.id.as_str()).arg(place);
        call.arg(ms(span)).arg(ms(operation.rules().grace));
        call
    };
    let mut reply = declared.settle(operation, &script::FREEZE, call).await?;
    match reply.word.as_str() {
        "ok" => {
            let until_ms = reply.number()?;
            let (session, operations) = reply.export(&declared.id)?;
            Ok(Some(Frozen { export: Export::new(session, operations), until_ms }))
        }
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}
