//! How many sessions a user may have in both stores together. Each store counts its own in one script; both together are
//! counted before or after that, so two logins at once may see less than there is.

use crate::draining::store::DrainingStore;
use crate::model::{Error, OnLimit, PageRequest, Refusal, Removed, Result, Selector, SessionId};
use crate::store::session_store::SessionStore;

/// How many are evicted by one page.
const PAGE: usize = 500;

impl DrainingStore {
    /// Refuses one more session of a user who has as many as allowed, some of them in the old store. A call that is repeated
    /// passed before.
    pub(crate) async fn require_room(&self, user: &str) -> Result<()> {
        let Some((limit, OnLimit::Reject)) = self.rules().get_sessions_per_user() else { return Ok(()) };
        if user.is_empty() || self.is_repeat() {
            return Ok(());
        }
        let live = self.live_if_split(user).await?;
        if live >= u64::from(limit) { Err(Error::Refused(Refusal::Limit { live })) } else { Ok(()) }
    }

    /// Deletes the oldest sessions of a user in both stores, all above the limit, but not the one that was made.
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
            // Under ids of their own, for that of the call is of another.
            if self.old.delete(&session).await?.is_some() || self.new.delete(&session).await?.is_some() {
                evicted.push(Removed::of(session.id.clone(), &session.index_fields));
            }
        }
        Ok(evicted)
    }

    /// How many a user has in both stores; none are counted of one who has none in the old, for the new one counts its own.
    async fn live_if_split(&self, user: &str) -> Result<u64> {
        let of = Selector::user(user);
        match self.old.count(&of).await? {
            0 => Ok(0),
            live => Ok(live + self.new.count(&of).await?),
        }
    }
}
