//! mend_session: repairs the entries that lead to an id by its record.

use redis::Cmd;

use crate::model::{IndexFields, ms};
use crate::redis::call::Call;
use crate::redis::mend::Want;
use crate::redis::script;
use crate::stored::partitions::Partition;

/// Looks at an id and its named owners. A holder is declared if the script asked for it.
pub(crate) fn command(
    call: &Call,
    partition: Partition,
    want: Want,
    id: &[u8],
    named: &IndexFields<Vec<u8>>,
    holder: &[u8],
) -> Cmd {
    let keys = call.partitions().keys(partition);
    let mut declared = keys.of_session(id, named).to_vec();
    declared.push(keys.migrations());
    declared.push(keys.session(if holder.is_empty() { id } else { holder }));
    let mut cmd = match want {
        Want::Tell => call.evalsha(&script::MEND_SESSION, &declared),
        Want::Mend => call.evalsha_telling(&script::MEND_SESSION, &declared, [&named.node]),
    };
    cmd.arg(want.word()).arg(id).arg(&named.user).arg(&named.connection).arg(&named.node);
    cmd.arg(holder).arg(ms(call.rules().grace));
    if want == Want::Mend {
        call.events_argument(&mut cmd);
    }
    cmd
}
