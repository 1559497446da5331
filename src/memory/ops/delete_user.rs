//! delete_user: deletes all sessions of a user, or all except one, in bounded batches.

use crate::memory::call::Call;
use crate::memory::ops::get;
use crate::model::{Result, SESSIONS_PER_SCRIPT, Selector, SessionId, UserDeleted, require_name};

pub(crate) fn run(call: &Call<'_>, user: &str, keep: Option<&SessionId>) -> Result<UserDeleted> {
    require_name("user id", user)?;
    // The session to keep: the id that the caller named, and the one that it was rotated to.
    let renamed = keep.and_then(|keep| get::find(call, keep, |id, _| id.clone()).ok().flatten());
    let kept: Vec<&SessionId> = keep.into_iter().chain(&renamed).collect();
    let mut done = UserDeleted::default();
    let mut newest = None;
    loop {
        let ids = batch(call, user, &kept, &mut newest)?;
        if ids.is_empty() {
            return Ok(done);
        }
        done.removed.extend(call.another().remove(user, ids));
    }
}

/// A batch of the sessions that existed when the call began, none newer than the newest of those. Sessions that are
/// created meanwhile survive, so that the call ends.
fn batch(
    call: &Call<'_>,
    user: &str,
    kept: &[&SessionId],
    newest: &mut Option<u64>,
) -> Result<Vec<SessionId>> {
    call.another().reaching([user]).settle(|_, locked| {
        let Some(index) = locked.index(&Selector::user(user)) else {
            return Ok(Vec::new());
        };
        let newest = *newest.get_or_insert(index.newest());
        let old = index.iter().take_while(|(created_at, _)| *created_at <= newest).map(|(_, id)| id);
        Ok(old.filter(|id| !kept.contains(id)).take(SESSIONS_PER_SCRIPT).cloned().collect())
    })
}
