//! mend_key: repairs a key that has no TTL, or holds something that does not belong there.

use redis::Cmd;

use crate::model::ms;
use crate::redis::bulk::KEPT_ASIDE;
use crate::redis::call::Call;
use crate::redis::mend::Want;
use crate::redis::script;
use crate::stored::partitions::Partition;

/// The key by the text behind its tag, its type, when it must expire, and the SHA-1 of the broken string that was found
/// there, if any.
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
