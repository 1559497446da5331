//! The framework's operations, made from those of cloakroom.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cloakroom::{
    Error, NewSession, Patch, Refusal, Rotation, Session, SessionRef, SessionStore, SessionStoreExt as _,
    Token,
};
use quick_cache::sync::Cache;

use crate::failure::Failure;
use crate::ids::{self, Draw, token};
use crate::lives;
use crate::loaded::{Data, Known, Loaded, Loose, attributes};

/// How many loaded sessions are kept, and how many saved ones.
const COPIES: usize = 4_096;

/// For how many requests the store keeps where `cycle_id` moved their session.
const LEFT: usize = 16_384;

/// How long a user's session may wait, between `cycle_id` and the end of the request, to be saved under its new id.
const WAITS: Duration = Duration::from_secs(60);

/// How often an id that is in use is replaced by another.
const COLLISIONS: u32 = 3;

/// A store for tower-sessions: it implements that crate's `SessionStore` on a store of cloakroom.
///
/// ```
/// use std::sync::Arc;
/// use cloakroom::{IdScheme, MemoryStore, Rules};
/// use cloakroom_tower_sessions::CloakroomStore;
/// use tower_sessions::SessionManagerLayer;
///
/// let sessions = MemoryStore::builder().rules(Rules::new().id_scheme(IdScheme::Token)).build()?;
/// let store = CloakroomStore::new(Arc::new(sessions))
///     .user_from(|data| Some(data.get("user")?.as_str()?.to_owned()));
/// let layer = SessionManagerLayer::new(store);
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone)]
pub struct CloakroomStore {
    store: Arc<dyn SessionStore>,
    user_from: Arc<UserFrom>,
    requests: Arc<Requests>,
}

type UserFrom = dyn Fn(&Data) -> Option<String> + Send + Sync;

/// What unfinished requests did.
struct Requests {
    /// How many loads there were.
    loads: AtomicU64,
    /// The loaded sessions, by their loads. With a copy a save takes one round trip.
    loaded: Cache<u64, Session>,
    /// The state of a session after a request saved it, by its load: a request may save again.
    saved: Cache<u64, Known>,
    /// Where `cycle_id` moved a session, by its former id.
    left: Cache<String, Left>,
}

/// A session between `cycle_id` and the end of the request, under an id that no client has yet.
#[derive(Clone, Copy)]
struct Left {
    id: i128,
    ttl: Duration,
}

impl CloakroomStore {
    /// Makes a store for the framework that keeps its sessions in a store of cloakroom.
    #[must_use]
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        let (loaded, saved, left) = (Cache::new(COPIES), Cache::new(COPIES), Cache::new(LEFT));
        let requests = Requests { loads: AtomicU64::new(0), loaded, saved, left };
        Self { store, user_from: Arc::new(|_| None), requests: Arc::new(requests) }
    }

    /// Finds the user of a session in its data (`Record::data`). Under that user the session is listed, counted,
    /// limited and logged out everywhere. Defaults to no user.
    #[must_use]
    pub fn user_from(mut self, user: impl Fn(&Data) -> Option<String> + Send + Sync + 'static) -> Self {
        self.user_from = Arc::new(user);
        self
    }

    /// The same for axum-login: the id of its user, as text or as JSON. `data_key` is that of
    /// `AuthManagerLayerBuilder::with_data_key`, which defaults to `axum-login.data`.
    #[cfg(feature = "axum-login")]
    #[must_use]
    pub fn users_of_axum_login(self, data_key: &'static str) -> Self {
        self.user_from(move |data| match data.get(data_key)?.get("user_id")? {
            serde_json::Value::Null => None,
            serde_json::Value::String(user) => Some(user.clone()),
            user => Some(user.to_string()),
        })
    }

    pub(crate) async fn load(&self, id: i128) -> Result<Option<Loose>, Failure> {
        if ids::is_of_record(id) {
            return Ok(None);
        }
        let token = token(id);
        let Some(session) = self.store.get(&token).await? else { return Ok(None) };
        let was = Known::of(&session)?;
        let mut data = was.data.clone();
        let load = self.requests.loads.fetch_add(1, Ordering::Relaxed);
        let is_rotated = session.id() != token.id();
        Loaded { load, session: token.id().as_str().to_owned(), is_rotated, was }.note(&mut data)?;
        let expiry = lives::time(session.expires_at_ms());
        self.requests.loaded.insert(load, session);
        Ok(Some(Loose { id: ids::of_record(id), data, expiry }))
    }

    /// Saves only the changes of the request. A session that has ended stays ended.
    pub(crate) async fn save(&self, Loose { id, mut data, expiry }: Loose) -> Result<(), Failure> {
        let (token, loaded, user) = (token(id), self.take(&mut data), self.user_of(&data));
        let Some(ttl) = lives::until(expiry) else {
            self.store.delete(&token).await?;
            return Ok(());
        };
        let Some(Loaded { load, is_rotated, was, .. }) = loaded else {
            // The record was cleared, or this request made it, so its former content is unknown.
            let replace = |session: &mut Session| {
                *session.attributes_mut() = attributes(&data)?;
                Ok(())
            };
            return self.change(&token, replace, user, ttl).await;
        };
        if is_rotated {
            return Err(Failure::Rotated);
        }
        let ttl = lives::anew(ttl, was.ttl);
        if user == was.user {
            let copy = self.requests.loaded.get(&load);
            let session: &dyn SessionRef = match &copy {
                Some(copy) => copy,
                None => &token,
            };
            let patched = self.store.patch(session, was.changes(&data)?.ttl(ttl)).await?;
            if patched.id != *token.id() {
                // It is saved. But on success the framework would set a cookie with the old id.
                return Err(Failure::Rotated);
            }
        } else {
            self.change(&token, |session| was.merge(session, &data), user.clone(), ttl).await?;
        }
        self.requests.saved.insert(load, Known { user, ttl, data });
        Ok(())
    }

    /// Makes a session. If `cycle_id` moved one that is still there, it is that one. From then on the record has no
    /// note.
    pub(crate) async fn create(&self, mut record: Loose, draw: Draw) -> Result<Loose, Failure> {
        let loaded = self.take(&mut record.data);
        let user = self.user_of(&record.data);
        let ttl = lives::until(record.expiry).unwrap_or(Duration::from_millis(1));
        let Some(Loaded { session, was, is_rotated, .. }) = loaded else {
            return self.make(record, user, ttl, draw).await;
        };
        // A client that came with an old id does not get the new one.
        let left = self.requests.left.get(&session).filter(|_| !is_rotated);
        let went_on = match (left, &user) {
            (Some(left), user) if *user == was.user => {
                let changes = was.changes(&record.data)?.ttl(lives::anew(ttl, left.ttl));
                self.store.patch(&token(left.id), changes).await.map(|_| left.id).map_err(Failure::from)
            }
            (Some(left), Some(user)) => {
                let changes = was.changes(&record.data)?.ttl(lives::anew(ttl, left.ttl));
                self.log_in(left, user, changes, draw).await
            }
            (Some(left), None) => {
                self.store.delete(&token(left.id)).await?;
                return self.make(record, None, ttl, draw).await;
            }
            (None, _) => Err(Failure::Ended),
        };
        match went_on {
            Ok(id) => {
                self.requests.left.remove(&session);
                Ok(Loose { id, ..record })
            }
            // A login starts a new session, whatever became of the visitor's.
            Err(Failure::Ended | Failure::Rotated) if was.user.is_none() && user.is_some() => {
                self.make(record, user, ttl, draw).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// Deletes the session of a cookie. `cycle_id` deletes the id of a record.
    pub(crate) async fn delete(&self, id: i128, draw: Draw) -> Result<(), Failure> {
        if ids::is_of_record(id) {
            return self.leave(id, draw).await;
        }
        self.store.delete(&token(id)).await?;
        Ok(())
    }

    /// Moves a session from its client's id to one that nobody has until `create`. It stays its user's, so a logout
    /// meanwhile is not undone.
    async fn leave(&self, id: i128, draw: Draw) -> Result<(), Failure> {
        let old = token(id);
        let new = ids::draw(draw, &*self.store, "", Some(old.id()));
        let session = match self.store.rotate(&old, Rotation::new().new_id(token(new))).await {
            Ok(rotated) if !rotated.by_another => rotated.session,
            // `create` will find that this request has no session to continue.
            Ok(_) | Err(Error::Refused(Refusal::Missing | Refusal::Rotated { .. })) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut ttl = session.ttl();
        if session.user().is_some() {
            ttl = WAITS;
            self.store.patch(&session, Patch::new().ttl(ttl)).await?;
        }
        self.requests.left.insert(old.id().as_str().to_owned(), Left { id: new, ttl });
        Ok(())
    }

    /// Gives a user a session under an id in the user's partition. The data follow after that: a client with the
    /// visitor's id must not get them.
    async fn log_in(&self, left: Left, user: &str, changes: Patch, draw: Draw) -> Result<i128, Failure> {
        let id = ids::draw(draw, &*self.store, user, None);
        let rotation = Rotation::new().new_id(token(id)).user(user);
        let session = self.store.rotate(&token(left.id), rotation).await?.session;
        if let Err(error) = self.store.patch(&session, changes).await {
            // Nobody gets its id. If this fails too, the session expires unused.
            let _ = self.store.delete(&session).await;
            return Err(error.into());
        }
        Ok(id)
    }

    async fn make(
        &self,
        record: Loose,
        user: Option<String>,
        ttl: Duration,
        draw: Draw,
    ) -> Result<Loose, Failure> {
        let user = user.unwrap_or_default();
        let attributes = attributes(&record.data)?;
        let mut id = ids::of_cookie(record.id);
        if self.store.check_id(token(id).id(), &user, None).is_err() {
            id = ids::draw(draw, &*self.store, &user, None);
        }
        for _ in 0..COLLISIONS {
            let new = NewSession::new().id(token(id)).user(&user).ttl(ttl).attributes(attributes.clone());
            match self.store.create(new).await {
                Err(Error::Refused(Refusal::Exists | Refusal::Gone | Refusal::Rotated { .. })) => {
                    id = ids::draw(draw, &*self.store, &user, None);
                }
                created => {
                    let expiry = lives::time(created?.session.expires_at_ms());
                    return Ok(Loose { id, data: record.data, expiry });
                }
            }
        }
        Err(Error::Refused(Refusal::Exists).into())
    }

    /// Changes a session as a whole, which a patch cannot.
    async fn change<F>(
        &self,
        token: &Token,
        mut change: F,
        user: Option<String>,
        ttl: Duration,
    ) -> Result<(), Failure>
    where
        F: FnMut(&mut Session) -> Result<(), Error> + Send,
    {
        let user = user.unwrap_or_default();
        let change = |session: &mut Session| {
            if session.id() != token.id() {
                return Err(Failure::Rotated);
            }
            change(session)?;
            session.set_user(&user);
            session.set_ttl(lives::anew(ttl, session.ttl()));
            Ok(())
        };
        self.store.modify(token, change).await.map(drop)
    }

    /// Takes the note out of a record's data, and updates it: the request may have saved before.
    fn take(&self, data: &mut Data) -> Option<Loaded> {
        let loaded = Loaded::take(data)?;
        let was = self.requests.saved.get(&loaded.load).unwrap_or(loaded.was);
        Some(Loaded { was, ..loaded })
    }

    fn user_of(&self, data: &Data) -> Option<String> {
        (self.user_from)(data).filter(|user| !user.is_empty())
    }
}

impl fmt::Debug for CloakroomStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CloakroomStore").field(&self.store).finish()
    }
}
