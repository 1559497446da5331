//! The session of a request.

use std::sync::Arc;

use cloakroom::{PageRequest, Rotation, Selector, SessionId, SessionStore};
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};

use crate::csrf;
use crate::device::Device;
use crate::error::SessionError;
use crate::login::Login;
use crate::settings::Settings;
use crate::state::{CookieChange, Held, State};
use crate::watcher::Ended;

/// How many devices a call asks for.
const DEVICES_PER_PAGE: usize = 100;

/// The session of a request: an argument of a handler. Clones are the same session.
///
/// It reads nothing before the handler asks. It saves the changes by [`set`](Self::set) and [`remove`](Self::remove) as
/// one patch when the handler has returned, so that concurrent requests which change different keys do not disturb each
/// other. It does not save them when the response is a 5xx. [`login`](Self::login) and [`logout`](Self::logout) happen
/// at once.
///
/// A visitor gets a session and its cookie with the first `set` or [`csrf_token`](Self::csrf_token).
///
/// # Errors
/// [`SessionError::Store`]: the store did not do it; as a response that is usually 503.
/// [`SessionError::Finished`]: a change came after the handler had returned.
#[derive(Clone, Debug)]
pub struct Session {
    settings: Arc<Settings>,
    state: Arc<Mutex<State>>,
}

/// What the session adds to the response.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) saved: Result<(), SessionError>,
    pub(crate) cookie: Option<HeaderValue>,
    pub(crate) was_read: bool,
}

impl Session {
    pub(crate) fn of_request(settings: Arc<Settings>, headers: &HeaderMap) -> Self {
        let state = State::new(settings.cookie.read(headers));
        Self { settings, state: Arc::new(Mutex::new(state)) }
    }

    /// The attribute of a key, as this request left it.
    ///
    /// # Errors
    /// Those of all operations, and `Store(Error::Value)` when the value has another type.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SessionError> {
        let mut state = self.state.lock().await;
        state.read(self.store()).await?;
        Ok(state.changes.get(key, state.session().map(|session| session.attributes()))?)
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// Those of all operations, and `Store(Error::Value)` when the value cannot be written as JSON.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), SessionError> {
        Ok(self.open().await?.changes.set(key, value)?)
    }

    /// Removes an attribute. A missing one is no error.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn remove(&self, key: &str) -> Result<(), SessionError> {
        self.open().await?.changes.remove(key);
        Ok(())
    }

    /// The user who is logged in.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn user(&self) -> Result<Option<String>, SessionError> {
        let mut state = self.state.lock().await;
        let session = state.read(self.store()).await?;
        Ok(session.and_then(|session| session.user()).map(str::to_owned))
    }

    /// The id of the session, if there is one: a handle for logs, and for [`kick`](Self::kick). It is no secret.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn id(&self) -> Result<Option<SessionId>, SessionError> {
        let mut state = self.state.lock().await;
        let session = state.read(self.store()).await?;
        Ok(session.map(|session| session.id().clone()))
    }

    /// Logs a user in. Check the password, or whatever proves the user, first. The session becomes the user's, under a
    /// new token, with the changes of this request. A visitor's data stay in it; another user's data do not.
    ///
    /// # Errors
    /// Those of all operations, and `Store(Refusal::Limit)` when the user has too many sessions: 409.
    pub async fn login(&self, login: impl Into<Login>) -> Result<(), SessionError> {
        self.open().await?.login(self.store(), &login.into()).await
    }

    /// Logs out: ends the session, drops its changes and removes the cookie.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn logout(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        if let Some(token) = state.token() {
            self.store().delete(token).await?;
        }
        state.changes = Default::default();
        state.forget();
        Ok(())
    }

    /// Logs out, and keeps the session's data, such as a cart: it goes on as a visitor's, under a new token.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn logout_keeping_data(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        if state.read(self.store()).await?.is_some_and(|session| session.user().is_some())
            && !state.rotate(self.store(), Rotation::new().anonymous(), None).await?
        {
            state.forget();
        }
        Ok(())
    }

    /// Logs the user out everywhere, including here, and returns how many sessions ended.
    ///
    /// # Errors
    /// Those of all operations, and [`SessionError::Anonymous`]. After any other error some may have ended: call it again.
    pub async fn logout_everywhere(&self) -> Result<usize, SessionError> {
        let mut state = self.open().await?;
        let (user, _) = self.user_of(&mut state).await?;
        let deleted = self.store().delete_user(&user, None).await?;
        state.changes = Default::default();
        state.forget();
        Ok(deleted.removed.len())
    }

    /// Logs the user out everywhere except here, and returns how many sessions ended.
    ///
    /// # Errors
    /// Those of all operations, and [`SessionError::Anonymous`]. After any other error some may have ended: call it again.
    pub async fn logout_elsewhere(&self) -> Result<usize, SessionError> {
        let mut state = self.state.lock().await;
        let (user, here) = self.user_of(&mut state).await?;
        Ok(self.store().delete_user(&user, Some(&here)).await?.removed.len())
    }

    /// All of the user's sessions, oldest first.
    ///
    /// # Errors
    /// Those of all operations, and [`SessionError::Anonymous`].
    pub async fn devices(&self) -> Result<Vec<Device>, SessionError> {
        let (user, here) = self.user_of(&mut *self.state.lock().await).await?;
        let (of, mut page) = (Selector::user(user), PageRequest::first(DEVICES_PER_PAGE));
        let mut devices = Vec::new();
        loop {
            let found = self.store().list(&of, &page).await?;
            devices.extend(found.sessions.into_iter().map(|session| Device::new(session, &here)));
            match found.next {
                Some(cursor) => page = PageRequest::after(cursor, DEVICES_PER_PAGE),
                None => return Ok(devices),
            }
        }
    }

    /// Ends one of the user's sessions, by the id that [`devices`](Self::devices) returns, and returns whether it was
    /// there. It treats another user's session as missing. It does not end the session of this request: use
    /// [`logout`](Self::logout) for that.
    ///
    /// # Errors
    /// Those of all operations, and [`SessionError::Anonymous`].
    pub async fn kick(&self, id: &str) -> Result<bool, SessionError> {
        let (user, here) = self.user_of(&mut *self.state.lock().await).await?;
        let Ok(id) = SessionId::new(id) else {
            return Ok(false);
        };
        match self.store().get_fresh(&id).await? {
            Some(other) if other.user() == Some(&user) && *other.id() != here => {
                Ok(self.store().delete(&other).await?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// The CSRF token, for a hidden field of a form or a header of a script. By it [`check_csrf`](Self::check_csrf)
    /// knows that a page of this session made the request. A visitor without a session gets one. A login changes the
    /// token.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn csrf_token(&self) -> Result<String, SessionError> {
        let mut state = self.state.lock().await;
        if state.read(self.store()).await?.is_none() && !matches!(state.held, Held::Superseded(_)) {
            state.check_open()?;
            state.create(self.store(), |new| new, None).await?;
        }
        Ok(state.token().map(csrf::code_of).unwrap_or_default())
    }

    /// Checks the CSRF token of a form or a header.
    ///
    /// # Errors
    /// [`SessionError::Csrf`]: no page of this session made it. 403.
    pub async fn check_csrf(&self, token: &str) -> Result<(), SessionError> {
        let state = self.state.lock().await;
        let is_ours = state.token().is_some_and(|session| csrf::is_code_of(session, token));
        if is_ours { Ok(()) } else { Err(SessionError::Csrf) }
    }

    /// Records a use of the session, for a socket that lives longer than a request, and returns whether the session is
    /// still live.
    ///
    /// # Errors
    /// Those of all operations.
    pub async fn touch(&self) -> Result<bool, SessionError> {
        let token = self.state.lock().await.token().cloned();
        match token {
            Some(token) => Ok(self.store().refresh(&token).await?.is_some()),
            None => Ok(false),
        }
    }

    /// For a socket: [`wait`](Ended::wait) on the returned value, then close the socket. The wait is over
    /// when the session ends anywhere, or when its user logs out or changes. A new id or a visitor's login
    /// does not end it. `None`: there is no session.
    ///
    /// # Errors
    /// Those of all operations.
    ///
    /// # Panics
    /// If the layer has no [`watcher`](crate::SessionLayer::watcher).
    pub async fn ended(&self) -> Result<Option<Ended>, SessionError> {
        let watcher = self.settings.watcher.as_ref();
        let watcher = watcher.expect("Session::ended needs SessionLayer::watcher");
        let mut state = self.state.lock().await;
        match state.read(self.store()).await? {
            Some(session) => Ok(Some(watcher.watch(session.id(), session.user()).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn finish(&self, status: StatusCode) -> Outcome {
        let mut state = self.state.lock().await;
        let saved = state.finish(self.store(), status).await;
        let cookie = match state.cookie() {
            Some(CookieChange::Set(token, remembered)) => self.settings.cookie.to_set(token, *remembered),
            Some(CookieChange::Clear) => self.settings.cookie.to_clear(),
            None => None,
        };
        Outcome { saved, cookie, was_read: state.was_read() }
    }

    fn store(&self) -> &dyn SessionStore {
        &*self.settings.store
    }

    async fn open(&self) -> Result<MutexGuard<'_, State>, SessionError> {
        let state = self.state.lock().await;
        state.check_open()?;
        Ok(state)
    }

    async fn user_of(&self, state: &mut State) -> Result<(String, SessionId), SessionError> {
        let session = state.read(self.store()).await?.ok_or(SessionError::Anonymous)?;
        let user = session.user().ok_or(SessionError::Anonymous)?;
        Ok((user.to_owned(), session.id().clone()))
    }
}
