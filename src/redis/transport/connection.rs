//! One multiplexed connection, and what it knows about itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::time::Instant;

/// How long a reply may take before its connection is probed.
const PROBE_AFTER: Duration = Duration::from_millis(200);

/// Between two probes.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// What a connection knows about itself.
#[derive(Debug, Default)]
struct Health {
    state: AtomicU8,
    /// How many connections of the pool had broken when this one was last found sound.
    breaks: AtomicU64,
}

pub(crate) const SOUND: u8 = 0;

/// A reply did not come in time. The server may be slow or the connection dead: PING tells, at the next check-out.
pub(crate) const SUSPECT: u8 = 1;

pub(crate) const BROKEN: u8 = 2;

/// One multiplexed connection, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) link: MultiplexedConnection,
    health: Arc<Health>,
    /// How many connections of the pool have broken. Where one did, the others may have too, since a server that
    /// restarts ends them all; so each is asked before its next use, or a call would spend its attempts on them.
    breaks: Arc<AtomicU64>,
}

impl Connection {
    pub(crate) fn new(link: MultiplexedConnection, breaks: Arc<AtomicU64>) -> Self {
        let health =
            Health { state: AtomicU8::new(SOUND), breaks: AtomicU64::new(breaks.load(Ordering::Relaxed)) };
        Self { link, health: Arc::new(health), breaks }
    }

    /// Whether nothing speaks against it: neither its own replies nor the end of others of the pool since it was asked.
    pub(crate) fn is_sound(&self) -> bool {
        self.health.state.load(Ordering::Relaxed) == SOUND
            && self.health.breaks.load(Ordering::Relaxed) == self.breaks_of_pool()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.health.state.load(Ordering::Relaxed) == BROKEN
    }

    pub(crate) fn breaks_of_pool(&self) -> u64 {
        self.breaks.load(Ordering::Relaxed)
    }

    /// It answered when so many of the pool had broken; unless a call found it broken meanwhile.
    pub(crate) fn found_sound(&self, breaks: u64) {
        let state = &self.health.state;
        let _ = state.compare_exchange(SUSPECT, SOUND, Ordering::Relaxed, Ordering::Relaxed);
        self.health.breaks.store(breaks, Ordering::Relaxed);
    }

    /// It did not answer when it was asked.
    pub(crate) fn end(&self) {
        self.health.state.store(BROKEN, Ordering::Relaxed);
    }

    /// Notes that a reply did not come in time.
    pub(crate) fn suspect(&self) {
        let _ = self.health.state.compare_exchange(SOUND, SUSPECT, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The answer to what was sent on this connection, an error of the connection included; `None` at the deadline.
    ///
    /// A call that is queued in the very moment in which its connection ends is forgotten in the queue (a tokio channel
    /// frees what comes after its receiver only with its last sender, and the call holds one): redis-rs gives it
    /// neither reply nor error. Another command on the same connection fails at once, so a late reply is probed for.
    pub(crate) async fn answer<T>(
        &self,
        sent: impl Future<Output = RedisResult<T>>,
        deadline: Instant,
    ) -> Option<RedisResult<T>> {
        let mut sent = std::pin::pin!(sent);
        let soon = deadline.min(Instant::now() + PROBE_AFTER);
        if let Ok(answer) = tokio::time::timeout_at(soon, &mut sent).await {
            return Some(answer);
        }
        tokio::select! {
            biased;
            answer = &mut sent => Some(answer),
            error = self.death() => Some(Err(error)),
            () = tokio::time::sleep_until(deadline) => None,
        }
    }

    /// Ends when the connection is found dead, with the error.
    async fn death(&self) -> RedisError {
        let mut link = self.link.clone();
        loop {
            let ping = redis::cmd("PING");
            // Forgotten in the queue too, it is sent again.
            let probe = tokio::time::timeout(PROBE_AFTER, ping.query_async::<()>(&mut link));
            match probe.await {
                Ok(Err(error)) if server_code(&error).is_none() => return error,
                _ => tokio::time::sleep(PROBE_PAUSE).await,
            }
        }
    }

    /// Notes an error, if it says that the connection is of no more use: broken, or to a server that does not take
    /// our writes, so that the next connection may lead to the one that does.
    pub(crate) fn note(&self, error: &RedisError) {
        match server_code(error).as_deref() {
            None | Some("READONLY" | "LOADING" | "MASTERDOWN" | "NOAUTH") => {
                if self.health.state.swap(BROKEN, Ordering::Relaxed) != BROKEN {
                    self.breaks.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(_) => {}
        }
    }
}

/// The code of an error that the server answered with; `None` for one of the connection. In a pipeline redis-rs
/// wraps it; and Redis 6.2 wraps what a command in a script ran into, as `ERR Error running script …: -READONLY …`.
pub(crate) fn server_code(error: &RedisError) -> Option<String> {
    let of_pipeline = || Some(error.clone().into_server_errors()?.first()?.1.clone());
    let (code, details) = match error.code() {
        Some(code) => (code.to_owned(), error.detail().map(str::to_owned)),
        None => of_pipeline().map(|error| (error.code().to_owned(), error.details().map(str::to_owned)))?,
    };
    let wrapped =
        details.as_deref().filter(|details| code == "ERR" && details.starts_with("Error running script"));
    let inner = wrapped.and_then(|details| details.split(": -").nth(1)?.split(' ').next());
    Some(inner.map_or(code, str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: &str, detail: &str) -> Option<String> {
        server_code(&redis::make_extension_error(code.to_owned(), Some(detail.to_owned())))
    }

    #[test]
    fn the_code_of_a_server_error_is_found_in_what_redis_6_2_makes_of_it() {
        assert_eq!(code("OOM", "command not allowed").as_deref(), Some("OOM"));
        let wrapped = "Error running script (call to f_8a1b): @user_script:17: @user_script: 17: -READONLY You can't write";
        assert_eq!(code("ERR", wrapped).as_deref(), Some("READONLY"));
        assert_eq!(code("ERR", "cloakroom get: 1 KEYS and 1 ARGV").as_deref(), Some("ERR"));
        assert_eq!(server_code(&RedisError::from(std::io::Error::other("cut"))), None);
    }
}
