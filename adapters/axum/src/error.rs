//! What can go wrong with a session in a request, and which status says so.

use std::fmt;

use axum_core::response::{IntoResponse, Response};
use cloakroom::{Error, Refusal};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

/// Why a session could not be read or changed. As a response it is a status with a few words, and never "logged out".
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The store. Where it is away or does not know whether it did what was asked, the status is 503, and a client may try
    /// again.
    Store(Error),
    /// A form was not made by a page of this session: 403.
    Csrf,
    /// There is nobody logged in: 401.
    Anonymous,
    /// The response has begun, so nothing of the session can be changed any more: 500.
    Finished,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Csrf => f.write_str("the form was not made by a page of this session"),
            Self::Anonymous => f.write_str("nobody is logged in"),
            Self::Finished => f.write_str("the response has begun: the session cannot be changed any more"),
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
    /// The status that tells it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Store(Error::NotExecuted { .. } | Error::Ambiguous { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // A migration holds it, for a moment.
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
