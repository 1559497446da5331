//! The errors of a request's session, and their HTTP statuses.

use std::fmt;

use axum_core::response::{IntoResponse, Response};
use cloakroom::{Error, Refusal};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

/// Why a session could not be read or changed. As a response it is a status with a few words, never "logged out".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The store failed. If it is away, or does not know whether the call happened, the status is 503, and the client
    /// may retry.
    Store(Error),
    /// The form was not made by a page of this session: 403.
    Csrf,
    /// Nobody is logged in: 401.
    Anonymous,
    /// The response has begun, so the session can no longer be changed: 500.
    Finished,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Csrf => f.write_str("the form was not made by a page of this session"),
            Self::Anonymous => f.write_str("nobody is logged in"),
            Self::Finished => f.write_str("the response has begun: the session can no longer be changed"),
        }
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl SessionError {
    /// The HTTP status of the error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Store(Error::NotExecuted { .. } | Error::Ambiguous { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // A migration has frozen it for a moment.
            Self::Store(Error::Refused(Refusal::Frozen | Refusal::Departed { .. })) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Store(Error::Refused(Refusal::Limit { .. })) => StatusCode::CONFLICT,
            Self::Store(Error::Refused(Refusal::TooLarge { .. })) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Csrf => StatusCode::FORBIDDEN,
            Self::Anonymous => StatusCode::UNAUTHORIZED,
            Self::Store(_) | Self::Finished => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = %self, "the session of a request failed");
        }
        let words = match status {
            StatusCode::SERVICE_UNAVAILABLE => "please try again in a moment",
            StatusCode::CONFLICT => "too many sessions",
            StatusCode::PAYLOAD_TOO_LARGE => "too much in this session",
            StatusCode::FORBIDDEN => "this page is out of date: please load it again",
            StatusCode::UNAUTHORIZED => "please log in",
            _ => "something went wrong",
        };
        let mut response = (status, words).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
