//! A store by its URL.

use std::sync::Arc;

use crate::memory::store::MemoryStore;
use crate::model::{Error, Result};
use crate::store::Store;

/// The endings of a URL scheme that names several servers.
const OF_SEVERAL: [&str; 4] = ["+sentinel", "-sentinel", "+cluster", "-cluster"];

/// Opens the store that a URL names, with the defaults of its builder:
///
/// - `memory://`: a [`MemoryStore`]
/// - `redis://[user:password@]host[:port][/db]`: one server; over TLS `rediss://`, with the feature `tls`
/// - `redis+sentinel://host,host/service[/db]`: the master that sentinels name
/// - `redis+cluster://host,host`: a Redis Cluster, found from these nodes
///
/// `RedisStore::builder` lists more forms. To configure a store, use it or [`MemoryStore::builder`].
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
/// [`Error::Invalid`] for another URL; [`Error::NotExecuted`] when the store cannot reach the server;
/// [`Refusal::Forbidden`](crate::Refusal::Forbidden) when the server's ACL does not allow what a store
/// needs.
pub async fn connect(url: &str) -> Result<Arc<dyn Store>> {
    match url.split_once("://") {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::builder().build()?)),
        Some(("memory", _)) => Err(Error::invalid("url", "must be memory:// alone")),
        Some(("redis" | "rediss" | "redis+unix" | "unix" | "valkey" | "valkeys" | "valkey+unix", _)) => {
            redis(url).await
        }
        Some((scheme, _)) if OF_SEVERAL.iter().any(|kind| scheme.ends_with(kind)) => redis(url).await,
        // The error does not quote the URL, which may hold a password.
        _ => Err(Error::invalid("url", "must begin with memory://, redis:// or rediss://")),
    }
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(crate::redis::store::RedisStore::builder(url).build().await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(_url: &str) -> Result<Arc<dyn Store>> {
    Err(Error::invalid("url", "names Redis, but cloakroom was built without its feature `redis`"))
}
