//! What all calls of a Redis store share.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Error, Obstacle, Result, cause};
use crate::redis::transport::pool::Pool;
use crate::redis::{contract, permission};
use crate::stored::partitions::Partitions;

/// Loads all scripts and proves that they will run, agrees on the contract, and warns of a server that evicts keys.
///
/// A session that loses an index entry to eviction is half a session. INFO tells where managed services refuse CONFIG.
pub(crate) async fn prepare(pool: &Pool, partitions: &Partitions, deadline: Duration) -> Result<()> {
    let until = Instant::now() + deadline;
    let mut connection = pool.connection(until).await.map_err(permission::unless_forbidden)?;
    within(until, permission::prove(&mut connection.link, partitions.keys(partitions.first()))).await??;
    within(until, contract::agree(&mut connection.link, partitions)).await??;
    let mut info = redis::cmd("INFO");
    info.arg("memory");
    // Where INFO is forbidden there is nothing to warn of.
    let info: String = within(until, info.query_async(&mut connection.link)).await?.unwrap_or_default();
    match eviction_policy(&info) {
        Some("noeviction") => {}
        Some(policy) => tracing::warn!(
            maxmemory_policy = policy,
            "the server may evict keys, which breaks sessions; set maxmemory-policy to noeviction"
        ),
        None => tracing::debug!("the server does not tell its maxmemory-policy"),
    }
    Ok(())
}

async fn within<T>(until: Instant, work: impl Future<Output = T>) -> Result<T> {
    let elapsed = |elapsed| Error::obstacle(Obstacle::Deadline, cause(elapsed));
    tokio::time::timeout_at(until, work).await.map_err(elapsed)
}

fn eviction_policy(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_eviction_policy_is_read_from_info() {
        let info = "# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(super::eviction_policy(info), Some("allkeys-lru"));
        assert_eq!(super::eviction_policy("# Memory\r\n"), None);
    }
}
