//! count: how many live sessions a user or node has.

use crate::memory::call::Call;
use crate::model::{Result, Selector, SessionId};

/// Entries looked at in one go.
const SPAN: usize = 1000;

pub(crate) fn run(call: &Call<'_>, of: &Selector) -> Result<u64> {
    of.validate()?;
    let (mut total, mut last) = (0, None);
    loop {
        let (live, next) = span(call.another(), of, last.as_ref())?;
        total += live;
        match next {
            Some(next) => last = Some(next),
            None => return Ok(total),
        }
    }
}

/// How many sessions of a span are live, and where the next span begins.
fn span(
    call: Call<'_>,
    of: &Selector,
    last: Option<&(u64, SessionId)>,
) -> Result<(u64, Option<(u64, SessionId)>)> {
    let now = call.now;
    call.reaching([of.words().1]).settle(|_, locked| {
        let index = locked.index(of).map(|index| index.after(last));
        let entries: Vec<_> = index.into_iter().flatten().take(SPAN).collect();
        locked.need(entries.iter().map(|(_, id)| id.as_str()))?;
        let is_live = |id| locked.record(id, now).is_some_and(|record| record.expires_at > now);
        let live = entries.iter().filter(|(_, id)| is_live(id)).count();
        let next = entries.last().filter(|_| entries.len() == SPAN);
        Ok((live as u64, next.map(|entry| (*entry).clone())))
    })
}
