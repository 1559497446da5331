//! Calls that wait until replicas have what they changed.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Error, check_count, check_duration, require_runtime};
use crate::redis::contract;
use crate::redis::store::RedisStore;
use crate::redis::transport::lane::pool_of;

/// The most replicas and the longest time that a call waits for.
const MOST_REPLICAS: usize = 1000;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Where a change has to be before a caller goes on: see [`RedisStore::durably`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// At so many replicas, 1 to 1,000, besides the master. They are waited for no longer than that, 1 ms to 1 hour.
    Replicas(u32, Duration),
}

/// What was applied at the master, and how many replicas said in time that they have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it may not be at as many replicas as were asked for"]
pub struct Applied<T> {
    /// What the calls answered.
    pub value: T,
    /// How many replicas have it, as far as is known: none where the connection broke before they said so.
    pub replicas: usize,
    wanted: usize,
}

impl<T> Applied<T> {
    /// Whether so many replicas have it as were asked for. If not, it is applied all the same, and may get there yet.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.replicas >= self.wanted
    }
}

impl RedisStore {
    /// Makes calls, and waits until replicas have what they changed, as `WAIT` of Redis tells: for a logout, say, that is not to
    /// be undone by the next failover.
    ///
    /// `calls` gets a handle of this store whose calls go over a connection of its own, up to 64 at once of a store. When it has
    /// ended with `Ok`, the replicas are waited for, once for all calls; an error is returned as it is, at once. The
    /// [deadline](crate::RedisStoreBuilder::deadline) holds for each call; the wait comes on top of it.
    ///
    /// What counts is all that the server had executed by then, also by others: so a call that is repeated under its
    /// operation id, and had happened before, is waited for as well. Where the connection was lost between a call and the
    /// end, nobody knows whether the next is to the same server, and no replica counts.
    ///
    /// [`is_replicated`](Applied::is_replicated) means that so many replicas had it in memory, and no more: neither
    /// that it is on a disk (`WAITAOF` is not offered), nor that one of them is the next master. docs/production.md says more.
    ///
    /// ```
    /// # use cloakroom::{Durability, Error, RedisStore, SessionId};
    /// # use std::time::Duration;
    /// # async fn logout(store: &RedisStore, id: &SessionId) -> Result<(), Error> {
    /// let durability = Durability::Replicas(2, Duration::from_millis(500));
    /// let logout = store.durably(durability, async |store| store.delete(id).await).await?;
    /// if !logout.is_replicated() {
    ///     eprintln!("logged out, and {} replicas know", logout.replicas);
    /// }
    /// # Ok(())
    /// # }
    /// # use cloakroom::SessionStore as _;
    /// ```
    ///
    /// # Errors
    /// Those of the calls. Before they are made: [`Error::Invalid`] for a count or a time out of bounds, or on a cluster,
    /// [`Error::NotExecuted`] where no connection can be had, and
    /// [`Refusal::Forbidden`](crate::Refusal::Forbidden) where the user may not run `WAIT`.
    pub async fn durably<T, E: From<Error>>(
        &self,
        durability: Durability,
        calls: impl AsyncFnOnce(Self) -> Result<T, E>,
    ) -> Result<Applied<T>, E> {
        let Durability::Replicas(count, timeout) = durability;
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        check_count("replicas", wanted, MOST_REPLICAS)?;
        check_duration("timeout", timeout, Duration::from_millis(1), LONGEST_TIMEOUT)?;
        require_runtime()?;
        let (sender, lanes) = (self.sender()?, &self.backend.lanes);
        let deadline = Instant::now() + self.config().deadline;
        let lane = lanes.take(pool_of(&sender)?, deadline).await;
        let lane = lane.map_err(|error| error.at(&self.config().server))?;
        let made = calls(Self { alone: Some(lane.sender().clone()), ..self.clone() }).await;
        let value = match made {
            Ok(value) => value,
            Err(error) => {
                lanes.give_back(lane);
                return Err(error);
            }
        };
        let replicas = lane.replicas(contract::write(self.partitions()), count, timeout).await;
        if replicas.is_some() {
            lanes.give_back(lane);
        }
        Ok(Applied { value, replicas: replicas.unwrap_or(0), wanted })
    }
}
