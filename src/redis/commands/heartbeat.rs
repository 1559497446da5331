//! heartbeat: a node's lease, registered, renewed and released.

use crate::model::{Heartbeat, LeaseStatus, NodeIdentity, Result, Want, ms};
use crate::redis::call::Operation;
use crate::redis::script;

pub(crate) async fn run(
    operation: &Operation<'_>,
    holder: &NodeIdentity,
    beat: &Heartbeat,
) -> Result<LeaseStatus> {
    beat.check()?;
    let keys = [operation.keys().nodes(), operation.keys().lease(holder.node())];
    let mut call = operation.call(&script::HEARTBEAT, keys.iter().map(String::as_str));
    call.arg(holder.lease()).arg(holder.node()).arg(ms(beat.lease)).arg(ms(beat.keep));
    call.arg(match beat.want {
        Want::Register => "register",
        Want::Renew => "renew",
        Want::Release => "release",
    });
    let mut reply = operation.run(&script::HEARTBEAT, &call).await?;
    match reply.word.as_str() {
        "ok" => Ok(LeaseStatus::Held { until_ms: reply.number()? }),
        "taken" => Ok(LeaseStatus::Taken { until_ms: reply.number()? }),
        "missing" => Ok(LeaseStatus::Lost),
        _ => Err(reply.into_error()),
    }
}
