//! reap: removes expired sessions with all their index entries, and returns them.

use crate::memory::call::Call;
use crate::memory::ops::expired;
use crate::memory::record::Record;
use crate::memory::removal;
use crate::model::{Reaped, Result, SESSIONS_PER_SCRIPT, SessionId, check_count};
use crate::store::meter;

pub(crate) fn run(call: Call<'_>, batch: usize) -> Result<Reaped> {
    check_count("batch", batch, SESSIONS_PER_SCRIPT)?;
    let now = call.now;
    let removed: Vec<(SessionId, Record)> = call.reaching_all().settle(|call, locked| {
        let ids: Vec<SessionId> =
            expired::oldest(locked, call.now).take(batch).map(|(_, id)| id.clone()).collect();
        let remove = |id: SessionId| {
            let record = removal::make_way(call, locked, &id);
            (id, record)
        };
        Ok(ids.into_iter().map(remove).collect())
    })?;
    let more = removed.len() == batch;
    let sessions = removed.iter().map(|(id, record)| record.session(id, now)).collect();
    let reaped = Reaped { sessions, more, ..Reaped::default() };
    meter::reaped(&reaped, Some(now));
    Ok(reaped)
}
