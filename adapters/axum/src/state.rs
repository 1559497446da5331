//! The state of a request's session, and its changes.

use std::time::Duration;

use cloakroom::{Error, NewSession, Refusal, Rotation, Session, SessionStore, Token};
use http::StatusCode;

use crate::changes::Changes;
use crate::error::SessionError;
use crate::login::Login;

/// The state of a request's session.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) held: Held,
    pub(crate) changes: Changes,
    cookie: Option<CookieChange>,
    was_read: bool,
    is_finished: bool,
}

/// What the client holds: the token that it brought, or that this request gave it.
#[derive(Debug)]
pub(crate) enum Held {
    /// No session.
    Nothing,
    /// A token that was not read yet.
    Unread(Token),
    /// The token of a session that was live when it was read.
    Live(Token, Box<Session>),
    /// A token that a login replaced a moment ago, while this request was on its way. The browser has another one by
    /// now, or will have. So this request leaves the cookie alone, and has no user.
    Superseded(Token),
}

/// What the response does to the cookie.
#[derive(Debug)]
pub(crate) enum CookieChange {
    /// Sets a token, with how long the browser keeps it if that differs from the cookie's own time.
    Set(Token, Option<Duration>),
    Clear,
}

impl State {
    pub(crate) fn new(brought: Option<Token>) -> Self {
        let held = brought.map_or(Held::Nothing, Held::Unread);
        Self { held, changes: Changes::default(), cookie: None, was_read: false, is_finished: false }
    }

    pub(crate) fn check_open(&self) -> Result<(), SessionError> {
        if self.is_finished { Err(SessionError::Finished) } else { Ok(()) }
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        match &self.held {
            Held::Nothing => None,
            Held::Unread(token) | Held::Live(token, _) | Held::Superseded(token) => Some(token),
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.held {
            Held::Live(_, session) => Some(session),
            _ => None,
        }
    }

    /// Reads the session when it is first needed, which counts as a use of it.
    pub(crate) async fn read(&mut self, store: &dyn SessionStore) -> Result<Option<&Session>, SessionError> {
        self.was_read = true;
        if let Held::Unread(token) = &self.held {
            let token = token.clone();
            match used(store, &token).await {
                Ok(Some(session)) => self.held = Held::Live(token, Box::new(session)),
                Ok(None) => self.forget(),
                Err(Error::Refused(Refusal::Rotated { .. })) => self.held = Held::Superseded(token),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.session())
    }

    /// Makes a session with what was set, and gives the client its token.
    pub(crate) async fn create(
        &mut self,
        store: &dyn SessionStore,
        of: impl FnOnce(NewSession) -> NewSession,
        remembered: Option<Duration>,
    ) -> Result<(), SessionError> {
        let created = store.create(of(self.changes.as_new_session())).await?;
        self.changes = Changes::default();
        self.hold(created.token, created.session, remembered);
        Ok(())
    }

    /// Makes the session a user's, under a new token. A visitor's data stay in it; another user's data do not.
    pub(crate) async fn login(
        &mut self,
        store: &dyn SessionStore,
        login: &Login,
    ) -> Result<(), SessionError> {
        if let Some(session) = self.read(store).await? {
            if session.user().is_none_or(|before| before == login.user()) {
                if self.rotate(store, login.rotation(), login.remembered()).await? {
                    return Ok(());
                }
                // It ended meanwhile, or another request of the same browser logged in. A user with the right password
                // gets a session, whatever became of the visitor's.
            } else {
                store.delete(session).await?;
            }
        }
        self.create(store, |new| login.of_new(new), login.remembered()).await
    }

    /// Gives the session a new token, and changes it in the same step. False: it ended, or another request came first
    /// and has the token.
    pub(crate) async fn rotate(
        &mut self,
        store: &dyn SessionStore,
        rotation: Rotation,
        remembered: Option<Duration>,
    ) -> Result<bool, SessionError> {
        let Some(session) = self.session() else {
            return Ok(false);
        };
        match store.rotate(session, rotation.entries_of(self.changes.as_patch())).await {
            Ok(rotated) if rotated.by_another => Ok(false),
            Ok(rotated) => {
                self.changes = Changes::default();
                self.hold(rotated.token, rotated.session, remembered);
                Ok(true)
            }
            Err(Error::Refused(Refusal::Missing | Refusal::Rotated { .. })) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the session and its changes: the client has none any more.
    pub(crate) fn forget(&mut self) {
        (self.held, self.cookie) = (Held::Nothing, Some(CookieChange::Clear));
    }

    /// What the response does to the cookie.
    pub(crate) fn cookie(&self) -> Option<&CookieChange> {
        self.cookie.as_ref()
    }

    pub(crate) fn was_read(&self) -> bool {
        self.was_read
    }

    /// Saves what was changed, and ends all changes.
    pub(crate) async fn finish(
        &mut self,
        store: &dyn SessionStore,
        status: StatusCode,
    ) -> Result<(), SessionError> {
        self.is_finished = true;
        // The changes of a handler that failed are not saved, because they may be half done.
        if status.is_server_error() { Ok(()) } else { self.save(store).await }
    }

    async fn save(&mut self, store: &dyn SessionStore) -> Result<(), SessionError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let patch = self.changes.as_patch().clone();
        let patched = match &self.held {
            Held::Nothing => return self.create_unless_empty(store).await,
            Held::Superseded(_) => return Ok(()),
            Held::Unread(token) => store.patch(token, patch).await,
            Held::Live(_, session) => store.patch(&**session, patch).await,
        };
        match (patched, &self.held) {
            (Ok(_) | Err(Error::Refused(Refusal::Rotated { .. })), _) => Ok(()),
            (Err(Error::Refused(Refusal::Missing)), Held::Unread(_)) => {
                self.forget();
                self.create_unless_empty(store).await
            }
            // It ended since it was read. Its data must not come back under another token.
            (Err(Error::Refused(Refusal::Missing)), _) => {
                self.forget();
                Ok(())
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    async fn create_unless_empty(&mut self, store: &dyn SessionStore) -> Result<(), SessionError> {
        if self.changes.set_nothing() { Ok(()) } else { self.create(store, |new| new, None).await }
    }

    fn hold(&mut self, token: Option<Token>, session: Session, remembered: Option<Duration>) {
        if let Some(token) = token {
            self.cookie = Some(CookieChange::Set(token.clone(), remembered));
            self.held = Held::Live(token, Box::new(session));
        }
    }
}

/// Reads a session, and records the use unless a migration has frozen it.
async fn used(store: &dyn SessionStore, token: &Token) -> Result<Option<Session>, Error> {
    match store.refresh_and_get(token).await {
        Err(Error::Refused(Refusal::Frozen)) => store.get(token).await,
        answer => answer,
    }
}
