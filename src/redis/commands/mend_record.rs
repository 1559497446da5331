//! mend_record: sets aside a value under a session's key that is not its record.

use redis::Cmd;

use crate::model::{IndexFields, ms};
use crate::redis::bulk::KEPT_ASIDE;
use crate::redis::call::Call;
use crate::redis::mend::Want;
use crate::redis::script;
use crate::stored::partitions::Partition;

/// `found` is the SHA-1 of the judged value; empty for a foreign type.
pub(crate) fn command(
    call: &Call,
    partition: Partition,
    want: Want,
    id: &[u8],
    named: &IndexFields<Vec<u8>>,
    found: &str,
) -> Cmd {
    let keys = call.partitions().keys(partition);
    let mut declared = keys.of_session(id, named).to_vec();
    declared.push(keys.aside(id));
    let mut cmd = match want {
        Want::Tell => call.evalsha(&script::MEND_RECORD, &declared),
        Want::Mend => call.evalsha_telling(&script::MEND_RECORD, &declared, [&named.node]),
    };
    cmd.arg(want.word()).arg(id).arg(&named.user).arg(&named.connection).arg(&named.node);
    cmd.arg(found).arg(ms(KEPT_ASIDE));
    if want == Want::Mend {
        call.events_argument(&mut cmd);
    }
    cmd
}
