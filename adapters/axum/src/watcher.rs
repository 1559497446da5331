//! Tells sockets when the session that they belong to ends, wherever that happens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom::events::{Event, EventKind, EventStream, EventsFrom, Told};
use cloakroom::{Error, Invalid, Refusal, SessionId, SessionStore};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How long to wait until a store that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads what becomes of sessions, once for all sockets of a process. Its clones are the same one; it ends with the last of them.
///
/// The store needs events ([`Rules::events`](cloakroom::Rules::events)) and a reaper, for what expires ends when it is reaped.
#[derive(Clone)]
pub struct SessionWatcher {
    watched: Arc<Watched>,
    _reader: Arc<Reader>,
}

/// Ends its task with it.
struct Reader(AbortHandle);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for SessionWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionWatcher").finish_non_exhaustive()
    }
}

impl SessionWatcher {
    /// Begins to read.
    ///
    /// # Errors
    /// Those of [`EventStore::events`](cloakroom::events::EventStore::events); [`Error::Invalid`] for a store that tells none.
    pub async fn start(store: Arc<dyn SessionStore>) -> Result<Self, Error> {
        let none = || Error::Invalid(Invalid::new("events", "are not told by this store"));
        let events = store.event_store().ok_or_else(none)?.events(EventsFrom::Now).await?;
        let watched = Arc::new(Watched { store, sockets: Mutex::default() });
        let reader = tokio::spawn(read(watched.clone(), events));
        Ok(Self { watched, _reader: Arc::new(Reader(reader.abort_handle())) })
    }

    /// What ends when a session does.
    pub(crate) async fn watch(&self, id: &SessionId, user: Option<&str>) -> Result<Ended, Error> {
        let ended = self.watched.add(id, user);
        // What became of it before it was noted, no event will tell.
        self.watched.ask(id).await?;
        Ok(ended)
    }
}

/// Ends when a session ends, or is not its user's any more: when it is deleted, evicted or expires, is taken to another store, or its
/// user logs out or becomes another. A visitor who logs in is followed.
#[must_use = "it does nothing unless it is awaited"]
pub struct Ended {
    key: u64,
    told: oneshot::Receiver<()>,
    watched: Arc<Watched>,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

impl Ended {
    /// Waits for it. It may be waited for again where this was dropped.
    pub async fn wait(&mut self) {
        // An error tells that the watcher let go of it, which it does at the end alone.
        (&mut self.told).await.unwrap_or_default();
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.watched.sockets().remove(self.key);
    }
}

struct Watched {
    store: Arc<dyn SessionStore>,
    sockets: Mutex<Sockets>,
}

/// Who waits for the end of which session.
#[derive(Default)]
struct Sockets {
    last_key: u64,
    waiting: HashMap<u64, Socket>,
    keys: HashMap<SessionId, Vec<u64>>,
}

/// A socket, of a session of a user or of a visitor.
struct Socket {
    session: SessionId,
    user: Option<String>,
    /// Dropped, it tells the socket.
    _tell: oneshot::Sender<()>,
}

impl Sockets {
    fn add(&mut self, id: &SessionId, user: Option<&str>) -> (u64, oneshot::Receiver<()>) {
        self.last_key += 1;
        let (tell, told) = oneshot::channel();
        let socket = Socket { session: id.clone(), user: user.map(str::to_owned), _tell: tell };
        self.waiting.insert(self.last_key, socket);
        self.keys.entry(id.clone()).or_default().push(self.last_key);
        (self.last_key, told)
    }

    fn remove(&mut self, key: u64) {
        let Some(socket) = self.waiting.remove(&key) else {
            return;
        };
        if let Some(keys) = self.keys.get_mut(&socket.session) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.keys.remove(&socket.session);
            }
        }
    }

    fn end(&mut self, id: &SessionId) {
        for key in self.keys.remove(id).unwrap_or_default() {
            self.waiting.remove(&key);
        }
    }

    /// The session goes on under an id, as a user's or a visitor's. Tells whether anybody waited.
    fn follow(&mut self, id: &SessionId, new_id: &SessionId, user: Option<&str>) -> bool {
        let Some(keys) = self.keys.remove(id) else {
            return false;
        };
        let waiting = &mut self.waiting;
        let stays = keys.into_iter().filter(|key| match waiting.get_mut(key) {
            Some(socket) if socket.user.is_none() || socket.user.as_deref() == user => {
                (socket.session, socket.user) = (new_id.clone(), user.map(str::to_owned));
                true
            }
            _ => {
                waiting.remove(key);
                false
            }
        });
        let stays: Vec<u64> = stays.collect();
        if !stays.is_empty() {
            self.keys.entry(new_id.clone()).or_default().extend(stays);
        }
        true
    }
}

impl Watched {
    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, id: &SessionId, user: Option<&str>) -> Ended {
        let (key, told) = self.sockets().add(id, user);
        Ended { key, told, watched: self.clone() }
    }

    async fn heed(&self, event: &Event) {
        let has_ended = matches!(event.kind, EventKind::Ended(_) | EventKind::Departed);
        match event.kind.goes_on_as() {
            None if has_ended => self.sockets().end(&event.id),
            None => {}
            Some(new_id) => {
                // Of what ends here, the user is the one before.
                let is_watched = self.sockets().follow(&event.id, new_id, event.user.as_deref());
                // It is in another partition now, and what that told of its end may have been read before this. Where the
                // store does not answer, closing a socket too many is what does no harm.
                if is_watched && has_ended && self.ask(new_id).await.is_err() {
                    self.sockets().end(new_id);
                }
            }
        }
    }

    /// Asks the store what became of a session.
    async fn ask(&self, id: &SessionId) -> Result<(), Error> {
        match self.store.get_fresh(id).await {
            Ok(Some(session)) => {
                self.sockets().follow(id, session.id(), session.user());
            }
            // Under which id it goes on after a login, nobody is told: so the client has to come back with its new cookie.
            Ok(None) | Err(Error::Refused(Refusal::Rotated { .. })) => self.sockets().end(id),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks for all, until each was answered.
    async fn ask_all(&self) {
        let mut ids: Vec<SessionId> = self.sockets().keys.keys().cloned().collect();
        while let Some(id) = ids.pop() {
            if self.ask(&id).await.is_err() {
                ids.push(id);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn read(watched: Arc<Watched>, mut events: EventStream) {
    while let Some(told) = events.next().await {
        match told {
            Told::Event(event) => watched.heed(&event).await,
            Told::Lagged { .. } => watched.ask_all().await,
            _ => {}
        }
    }
    // The store is closed: nobody tells any more what ends.
    *watched.sockets() = Sockets::default();
}
