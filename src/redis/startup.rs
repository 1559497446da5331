//! What has to be done once before the first call: by `build`, or by the first call of a store that started without its
//! server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::{Error, Obstacle, Result, cause};
use crate::redis::transport::connection::Connection;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::sender::LOADS;
use crate::redis::transport::server_error::is_no_script;
use crate::redis::{contract, permission, server_version};
use crate::stored::partitions::Partitions;

/// Between two attempts of a store that starts: at first, each next one twice as long, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];

/// How long an attempt may take. Those who wait for it have deadlines of their own, which end nobody else's start.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);

/// How an attempt ended, once it has.
type Outcome = Option<Result<()>>;

/// Whether a server was prepared, and who is at it.
#[derive(Debug, Default)]
pub(crate) struct Startup {
    is_done: AtomicBool,
    attempt: Mutex<Option<watch::Receiver<Outcome>>>,
}

impl Startup {
    /// Waits until the server is prepared, or an attempt to do so has failed. However many calls wait, one task is at it;
    /// the call that comes after it failed begins another.
    pub(crate) async fn done(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        partitions: &Arc<Partitions>,
        until: Instant,
    ) -> Result<()> {
        if self.is_done.load(Ordering::Acquire) {
            return Ok(());
        }
        loop {
            let mut attempt = self.attempt(pool, partitions);
            let ended = tokio::time::timeout_at(until, attempt.wait_for(Option::is_some)).await;
            match ended {
                Ok(Ok(outcome)) => return outcome.clone().unwrap_or(Ok(())),
                // The runtime of the task was shut down.
                Ok(Err(_)) if Instant::now() < until => {}
                _ if pool.is_connected() => {
                    return Err(Error::obstacle(Obstacle::Deadline, cause("no answer to the start")));
                }
                _ => return Err(pool.late().into()),
            }
        }
    }

    /// Tries again while the server is away or loads its data, until the deadline.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        partitions: &Arc<Partitions>,
        until: Instant,
    ) -> Result<()> {
        let [mut pause, longest] = PAUSES;
        let mut why = None;
        loop {
            let error = match self.done(pool, partitions, until).await {
                Err(error) if error.is_transient() => error,
                outcome => return outcome,
            };
            if Instant::now() + pause >= until {
                // What kept it from starting says more than that time was up.
                return Err(why.unwrap_or(error));
            }
            why = Some(error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn attempt(self: &Arc<Self>, pool: &Arc<Pool>, partitions: &Arc<Partitions>) -> watch::Receiver<Outcome> {
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        // Whose task is gone tells nothing any more.
        if let Some(attempt) = attempt.as_ref().filter(|attempt| attempt.has_changed().is_ok()) {
            return attempt.clone();
        }
        let (tell, told) = watch::channel(None);
        let (startup, pool, partitions) = (self.clone(), pool.clone(), partitions.clone());
        tokio::spawn(async move {
            let outcome = prepare(&pool, &partitions, Instant::now() + LONGEST_ATTEMPT).await;
            startup.is_done.fetch_or(outcome.is_ok(), Ordering::AcqRel);
            startup.attempt.lock().unwrap_or_else(PoisonError::into_inner).take();
            tell.send_replace(Some(outcome));
        });
        *attempt = Some(told.clone());
        told
    }
}

/// Loads all scripts and proves that they will run, agrees on the contract, and warns of a server that evicts keys, in two
/// round trips, or three where there are several partitions.
async fn prepare(pool: &Pool, partitions: &Partitions, until: Instant) -> Result<()> {
    let connection = pool.connection(until).await.map_err(permission::unless_forbidden)?;
    let mut results = ask(&connection, partitions, until).await?;
    for _ in 1..LOADS {
        // Somebody flushes the scripts just now.
        if !results.iter().any(|result| result.as_ref().is_err_and(is_no_script)) {
            break;
        }
        results = ask(&connection, partitions, until).await?;
    }
    if results.len() < 2 {
        return Err(Error::corrupt("reply to the start"));
    }
    let of_permission = results.split_off(2);
    let noted = results.pop().unwrap_or(Ok(Value::Nil));
    let info = results.pop().unwrap_or(Ok(Value::Nil));
    // Where INFO is forbidden nothing is known.
    let info = info.and_then(|info| Ok(redis::from_redis_value::<String>(info)?)).unwrap_or_default();
    server_version::check(&info)?;
    permission::judge(of_permission, partitions.keys(partitions.first()))?;
    contract::judge(noted, partitions)?;
    warn_of_eviction(&info);
    contract::note(&connection, partitions, until).await
}

/// What the server says of itself, which contract is noted, and what the user may.
async fn ask(
    connection: &Connection,
    partitions: &Partitions,
    until: Instant,
) -> Result<Vec<RedisResult<Value>>> {
    let (mut questions, keys) = (Pipeline::new(), partitions.keys(partitions.first()));
    questions.cmd("INFO");
    contract::ask(&mut questions, keys);
    permission::ask(&mut questions, keys);
    questions.ignore_errors();
    connection.replies(&questions, until).await.or_not_executed()
}

/// A session that loses an index entry to eviction is half a session. INFO tells where managed services refuse CONFIG.
fn warn_of_eviction(info: &str) {
    match eviction_policy(info) {
        Some("noeviction") => {}
        Some(policy) => tracing::warn!(
            maxmemory_policy = policy,
            "the server may evict keys, which breaks sessions; set maxmemory-policy to noeviction"
        ),
        None => tracing::debug!("the server does not tell its maxmemory-policy"),
    }
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
