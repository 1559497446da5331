//! clean: what a migration leaves that is not the session is cleared away.

use crate::declared::{Declared, Moved};
use crate::error::Result;
use crate::id::TaskId;
use crate::operation::Operation;
use crate::rules::ms;
use crate::script;
use crate::target::Target;

/// What a migration leaves that is not the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// At the target, a copy that is not to be: only once its source can no longer depart under that freeze.
    Copy {
        /// The end of the freeze at its source under which it was made.
        until_ms: u64,
    },
    /// At the source, where the session went: only once its copy was thawed.
    Departed,
    /// At the target, that the copy was deleted: only once it is deleted at the source too.
    Deleted,
}

impl Leftover {
    /// As the script takes it.
    fn word(self) -> &'static str {
        match self {
            Self::Copy { .. } => "copy",
            Self::Departed => "departed",
            Self::Deleted => "deleted",
        }
    }
}

/// What cleaning up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cleaned {
    /// It is cleared away.
    Cleaned,
    /// There was nothing of the kind.
    Unchanged,
}

pub(crate) async fn run(
    operation: &Operation<'_>,
    target: &dyn Target,
    task: TaskId,
    what: Leftover,
) -> Result<Cleaned> {
    let mut declared = Declared::of(target, Moved::Answer);
    let call = |declared: &Declared| {
        let mut keys = operation.keys().of_session(declared.id.as_str(), &declared.routing).to_vec();
        keys.push(operation.keys().migrations());
        let mut call = operation.call(&script::CLEAN, keys.iter().map(String::as_str));
        call.arg(task.as_bytes()).arg(declared.id.as_str());
        call.arg(&declared.routing.user).arg(&declared.routing.connection).arg(&declared.routing.node);
        let until_ms = if let Leftover::Copy { until_ms } = what { until_ms } else { 0 };
        call.arg(what.word()).arg(until_ms).arg(ms(operation.rules().tombstone));
        call
    };
    let reply = declared.settle(operation, &script::CLEAN, call).await?;
    match reply.word.as_str() {
        "ok" => Ok(Cleaned::Cleaned),
        "unchanged" => Ok(Cleaned::Unchanged),
        _ => Err(reply.into_error()),
    }
}
