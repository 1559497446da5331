//! The user and password of a store, if they change while it works.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The user and password of a connection: [`RedisStoreBuilder::credentials`](crate::RedisStoreBuilder::credentials)
/// asks for them.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: String,
}

impl Credentials {
    /// A user of the server's ACL, and its password, usually a token.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: password.into() }
    }

    /// The server's default user.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: password.into() }
    }
}

/// Hides the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Why the source gave none.
pub(crate) type Refused = Box<dyn std::error::Error + Send + Sync>;

type Asked = Pin<Box<dyn Future<Output = Result<Credentials, Refused>> + Send>>;

/// Where credentials come from.
#[derive(Clone)]
pub(crate) struct CredentialsSource(Arc<dyn Fn() -> Asked + Send + Sync>);

impl CredentialsSource {
    pub(crate) fn new<F, Asking>(ask: F) -> Self
    where
        F: Fn() -> Asking + Send + Sync + 'static,
        Asking: Future<Output = Result<Credentials, Refused>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(ask())))
    }

    pub(crate) async fn ask(&self) -> Result<Credentials, Refused> {
        (self.0)().await
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsSource")
    }
}
