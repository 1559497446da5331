//! mend_node: repairs the lists of the nodes by the lease of one node.

use redis::Cmd;

use crate::model::{Heartbeat, ms};
use crate::redis::call::Call;
use crate::redis::mend::Want;
use crate::redis::script;
use crate::stored::partitions::Partition;

pub(crate) fn command(call: &Call, partition: Partition, want: Want, node: &[u8]) -> Cmd {
    let keys = call.partitions().keys(partition);
    let mut cmd = call.evalsha(&script::MEND_NODE, &[keys.nodes(), keys.lease(node), keys.kept()]);
    cmd.arg(want.word()).arg(node).arg(ms(Heartbeat::KEEP));
    cmd
}
