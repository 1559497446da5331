//! Tells sockets when the session that they belong to ends, wherever that happens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloakroom::events::{Event, EventKind, EventStream, EventsFrom, Told};
use cloakroom::{Error, Invalid, Refusal, SessionId, SessionStore};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How long to wait before a store that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the store's events once for all sockets of a process. Clones are the same watcher; it ends with the last of
/// them.
///
/// The store needs events ([`Rules::events`](cloakroom::Rules::events)), and a reaper, because an expired session ends
/// for its sockets only when it is reaped.
#[derive(Clone)]
pub struct SessionWatcher {
    watched: Arc<Watched>,
    _reader: Arc<Reader>,
}

/// Ends the task when it is dropped.
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
    /// Starts to read events.
    ///
    /// # Errors
    /// Those of [`EventStore::events`](cloakroom::events::EventStore::events); [`Error::Invalid`] for a store without
    /// events.
    pub async fn start(store: Arc<dyn SessionStore>) -> Result<Self, Error> {
        let none = || Error::Invalid(Invalid::new("events", "are not supported by this store"));
        let events = store.event_store().ok_or_else(none)?.events(EventsFrom::Now).await?;
        let watched = Arc::new(Watched { store, sockets: Mutex::default() });
        let reader = tokio::spawn(read(watched.clone(), events));
        Ok(Self { watched, _reader: Arc::new(Reader(reader.abort_handle())) })
    }

    /// A future that ends when a session does.
    pub(crate) async fn watch(&self, id: &SessionId, user: Option<&str>) -> Result<Ended, Error> {
        let ended = self.watched.add(id, user);
        // No event will report what became of the session before it was registered here.
        self.watched.ask(id).await?;
        Ok(ended)
    }
}

/// Waits for the end of a session. A session ends here when it is deleted or evicted, expires, moves to
/// another store, or its user logs out or changes. A visitor's login does not end it.
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
    /// Waits for the end. You may drop this future and wait again.
    pub async fn wait(&mut self) {
        // An error means that the watcher dropped the sender, which it does only at the end.
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

/// The sockets that wait for the end of sessions.
#[derive(Default)]
struct Sockets {
    last_key: u64,
    waiting: HashMap<u64, Socket>,
    keys: HashMap<SessionId, Vec<u64>>,
}

/// A socket of a user's or a visitor's session.
struct Socket {
    session: SessionId,
    user: Option<String>,
    /// Dropping it notifies the socket.
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

    /// Follows a session that goes on under another id, as a user's or a visitor's. Returns whether a
    /// socket waited.
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
                // The user in an event of an end is the former one.
                let is_watched = self.sockets().follow(&event.id, new_id, event.user.as_deref());
                // It is in another partition now, whose event of its end may have been read before this one. If the
                // store does not answer, closing one socket too many does no harm.
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
            // After a login the new id is not revealed, so the client must come back with its new cookie.
            Ok(None) | Err(Error::Refused(Refusal::Rotated { .. })) => self.sockets().end(id),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks for all sessions, until each was answered.
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
    // The store is closed: no more ends will be reported.
    *watched.sockets() = Sockets::default();
}
