//! The extractors of handlers: the session, and its user.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::error::SessionError;
use crate::session::Session;

/// There is no [`SessionLayer`](crate::SessionLayer) around the handler: 500.
#[derive(Clone, Copy, Debug)]
pub struct WithoutLayer;

impl IntoResponse for WithoutLayer {
    fn into_response(self) -> Response {
        tracing::error!("a handler takes a session, but there is no SessionLayer around it");
        (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong").into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = WithoutLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WithoutLayer> {
        parts.extensions.get::<Self>().cloned().ok_or(WithoutLayer)
    }
}

/// The user who is logged in. A request without one gets 401; a handler that accepts both takes
/// `Option<CurrentUser>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentUser(pub String);

/// Why there is no [`CurrentUser`].
#[derive(Debug)]
pub enum Unauthenticated {
    /// There is no layer.
    Layer(WithoutLayer),
    /// Nobody is logged in, or the session could not be read.
    Session(SessionError),
}

impl IntoResponse for Unauthenticated {
    fn into_response(self) -> Response {
        match self {
            Self::Layer(error) => error.into_response(),
            Self::Session(error) => error.into_response(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Unauthenticated;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Unauthenticated> {
        let user = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        user.ok_or(Unauthenticated::Session(SessionError::Anonymous))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CurrentUser {
    type Rejection = Unauthenticated;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Unauthenticated> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await;
        let user = session.map_err(Unauthenticated::Layer)?.user().await;
        Ok(user.map_err(Unauthenticated::Session)?.map(Self))
    }
}
