//! Makes connections on which the server reports changes: RESP3, client tracking with OPTIN.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::redis::near_cache::NearCache;
use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::server_clock::time_ms;
use crate::redis::transport::server_error::{server_code, server_detail};
use crate::redis::transport::serving::Serving;
use crate::redis::transport::tracked::{Held, Tracked};

/// How many times per staleness a connection is asked for the time.
const PROBES: u32 = 4;

/// The settings of tracked connections.
#[derive(Debug)]
pub(crate) struct Tracking {
    near_cache: Arc<NearCache>,
    staleness: Duration,
    /// The node that they lead to, in a cluster.
    serving: Option<Arc<Serving>>,
    /// Whether the log already says that the server does not track.
    is_said: AtomicBool,
}

impl Tracking {
    pub(crate) fn new(near_cache: Arc<NearCache>, staleness: Duration) -> Self {
        Self { near_cache, staleness, serving: None, is_said: AtomicBool::new(false) }
    }

    /// Sets that they lead to a node of a cluster.
    pub(crate) fn at_node(self, serving: Serving) -> Self {
        Self { serving: Some(Arc::new(serving)), ..self }
    }

    /// Makes a connection, tracked if the server can. `None`: it does not speak RESP3.
    pub(crate) async fn connect(
        &self,
        dialer: &Dialer,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Option<(MultiplexedConnection, Option<Arc<Tracked>>)>> {
        let tracked = Arc::new(Tracked::new(self.staleness, self.serving.clone()));
        let (near_cache, told_on) = (self.near_cache.clone(), tracked.clone());
        // It runs where the connection is read, before the next reply is handed out.
        let heed = move |told: PushInfo| -> Result<(), redis::aio::SendError> {
            match told.kind {
                PushKind::Invalidate => near_cache.invalidated(&told.data),
                PushKind::Disconnection => told_on.end(),
                _ => {}
            }
            Ok(())
        };
        let config = config.clone().set_push_sender(heed);
        let made = dialer.with_resp3().connect(&config).await;
        let mut link = match made {
            Ok(link) => link,
            Err(error) if speaks_no_resp3(&error) => {
                self.say("the server does not speak RESP3");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut begin = Pipeline::with_capacity(2);
        begin.cmd("HELLO").cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN");
        let answers = link.send_packed_commands(&begin, 0, 2).await?;
        let obstacle = match answers.as_slice() {
            [Value::Map(hello), Value::Okay] if is_in_order(hello) => None,
            [Value::Map(_), Value::Okay] => {
                Some("this version may send a report of a change in the middle of a reply")
            }
            _ => Some("the server refuses CLIENT TRACKING"),
        };
        if let Some(obstacle) = obstacle {
            self.say(obstacle);
            return Ok(Some((link, None)));
        }
        Ok(Some((link, Some(tracked))))
    }

    fn say(&self, obstacle: &str) {
        if !self.is_said.swap(true, Ordering::Relaxed) {
            tracing::warn!(obstacle, "the near cache keeps nothing");
        }
    }
}

/// redis-rs recognises this only by the words of one version.
pub(crate) fn speaks_no_resp3(error: &RedisError) -> bool {
    let detail = server_detail(error).unwrap_or_default();
    error.kind() == ErrorKind::RESP3NotSupported
        || server_code(error).as_deref() == Some("NOPROTO")
        || detail.starts_with("unknown command") && detail.contains("HELLO")
}

/// Whether a server sends invalidations only between replies. Before 6.2.14 (earlier versions of 6.2 were not tested)
/// they could come within the reply to MGET or EXEC, and all later replies would go to the wrong callers. Before 7.0.9
/// a full table of tracked keys could crash the server.
pub(crate) fn is_in_order(hello: &[(Value, Value)]) -> bool {
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
    let version = hello.iter().find(|(field, _)| text(field).as_deref() == Some("version"));
    let version = version.and_then(|(_, version)| text(version)).unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = [(); 3].map(|()| numbers.next().unwrap_or(0));
    match version {
        [6, 2, patch] => patch >= 14,
        [7, 0, patch] => patch >= 9,
        version => version > [7, 0, 0],
    }
}

/// Keeps asking a tracked connection for signs of life, until nobody holds it any more.
pub(crate) fn keep_heard(connection: Connection, tracked: Arc<Tracked>) -> Connection {
    let (held, unused) = Held::new(tracked.clone());
    let connection = connection.tracked(held);
    tokio::spawn(probe(connection.unheld(), tracked, unused));
    connection
}

/// Asks for the time at each interval, so that an idle connection gives signs of life too. It also asks for the
/// server's role, because reads from a server that is no longer the master do not count. It asks a node of a cluster
/// whether it serves.
async fn probe(connection: Connection, tracked: Arc<Tracked>, mut unused: oneshot::Receiver<()>) {
    let interval = tracked.staleness() / PROBES;
    // Until a node is known to serve, no read from it counts.
    let mut pause = if due(&tracked, interval).is_some() { Duration::ZERO } else { interval };
    while !tracked.has_ended() && !connection.is_broken() {
        tokio::select! {
            _ = &mut unused => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = interval;
        let (mut question, serving) = (Pipeline::with_capacity(1), due(&tracked, interval));
        question.cmd("TIME");
        for key in serving.map(Serving::keys).unwrap_or_default() {
            question.cmd("GET").arg(key);
        }
        question.ignore_errors();
        let sent = Instant::now();
        // If redis-rs forgets a question in its queue, another follows.
        let deadline = sent + tracked.staleness();
        let Delivery::Answered(answers) = connection.replies(&question, deadline).await else { continue };
        answers.iter().filter_map(|answer| answer.as_ref().err()).for_each(|error| connection.note(error));
        if let Some((Ok(time), answers)) = answers.split_first()
            && let Some(time_ms) = time_ms(time)
        {
            tracked.answered(sent.into_std(), time_ms);
            serving.iter().for_each(|serving| serving.answered(sent.into_std(), answers));
        }
    }
    tracked.end();
}

/// The node, if it must be asked whether it serves. One connection to it asks for all.
fn due(tracked: &Tracked, interval: Duration) -> Option<&Serving> {
    tracked.serving().filter(|serving| !serving.is_known_for(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_are_tracked_that_keep_invalidations_out_of_replies() {
        let is_in_order = |version: &str| {
            is_in_order(&[(Value::BulkString(b"version".into()), Value::BulkString(version.into()))])
        };
        for version in
            ["6.2.14", "6.2.21", "7.0.9", "7.0.15", "7.2.4", "7.4.0", "8.0.3", "9.1.2", "255.255.255"]
        {
            assert!(is_in_order(version), "{version}");
        }
        for version in ["6.0.16", "6.2.6", "7.0.0", "7.0.8", "", "5.0"] {
            assert!(!is_in_order(version), "{version}");
        }
    }
}
