//! heartbeat: a node's lease, registered, renewed and released.

use crate::model::{Heartbeat, HeartbeatReply, NodeIdentity, Result, Want, ms};
use crate::redis::call::Call;
use crate::redis::script;

pub(crate) async fn run(call: &Call, identity: &NodeIdentity, beat: &Heartbeat) -> Result<HeartbeatReply> {
    beat.check()?;
    let keys = [call.keys().nodes(), call.keys().lease(identity.node()), call.keys().kept()];
    let mut cmd = call.evalsha(&script::HEARTBEAT, keys.iter());
    cmd.arg(identity.lease()).arg(identity.node()).arg(ms(beat.lease)).arg(ms(beat.keep));
    cmd.arg(match beat.want {
        Want::Register => "register",
        Want::Renew => "renew",
        Want::Release => "release",
    });
    let mut reply = call.run(&script::HEARTBEAT, || cmd.clone()).await?;
    match reply.word.as_str() {
        "ok" => Ok(HeartbeatReply::Held { until_ms: reply.number()? }),
        "taken" => Ok(HeartbeatReply::HeldByAnother { until_ms: reply.number()? }),
        "missing" => Ok(HeartbeatReply::Lost),
        _ => Err(reply.into_error()),
    }
}
