//! The session limit of a user over both stores. Each store counts its own sessions in one script. The sum is counted
//! before or after that, so two logins at once may count too few.

use crate::draining::store::DrainingStore;
use crate::model::{Error, OnLimit, PageRequest, Refusal, Removed, Result, Selector, SessionId};
use crate::store::session_store::SessionStore;

/// How many sessions one page evicts.
const PAGE: usize = 500;

impl DrainingStore {
    /// Refuses another session for a user who has as many as allowed, some of them in the old store. A repeated call
    /// passes, because it passed before.
    pub(crate) async fn require_room(&self, user: &str) -> Result<()> {
        let Some((limit, OnLimit::Reject)) = self.rules().get_sessions_per_user() else { return Ok(()) };
        if user.is_empty() || self.is_repeat() {
            return Ok(());
        }
        let live = self.live_if_split(user).await?;
        if live >= u64::from(limit) { Err(Error::Refused(Refusal::Limit { live })) } else { Ok(()) }
    }

    /// Evicts the oldest sessions of a user in both stores, all above the limit, except the one just made.
    pub(crate) async fn evict(&self, user: &str, made: &SessionId) -> Result<Vec<Removed>> {
        let Some((limit, OnLimit::EvictOldest)) = self.rules().get_sessions_per_user() else {
            return Ok(Vec::new());
        };
        if user.is_empty() {
            return Ok(Vec::new());
        }
        let mut evicted = Vec::new();
        let above = self.live_if_split(user).await?.saturating_sub(limit.into());
        let above = usize::try_from(above).unwrap_or(PAGE).min(PAGE);
        if above == 0 {
            return Ok(evicted);
        }
        let page = PageRequest::first((above + 1).min(PAGE));
        let oldest = self.list(&Selector::user(user), &page).await?.sessions.into_iter();
        for session in oldest.filter(|session| session.id() != made).take(above) {
            // Under operation ids of their own: that of the call belongs to another operation.
            if self.old.delete(&session).await?.is_some() || self.new.delete(&session).await?.is_some() {
                evicted.push(Removed::of(session.id.clone(), &session.index_fields));
            }
        }
        Ok(evicted)
    }

    /// How many sessions a user has in both stores. 0 if the old store has none: then the new store counts its own.
    async fn live_if_split(&self, user: &str) -> Result<u64> {
        let of = Selector::user(user);
        match self.old.count(&of).await? {
            0 => Ok(0),
            live => Ok(live + self.new.count(&of).await?),
        }
    }
}
