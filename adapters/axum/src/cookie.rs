//! The cookie that carries a session's token.

use std::time::Duration;

use cloakroom::Token;
use cookie::{Cookie, time};
use http::header::{COOKIE, HeaderMap, HeaderValue};

pub use cookie::SameSite;

/// The name and the attributes of the cookie. By default it is `__Host-session`, `Secure`, `HttpOnly`, `SameSite=Lax`,
/// for the path `/`, and lasts until the browser is closed.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    name: String,
    same_site: SameSite,
    max_age: Option<Duration>,
    is_secure: bool,
}

/// A browser accepts a cookie with this prefix only from the host itself, over TLS, for all paths: no other host of the
/// domain can plant one.
const HOST_PREFIX: &str = "__Host-";

impl Default for SessionCookie {
    fn default() -> Self {
        Self {
            name: format!("{HOST_PREFIX}session"),
            same_site: SameSite::Lax,
            max_age: None,
            is_secure: true,
        }
    }
}

impl SessionCookie {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its name, behind `__Host-`: two applications on one host need two.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        let prefix = if self.is_secure { HOST_PREFIX } else { "" };
        self.name = format!("{prefix}{name}");
        self
    }

    /// Whether the browser sends it with requests that come from other sites. Defaults to [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// How long the browser keeps it after it is set: at the first change of an anonymous session, and at a login.
    /// Defaults to as long as the browser runs. The session itself ends by [`Rules`](cloakroom::Rules).
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Only for development on `http://localhost`: without `Secure` and without `__Host-`. Anyone who sees the traffic
    /// can take the session.
    #[must_use]
    pub fn insecure_dev(mut self) -> Self {
        self.is_secure = false;
        if let Some(name) = self.name.strip_prefix(HOST_PREFIX) {
            self.name = name.to_owned();
        }
        self
    }

    /// The token of a request, if it has one.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Option<Token> {
        let texts = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let cookies = texts.flat_map(Cookie::split_parse).filter_map(Result::ok);
        cookies
            .filter(|cookie| cookie.name() == self.name)
            .find_map(|cookie| Token::parse(cookie.value()).ok())
    }

    /// The header that gives the browser a token.
    pub(crate) fn to_set(&self, token: &Token, remembered: Option<Duration>) -> Option<HeaderValue> {
        let max_age = remembered.or(self.max_age).and_then(|age| time::Duration::try_from(age).ok());
        self.header(token.expose(), max_age)
    }

    /// The header that removes the cookie from the browser.
    pub(crate) fn to_clear(&self) -> Option<HeaderValue> {
        self.header("", Some(time::Duration::ZERO))
    }

    fn header(&self, value: &str, max_age: Option<time::Duration>) -> Option<HeaderValue> {
        let mut cookie = Cookie::build((self.name.as_str(), value))
            .path("/")
            .http_only(true)
            .same_site(self.same_site)
            .secure(self.is_secure)
            .build();
        cookie.set_max_age(max_age);
        let mut header = HeaderValue::try_from(cookie.to_string()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}
