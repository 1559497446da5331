//! heartbeat: registers, renews or releases a node's lease.

use redis::Cmd;

use crate::model::{Heartbeat, HeartbeatReply, NodeIdentity, Result, Want, ms};
use crate::redis::call::Call;
use crate::redis::reply::Reply;
use crate::redis::script;
use crate::stored::partitions::Partition;

/// The call in a namespace of one partition.
pub(crate) async fn run(call: &Call, identity: &NodeIdentity, beat: &Heartbeat) -> Result<HeartbeatReply> {
    beat.check()?;
    let cmd = command(call, Partition::default(), identity, beat, beat.want);
    read(call.run(&script::HEARTBEAT, || cmd.clone()).await?)
}

/// The command for one partition. The node may want something else in the next one.
pub(crate) fn command(
    call: &Call,
    partition: Partition,
    identity: &NodeIdentity,
    beat: &Heartbeat,
    want: Want,
) -> Cmd {
    let keys = call.partitions().keys(partition);
    let keys = [keys.nodes(), keys.lease(identity.node()), keys.kept()];
    let mut cmd = call.evalsha(&script::HEARTBEAT, keys.iter());
    cmd.arg(&call.partitions().lease_of(identity, partition));
    cmd.arg(identity.node()).arg(ms(beat.lease)).arg(ms(beat.keep));
    cmd.arg(match want {
        Want::Register => "register",
        Want::Renew => "renew",
        Want::Release => "release",
    });
    cmd
}

pub(crate) fn read(mut reply: Reply) -> Result<HeartbeatReply> {
    match reply.word.as_str() {
        "ok" => Ok(HeartbeatReply::Held { until_ms: reply.number()? }),
        "leased" => Ok(HeartbeatReply::HeldByAnother { until_ms: reply.number()? }),
        "lapsed" => Ok(HeartbeatReply::Lost),
        _ => Err(reply.into_error()),
    }
}
