//! The framework's operations, made from those of cloakroom.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time;
use anyhow::Result;
use cloakroom::{NewSession, Session, SessionRef, SessionStoreExt as _, Token};
use quick_cache::sync::Cache;

use crate::failure::{Failure, of_store};
use crate::loaded::{Loaded, State, attributes, state_of};

/// How many loaded sessions are kept.
const COPIES: usize = 4_096;

/// For how many requests the store keeps which session they deleted.
const LEFT: usize = 16_384;

/// How many tokens are drawn until one fits its user's partition. There are 1,024 partitions at most.
const DRAWS: u32 = 100_000;

/// A store for actix-session: it implements that crate's `SessionStore` on a store of cloakroom.
///
/// ```
/// use std::sync::Arc;
/// use actix_session::SessionMiddleware;
/// use actix_web::cookie::Key;
/// use cloakroom::{IdScheme, MemoryStore, Rules};
/// use cloakroom_actix_session::CloakroomStore;
///
/// let sessions = MemoryStore::builder().rules(Rules::new().id_scheme(IdScheme::Token)).build()?;
/// let store = CloakroomStore::new(Arc::new(sessions)).user_at("user");
/// let middleware = SessionMiddleware::new(store, Key::generate());
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone)]
pub struct CloakroomStore {
    store: Arc<dyn cloakroom::SessionStore>,
    user_from: Arc<UserFrom>,
    requests: Arc<Requests>,
}

type UserFrom = dyn Fn(&State) -> Option<String> + Send + Sync;

/// What unfinished requests did.
struct Requests {
    /// How many loads there were.
    loads: AtomicU64,
    /// The loaded sessions, by their loads. With a copy an update takes one round trip.
    loaded: Cache<u64, Session>,
    /// The sessions that a request has deleted itself, and may make again under another key. The framework does not say
    /// which request it acts for, but everything for one request is in one task.
    left: Cache<(Option<tokio::task::Id>, String), ()>,
}

impl CloakroomStore {
    /// Makes a store for the framework that keeps its sessions in a store of cloakroom.
    #[must_use]
    pub fn new(store: Arc<dyn cloakroom::SessionStore>) -> Self {
        let (loaded, left) = (Cache::new(COPIES), Cache::new(LEFT));
        let requests = Requests { loads: AtomicU64::new(0), loaded, left };
        Self { store, user_from: Arc::new(|_| None), requests: Arc::new(requests) }
    }

    /// Finds the user of a session in its state. Under that user the session is listed, counted, limited and logged out
    /// everywhere. Defaults to no user.
    #[must_use]
    pub fn user_from(mut self, user: impl Fn(&State) -> Option<String> + Send + Sync + 'static) -> Self {
        self.user_from = Arc::new(user);
        self
    }

    /// Finds the user of a session under a key of its state, as text or as JSON. The key of actix-identity is
    /// `actix_identity.user_id`.
    #[must_use]
    pub fn user_at(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.user_from(move |state| match state.get(&key)?.as_str() {
            "null" => None,
            json => Some(serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())),
        })
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<State>> {
        let Ok(token) = Token::parse(key.as_ref()) else { return Ok(None) };
        let Some(session) = self.store.get(&token).await? else { return Ok(None) };
        let load = self.requests.loads.fetch_add(1, Ordering::Relaxed);
        let mut state = state_of(&session);
        let loaded = Loaded {
            load,
            session: token.id().as_str().to_owned(),
            is_rotated: session.id() != token.id(),
            user: session.user().map(str::to_owned),
            ttl: session.ttl(),
            state: state.clone(),
        };
        loaded.note(&mut state)?;
        self.requests.loaded.insert(load, session);
        Ok(Some(state))
    }

    /// Makes a session. If the request has just deleted the one that it loaded, the new one takes its place.
    async fn make(&self, mut state: State, ttl: Duration) -> Result<SessionKey> {
        let loaded = Loaded::take(&mut state);
        let user = self.user_of(&state);
        if let Some(Loaded { session, user: before, .. }) = loaded {
            let was_there = self.requests.left.remove(&(tokio::task::try_id(), session)).is_some();
            // A login starts a new session, whatever became of the visitor's.
            let is_login = before.is_none() && user.is_some();
            if !was_there && !is_login {
                return Err(Failure::Ended.into());
            }
        }
        let user = user.unwrap_or_default();
        let token = self.draw(&user);
        let new = NewSession::new().id(token.clone()).user(user).ttl(ttl).attributes(attributes(&state)?);
        self.store.create(new).await?;
        Ok(token.expose().to_owned().try_into()?)
    }

    /// Saves only the changes of the request. A session that has ended stays ended.
    async fn change(&self, key: &SessionKey, mut state: State, ttl: Duration) -> Result<()> {
        let token = Token::parse(key.as_ref()).map_err(|_| Failure::Ended)?;
        let loaded = Loaded::take(&mut state);
        let user = self.user_of(&state);
        match loaded {
            Some(Loaded { is_rotated: true, .. }) => Err(Failure::Rotated.into()),
            Some(loaded) if user == loaded.user => {
                let copy = self.requests.loaded.get(&loaded.load);
                let session: &dyn SessionRef = match &copy {
                    Some(copy) => copy,
                    None => &token,
                };
                let changes = loaded.changes(&state)?.ttl(anew(ttl, loaded.ttl));
                let patched = self.store.patch(session, changes).await.map_err(of_store)?;
                // A session with another id is saved too. But on success the framework would set a cookie
                // with the old id.
                if patched.id == *token.id() { Ok(()) } else { Err(Failure::Rotated.into()) }
            }
            loaded => {
                let modify = |session: &mut Session| -> Result<()> {
                    if session.id() != token.id() {
                        return Err(Failure::Rotated.into());
                    }
                    match &loaded {
                        Some(loaded) => loaded.merge(session, &state)?,
                        // The state was cleared, so its former content is unknown.
                        None => *session.attributes_mut() = attributes(&state)?,
                    }
                    session.set_user(user.as_deref().unwrap_or_default());
                    session.set_ttl(anew(ttl, session.ttl()));
                    Ok(())
                };
                self.store.modify(&token, modify).await.map(drop)
            }
        }
    }

    async fn end(&self, key: &SessionKey) -> Result<()> {
        let Ok(token) = Token::parse(key.as_ref()) else { return Ok(()) };
        let was_there = self.store.delete(&token).await?.is_some();
        let place = (tokio::task::try_id(), token.id().as_str().to_owned());
        if was_there {
            self.requests.left.insert(place, ());
        } else {
            self.requests.left.remove(&place);
        }
        Ok(())
    }

    /// Draws a token whose id the store accepts for a session of a user.
    fn draw(&self, user: &str) -> Token {
        let mut tokens = (0..DRAWS).map(|_| Token::random());
        // If none fits, the store refuses the last one and says why.
        let fits = |token: &Token| self.store.check_id(token.id(), user, None).is_ok();
        tokens.find(fits).unwrap_or_else(Token::random)
    }

    fn user_of(&self, state: &State) -> Option<String> {
        (self.user_from)(state).filter(|user| !user.is_empty())
    }
}

impl SessionStore for CloakroomStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        self.get(key).await.map_err(LoadError::Other)
    }

    async fn save(&self, state: State, ttl: &time::Duration) -> Result<SessionKey, SaveError> {
        self.make(state, duration(ttl)).await.map_err(SaveError::Other)
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        ttl: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.change(&key, state, duration(ttl)).await.map_err(UpdateError::Other)?;
        Ok(key)
    }

    /// Records a use of the session. The store's rules say how far that extends it, and how often it is written.
    async fn update_ttl(&self, key: &SessionKey, _ttl: &time::Duration) -> Result<()> {
        if let Ok(token) = Token::parse(key.as_ref()) {
            self.store.refresh(&token).await?;
        }
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<()> {
        self.end(key).await
    }
}

/// The store refuses a ttl that is too short or too long, and says so.
fn duration(ttl: &time::Duration) -> Duration {
    Duration::try_from(*ttl).unwrap_or_default()
}

/// A ttl that differs from the stored one: one millisecond less if they are equal. Only a different ttl starts a
/// new idle time, and each update must start one.
fn anew(ttl: Duration, stored: Duration) -> Duration {
    if ttl == stored { ttl.saturating_sub(Duration::from_millis(1)) } else { ttl }
}

impl fmt::Debug for CloakroomStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CloakroomStore").field(&self.store).finish()
    }
}
