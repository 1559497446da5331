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

/// Where a change must be before the caller goes on: see [`RedisStore::durably`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// At this many replicas, 1 to 1,000, besides the master. The call waits for them no longer than this, 1 ms to 1
    /// hour.
    Replicas(u32, Duration),
}

/// A change that the master applied, and how many replicas confirmed it in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "fewer replicas than required may have it"]
pub struct Applied<T> {
    /// The return value of the calls.
    pub value: T,
    /// How many replicas confirmed it: none if the connection broke first.
    pub replicas: usize,
    wanted: usize,
}

impl<T> Applied<T> {
    /// Whether the required number of replicas has it. If not, the master has still applied it, and replicas may get
    /// it later.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.replicas >= self.wanted
    }
}

impl RedisStore {
    /// Makes calls, and waits until replicas have their changes, by the command `WAIT` of Redis. Use it, for example,
    /// for a logout that the next failover must not undo.
    ///
    /// `calls` gets a handle of this store whose calls use a connection of its own; a store has up to 64 of these at
    /// once. When `calls` ends with `Ok`, this method waits for the replicas, once for all calls; it returns an error
    /// at once. The [deadline](crate::RedisStoreBuilder::deadline) applies to each call; the wait comes on top.
    ///
    /// The replicas must have everything that the server had executed by then, also for other callers. So a repeated
    /// call that had happened before is covered too. If the connection broke between a call and the end, the next one
    /// may lead to another server, so no replica counts.
    ///
    /// [`is_replicated`](Applied::is_replicated) means only that this many replicas had the change in memory. It does
    /// not mean that the change is on a disk (`WAITAOF` is not offered), nor that one of these replicas becomes the
    /// next master. docs/production.md says more.
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
    /// Those of the calls. Before the calls: [`Error::Invalid`] for a count or a time out of bounds, or on a cluster;
    /// [`Error::NotExecuted`] if there is no connection; [`Refusal::Forbidden`](crate::Refusal::Forbidden) if the user
    /// may not run `WAIT`.
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
