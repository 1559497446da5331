//! mend_key: a key that has no TTL, or holds what has no place under it.

use redis::Cmd;

use crate::model::ms;
use crate::redis::bulk::KEPT_ASIDE;
use crate::redis::call::Call;
use crate::redis::mend::Want;
use crate::redis::script;
use crate::stored::partitions::Partition;

/// The key by what stands behind its tag, its type, when it is to go, and the SHA-1 of the broken string that was found
/// there, if one was.
pub(crate) fn command(
    call: &Call,
    partition: Partition,
    want: Want,
    (rest, stored_type): (&[u8], &str),
    until: u64,
    found: &str,
) -> Cmd {
    let keys = call.partitions().keys(partition);
    let mut cmd = call.evalsha(&script::MEND_KEY, &[keys.of_rest(rest), keys.aside(rest)]);
    cmd.arg(want.word()).arg(rest).arg(stored_type).arg(until).arg(found).arg(ms(KEPT_ASIDE));
    cmd
}
