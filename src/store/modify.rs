//! Read, change and save, again until nobody came in between.

use async_trait::async_trait;

use crate::model::{Error, Obstacle, Refusal, Result, Session, SessionRef};
use crate::store::session_store::SessionStore;

/// How often `modify` reads and tries again, when others change the session meanwhile.
const MODIFY_ATTEMPTS: u32 = 32;

/// What is built from the operations.
#[async_trait]
pub trait SessionStoreExt: SessionStore {
    /// Reads a session, changes the copy and saves it, again when others changed it meanwhile. `change` runs once an
    /// attempt, each time on a fresh copy. Its error is the caller's own, which errors of the store become too.
    ///
    /// ```
    /// use cloakroom::{Error, SessionId, SessionStore, SessionStoreExt};
    ///
    /// #[derive(Debug)]
    /// enum CartError {
    ///     Full,
    ///     Store(Error),
    /// }
    ///
    /// impl From<Error> for CartError {
    ///     fn from(error: Error) -> Self {
    ///         Self::Store(error)
    ///     }
    /// }
    ///
    /// async fn add(store: &dyn SessionStore, id: &SessionId, item: &str) -> Result<(), CartError> {
    ///     store
    ///         .modify(id, |session| {
    ///             let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    ///             if cart.len() == 100 {
    ///                 return Err(CartError::Full);
    ///             }
    ///             cart.push(item.to_owned());
    ///             Ok(session.set("cart", &cart)?)
    ///         })
    ///         .await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`update`](SessionStore::update), [`Missing`](Refusal::Missing) included; what `change` returns;
    /// [`Error::NotExecuted`] after 32 conflicts in a row.
    ///
    /// # Atomicity
    /// `update.lua`, against the version that was read: no change of others is lost.
    async fn modify<F, E>(&self, session: &dyn SessionRef, mut change: F) -> Result<Session, E>
    where
        F: FnMut(&mut Session) -> Result<(), E> + Send,
        E: From<Error> + Send,
    {
        for _ in 0..MODIFY_ATTEMPTS {
            let Some(mut session) = self.get(session.id()).await? else {
                return Err(Error::Refused(Refusal::Missing).into());
            };
            change(&mut session)?;
            match self.update(&mut session).await {
                Ok(()) => return Ok(session),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::obstacle(Obstacle::Contended, None).into())
    }
}

impl<S: SessionStore + ?Sized> SessionStoreExt for S {}
