//! The layer that gives each request its session, and each response its cookie.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::response::{IntoResponse, Response};
use cloakroom::{Error, IdScheme, Invalid, SessionStore};
use http::Request;
use http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE, VARY};
use tower_layer::Layer;
use tower_service::Service;

use crate::cookie::SessionCookie;
use crate::session::{Outcome, Session};
use crate::settings::Settings;
use crate::watcher::SessionWatcher;

/// Gives each request its [`Session`]. It reads nothing before a handler asks, and saves the handler's changes when it
/// has returned, before the response begins.
#[derive(Clone, Debug)]
pub struct SessionLayer {
    settings: Arc<Settings>,
}

impl SessionLayer {
    /// Makes a layer on a store whose ids are hashes of tokens ([`IdScheme::Token`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] names `id_scheme` if the store has another scheme: then cookies would hold the ids
    /// themselves, and anyone who reads the store could log in.
    pub fn new(store: Arc<dyn SessionStore>) -> Result<Self, Error> {
        if store.rules().get_id_scheme() != IdScheme::Token {
            return Err(Error::Invalid(Invalid::new("id_scheme", "must be IdScheme::Token")));
        }
        let settings = Settings { store, cookie: SessionCookie::default(), watcher: None };
        Ok(Self { settings: Arc::new(settings) })
    }

    /// The name and the attributes of the cookie.
    #[must_use]
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        Arc::make_mut(&mut self.settings).cookie = cookie;
        self
    }

    /// The watcher that tells sockets when their session ends: see [`Session::ended`].
    #[must_use]
    pub fn watcher(mut self, watcher: SessionWatcher) -> Self {
        Arc::make_mut(&mut self.settings).watcher = Some(watcher);
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, settings: self.settings.clone() }
    }
}

/// The service that [`SessionLayer`] puts around another.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let session = Session::of_request(self.settings.clone(), request.headers());
        request.extensions_mut().insert(session.clone());
        // The original is ready; the clone may not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let response = inner.call(request).await?;
            let outcome = session.finish(response.status()).await;
            Ok(finished(response, outcome))
        })
    }
}

/// The response with the session's headers, or the error of a session that could not be saved. The error response
/// carries a new cookie too, because the login has happened.
fn finished(response: Response, outcome: Outcome) -> Response {
    let mut response = match outcome.saved {
        Ok(()) => response,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    if outcome.was_read || outcome.cookie.is_some() {
        // The response is for this browser. Another browser, or this one after a logout, must not see it.
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.append(VARY, HeaderValue::from_static("cookie"));
    }
    headers.extend(outcome.cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}
