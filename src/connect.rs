//! A store by its URL.

use std::sync::Arc;

use crate::memory::store::MemoryStore;
use crate::model::{Error, Result};
use crate::store::Store;

/// How the scheme of a URL ends that names several servers.
const OF_SEVERAL: [&str; 4] = ["+sentinel", "-sentinel", "+cluster", "-cluster"];

/// A store by its URL, with the defaults of its builder: `memory://`, or `redis://[user:password@]host[:port][/db]`, or
/// with the feature `tls` `rediss://`, or the master that sentinels name: `redis+sentinel://host,host/service[/db]`, or the nodes of a
/// cluster: `redis+cluster://host,host`. What is configured goes through [`MemoryStore::builder`] and
/// `RedisStore::builder`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cloakroom::Error> {
/// use cloakroom::NewSession;
///
/// let store = cloakroom::connect("memory://").await?;
/// let session = store.create(NewSession::new()).await?.session;
/// assert!(store.get(session.id()).await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Invalid`] for another URL; [`Error::NotExecuted`] when the server cannot be reached;
/// [`Refusal::Forbidden`](crate::Refusal::Forbidden) when its ACL does not allow what a store needs.
pub async fn connect(url: &str) -> Result<Arc<dyn Store>> {
    match url.split_once("://") {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::builder().build()?)),
        Some(("memory", _)) => {
            Err(Error::invalid("url", "has something behind memory://, which takes nothing"))
        }
        Some(("redis" | "rediss" | "redis+unix" | "unix" | "valkey" | "valkeys" | "valkey+unix", _)) => {
            redis(url).await
        }
        Some((scheme, _)) if OF_SEVERAL.iter().any(|kind| scheme.ends_with(kind)) => redis(url).await,
        // Without the URL, which may have a password.
        _ => Err(Error::invalid("url", "begins neither with memory:// nor with redis:// or rediss://")),
    }
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(crate::redis::store::RedisStore::builder(url).build().await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(_url: &str) -> Result<Arc<dyn Store>> {
    Err(Error::invalid("url", "is one of Redis, for which cloakroom was built without its feature `redis`"))
}
