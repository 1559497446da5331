//! Read, change and save, until no other change comes in between.

use async_trait::async_trait;

use crate::model::{Error, Obstacle, Refusal, Result, Session, SessionRef};
use crate::store::session_store::SessionStore;

/// How often `modify` tries when others change the session meanwhile.
const MODIFY_ATTEMPTS: u32 = 32;

/// Methods that combine several operations.
#[async_trait]
pub trait SessionStoreExt: SessionStore {
    /// Reads a session, changes the copy and saves it. If others changed the session meanwhile, it starts over.
    /// `change` runs once per attempt, each time on a fresh copy. `change` may return an error type of your own,
    /// into which the store's errors are converted.
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
    /// `update.lua`, against the version that was read: no change by others is lost.
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
