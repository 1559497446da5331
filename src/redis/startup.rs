//! The preparation before the first call: by `build`, or by the first call of a store that started without its server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::{Error, Obstacle, Result, cause};
use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::Unavailable;
use crate::redis::transport::node::Node;
use crate::redis::transport::redirect::Redirect;
use crate::redis::transport::sender::Sender;
use crate::redis::transport::server_error::is_no_script;
use crate::redis::transport::target::LOADS;
use crate::redis::{contract, permission, server_version};
use crate::stored::keys::Keys;
use crate::stored::partitions::{Partition, Partitions};
use crate::stored::slot::Slot;

/// The first and the longest pause between two attempts to start; each pause is twice the one before.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(250)];

/// How long an attempt may take. The calls that wait for it have their own deadlines, which do not end the
/// attempt.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);

/// How an attempt ended, once it has.
type Outcome = Option<Result<()>>;

/// Whether the servers are prepared, and the task that prepares them.
#[derive(Debug, Default)]
pub(crate) struct Startup {
    is_done: AtomicBool,
    /// Whether the namespace must exist.
    must_exist: bool,
    attempt: Mutex<Option<watch::Receiver<Outcome>>>,
}

impl Startup {
    pub(crate) fn new(must_exist: bool) -> Self {
        Self { must_exist, ..Self::default() }
    }

    /// Waits until the servers are prepared, or an attempt has failed. However many calls wait, one task works; the
    /// next call after a failure starts another.
    pub(crate) async fn done(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        partitions: &Arc<Partitions>,
        until: Instant,
    ) -> Result<()> {
        if self.is_done.load(Ordering::Acquire) {
            return Ok(());
        }
        loop {
            let mut attempt = self.attempt(sender, partitions);
            let ended = tokio::time::timeout_at(until, attempt.wait_for(Option::is_some)).await;
            match ended {
                Ok(Ok(outcome)) => return outcome.clone().unwrap_or(Ok(())),
                // The runtime of the task was shut down.
                Ok(Err(_)) if Instant::now() < until => {}
                _ => return Err(late(sender, partitions)),
            }
        }
    }

    /// Retries while the server is away or loads its data, until the deadline.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        partitions: &Arc<Partitions>,
        until: Instant,
    ) -> Result<()> {
        let [mut pause, longest] = PAUSES;
        let mut why = None;
        loop {
            let error = match self.done(sender, partitions, until).await {
                Err(error) if error.is_transient() => error,
                outcome => return outcome,
            };
            if Instant::now() + pause >= until {
                // The earlier error says more than a passed deadline.
                return Err(why.unwrap_or(error));
            }
            why = Some(error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn attempt(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        partitions: &Arc<Partitions>,
    ) -> watch::Receiver<Outcome> {
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        // An attempt whose task is gone will never end.
        if let Some(attempt) = attempt.as_ref().filter(|attempt| attempt.has_changed().is_ok()) {
            return attempt.clone();
        }
        let (tell, told) = watch::channel(None);
        let (startup, sender, partitions) = (self.clone(), sender.clone(), partitions.clone());
        tokio::spawn(async move {
            let outcome =
                prepare(&sender, &partitions, startup.must_exist, Instant::now() + LONGEST_ATTEMPT).await;
            startup.is_done.fetch_or(outcome.is_ok(), Ordering::AcqRel);
            startup.attempt.lock().unwrap_or_else(PoisonError::into_inner).take();
            tell.send_replace(Some(outcome));
        });
        *attempt = Some(told.clone());
        told
    }
}

/// Why the server was not prepared in time.
fn late(sender: &Sender, partitions: &Partitions) -> Error {
    match sender.servers().known(|| slot(partitions, partitions.first())) {
        Some(node) if !node.pool.is_connected() => node.pool.late().into(),
        _ => Error::obstacle(Obstacle::Deadline, cause("no answer to the start")),
    }
}

/// The slot of all keys of a partition.
fn slot(partitions: &Partitions, partition: Partition) -> Slot {
    Slot::of_key(&partitions.keys(partition).expiry())
}

/// Prepares each server that has partitions, in two round trips, or three with several partitions. If a node of a
/// cluster is away, the calls that find it back prepare it. The node with the tag 0's partition may be away only if
/// another node has the namespace's note.
async fn prepare(sender: &Sender, partitions: &Partitions, must_exist: bool, until: Instant) -> Result<()> {
    let homes = homes(sender, partitions, until).await.map_err(permission::unless_forbidden)?;
    let (first, others) = homes.split_at(1.min(homes.len()));
    let (mut away, mut here) = (None, Vec::new());
    if let [(node, partition)] = first {
        match prepare_at(node, partitions, *partition, until).await {
            Ok(()) if must_exist => contract::require(sender, partitions, until).await?,
            Err(error) if error.is_transient() => away = Some(error),
            prepared => prepared?,
        }
        here.extend(away.is_none().then_some(node));
    }
    let prepared =
        others.iter().map(async |(node, partition)| prepare_at(node, partitions, *partition, until).await);
    for ((node, _), prepared) in others.iter().zip(futures_util::future::join_all(prepared).await) {
        here.extend(contract::unless_away(prepared)?.map(|()| node));
    }
    let mut of_those = Vec::new();
    for partition in partitions.all() {
        let owner = sender.servers().owner(|| slot(partitions, partition), until).await?;
        // The note goes into the first partition, wherever that is by now.
        let is_first = away.is_none() && partition == partitions.first();
        let is_here = is_first || here.iter().any(|node| Arc::ptr_eq(node, &owner));
        of_those.extend(is_here.then_some(partition));
    }
    match away {
        Some(error) if !contract::is_noted(sender, partitions, &of_those, until).await? => Err(error),
        _ => contract::note(sender, partitions, &of_those, until).await,
    }
}

/// The servers, each with one of its partitions. The server with the tag 0 comes first.
pub(crate) async fn homes(
    sender: &Sender,
    partitions: &Partitions,
    until: Instant,
) -> std::result::Result<Vec<(Arc<Node>, Partition)>, Unavailable> {
    let mut homes: Vec<(Arc<Node>, Partition)> = Vec::new();
    for partition in std::iter::once(partitions.first()).chain(partitions.all()) {
        let owner = sender.servers().owner(|| slot(partitions, partition), until).await?;
        if !homes.iter().any(|(home, _)| Arc::ptr_eq(home, &owner)) {
            homes.push((owner, partition));
        }
    }
    Ok(homes)
}

/// Loads the scripts and proves that they will run, and warns of a server that evicts keys.
async fn prepare_at(
    node: &Node,
    partitions: &Partitions,
    partition: Partition,
    until: Instant,
) -> Result<()> {
    let keys = partitions.keys(partition);
    let connection = node.pool.connection(until).await.map_err(permission::unless_forbidden)?;
    let mut results = ask(&connection, keys, until).await?;
    for _ in 1..LOADS {
        // Another client is flushing the scripts just now.
        if !results.iter().any(|result| result.as_ref().is_err_and(is_no_script)) {
            break;
        }
        results = ask(&connection, keys, until).await?;
    }
    if results.len() < 2 {
        return Err(Error::corrupt("reply to the start"));
    }
    let of_permission = results.split_off(2);
    let noted = results.pop().unwrap_or(Ok(Value::Nil));
    let info = results.pop().unwrap_or(Ok(Value::Nil));
    // If INFO is forbidden, nothing is known.
    let info = info.and_then(|info| Ok(redis::from_redis_value::<String>(info)?)).unwrap_or_default();
    server_version::check(&info)?;
    // For a slot that is moving the node gives no answer. The note of the contract follows the slot.
    let is_on_its_way = |result: &RedisResult<Value>| {
        result.as_ref().is_err_and(|error| {
            matches!(Redirect::of_error(error), Some(Redirect::Moved(_) | Redirect::Ask(_) | Redirect::Later))
        })
    };
    if !of_permission.iter().any(is_on_its_way) {
        permission::judge(of_permission, keys)?;
    }
    if !is_on_its_way(&noted) {
        contract::judge(noted, partitions)?;
    }
    warn_of_eviction(&info);
    Ok(())
}

/// Asks for INFO, the recorded contract, and the user's permissions.
async fn ask(connection: &Connection, keys: &Keys, until: Instant) -> Result<Vec<RedisResult<Value>>> {
    let mut questions = Pipeline::new();
    questions.cmd("INFO");
    contract::ask(&mut questions, keys);
    permission::ask(&mut questions, keys);
    questions.ignore_errors();
    connection.replies(&questions, until).await.or_not_executed()
}

/// A session that loses an index entry to eviction is half a session. INFO has the policy even where managed services
/// refuse CONFIG.
fn warn_of_eviction(info: &str) {
    match eviction_policy(info) {
        Some("noeviction") => {}
        Some(policy) => tracing::warn!(
            maxmemory_policy = policy,
            "the server may evict keys, which breaks sessions; set maxmemory-policy to noeviction"
        ),
        None => tracing::debug!("the server does not report its maxmemory-policy"),
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
