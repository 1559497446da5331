//! heartbeat: a node's lease, registered, renewed and released.

use crate::model::{Error, Heartbeat, HeartbeatReply, NodeIdentity, Result, Want, ms};
use crate::redis::call::Call;
use crate::redis::reply::Reply;
use crate::redis::script;

/// In each partition, in one round trip. The lease is held where it is held in all of them: it is lost as a whole, and a node
/// that does not get or keep it in one of them lets go of the others, to register anew in all.
pub(crate) async fn run(call: &Call, identity: &NodeIdentity, beat: &Heartbeat) -> Result<HeartbeatReply> {
    beat.check()?;
    let replies = beat_in_each(call, identity, beat, beat.want).await?;
    let is_held = |reply: &HeartbeatReply| matches!(reply, HeartbeatReply::Held { .. });
    let is_split = beat.want != Want::Release && replies.iter().any(is_held) && !replies.iter().all(is_held);
    if is_split {
        beat_in_each(call, identity, beat, Want::Release).await?;
    }
    let weakest = replies.into_iter().min_by_key(|reply| match reply {
        HeartbeatReply::Lost => (0, 0),
        HeartbeatReply::HeldByAnother { until_ms } => (1, u64::MAX - until_ms),
        HeartbeatReply::Held { until_ms } => (2, *until_ms),
    });
    weakest.ok_or_else(|| Error::corrupt("reply to heartbeat"))
}

async fn beat_in_each(
    call: &Call,
    identity: &NodeIdentity,
    beat: &Heartbeat,
    want: Want,
) -> Result<Vec<HeartbeatReply>> {
    let command = |partition| {
        let keys = call.partitions().keys(partition);
        let keys = [keys.nodes(), keys.lease(identity.node()), keys.kept()];
        let mut cmd = call.evalsha(&script::HEARTBEAT, keys.iter());
        cmd.arg(identity.lease()).arg(identity.node()).arg(ms(beat.lease)).arg(ms(beat.keep));
        cmd.arg(match want {
            Want::Register => "register",
            Want::Renew => "renew",
            Want::Release => "release",
        });
        cmd
    };
    let cmds: Vec<_> = call.partitions().all().map(command).collect();
    let replies = call.run_each(&script::HEARTBEAT, &cmds).await?;
    replies.into_iter().map(read).collect()
}

fn read(mut reply: Reply) -> Result<HeartbeatReply> {
    match reply.word.as_str() {
        "ok" => Ok(HeartbeatReply::Held { until_ms: reply.number()? }),
        "taken" => Ok(HeartbeatReply::HeldByAnother { until_ms: reply.number()? }),
        "missing" => Ok(HeartbeatReply::Lost),
        _ => Err(reply.into_error()),
    }
}
