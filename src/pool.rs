//! Connections: a bb8 pool of multiplexed ones, each cloned out and given back at once.
//!
//! Held for a whole call and checked with PING at each check-out, a pool of four serves four calls at a time; cloned,
//! its connections are pipes that any number of calls share. Without PING a connection must know for itself that it
//! broke, which is what [`Health`] is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::model::{Cause, Error, Obstacle};

/// How many commands of one connection may wait to be written. redis-rs has 50, where callers begin to queue early.
const WRITE_QUEUE: usize = 1024;

/// How often a connection is begun that is cut before it is made.
const HANDSHAKES: u32 = 5;

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

const SOUND: u8 = 0;

/// A reply did not come in time. The server may be slow or the connection dead: PING tells, at the next check-out.
const SUSPECT: u8 = 1;

const BROKEN: u8 = 2;

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
    fn new(link: MultiplexedConnection, breaks: Arc<AtomicU64>) -> Self {
        let health =
            Health { state: AtomicU8::new(SOUND), breaks: AtomicU64::new(breaks.load(Ordering::Relaxed)) };
        Self { link, health: Arc::new(health), breaks }
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

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    obstacle: Obstacle,
    cause: Option<Arc<RedisError>>,
}

impl Unavailable {
    const EXHAUSTED: Self = Self { obstacle: Obstacle::PoolExhausted, cause: None };

    fn connect(cause: Option<Arc<RedisError>>) -> Self {
        Self { obstacle: Obstacle::Connect, cause }
    }

    /// Whether it is only that the deadline came first.
    pub(crate) fn is_late(&self) -> bool {
        self.obstacle == Obstacle::PoolExhausted
    }
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Self {
        Self::obstacle(unavailable.obstacle, unavailable.cause.map(|cause| Box::new(cause) as Cause))
    }
}

/// Makes connections for the pool that is ours.
#[derive(Debug)]
struct Manager {
    client: Client,
    config: AsyncConnectionConfig,
    timeout: Duration,
    breaks: Arc<AtomicU64>,
}

/// Why the pool could not make or keep a connection.
#[derive(Debug)]
enum Failure {
    Connect(RedisError),
    Broken,
}

impl Manager {
    async fn handshake(&self) -> RedisResult<Connection> {
        let link = self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
        let connection = Connection::new(link, self.breaks.clone());
        // A server that wants a password closes the connection at the first long command, which looks like a lost
        // reply. This short one it answers.
        match self.ping(&connection).await {
            Err(error) if server_code(&error).is_none_or(|code| code == "NOAUTH") => Err(error),
            _ => Ok(connection),
        }
    }

    async fn ping(&self, connection: &Connection) -> RedisResult<()> {
        let mut link = connection.link.clone();
        let ping = redis::cmd("PING");
        let deadline = Instant::now() + self.timeout;
        let answer = connection.answer(ping.query_async(&mut link), deadline).await;
        answer.unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = Failure;

    /// A connection that is cut while it is made is made again. One that is refused is not: the server is down, and
    /// whoever waits is to know at once.
    async fn connect(&self) -> Result<Connection, Failure> {
        for _ in 1..HANDSHAKES {
            match self.handshake().await {
                Err(error) if error.is_connection_dropped() && !error.is_connection_refusal() => {}
                made => return made.map_err(Failure::Connect),
            }
        }
        self.handshake().await.map_err(Failure::Connect)
    }

    /// Called at each check-out, and free unless the connection is suspect.
    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Failure> {
        let health = &connection.health;
        let breaks = self.breaks.load(Ordering::Relaxed);
        match health.state.load(Ordering::Relaxed) {
            SOUND if health.breaks.load(Ordering::Relaxed) == breaks => Ok(()),
            SOUND | SUSPECT => {
                if self.ping(connection).await.is_err() {
                    health.state.store(BROKEN, Ordering::Relaxed);
                    return Err(Failure::Broken);
                }
                // Unless a call found it broken meanwhile.
                let _ = health.state.compare_exchange(SUSPECT, SOUND, Ordering::Relaxed, Ordering::Relaxed);
                health.breaks.store(breaks, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(Failure::Broken),
        }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.health.state.load(Ordering::Relaxed) == BROKEN
    }
}

/// bb8 tells connect errors to nobody else, and who waits for a connection wants to know them.
#[derive(Clone, Debug)]
struct Sink(watch::Sender<Option<Arc<RedisError>>>);

impl bb8::ErrorSink<Failure> for Sink {
    fn sink(&self, failure: Failure) {
        if let Failure::Connect(error) = failure {
            tracing::debug!(%error, "no connection to redis");
            self.0.send_replace(Some(Arc::new(error)));
        }
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<Failure>> {
        Box::new(self.clone())
    }
}

/// The connections of a store.
#[derive(Debug)]
pub(crate) enum Pool {
    /// Ours.
    Own(OwnPool),
    /// The service's, handed in. Its own settings hold; PING at check-out, its default, is how it finds out that a
    /// connection broke.
    Given(bb8::Pool<RedisConnectionManager>),
}

#[derive(Debug)]
pub(crate) struct OwnPool {
    pool: bb8::Pool<Manager>,
    failures: watch::Receiver<Option<Arc<RedisError>>>,
}

impl Pool {
    /// A pool of up to `size` connections, made as they are asked for.
    pub(crate) fn own(client: Client, size: u32, connect_timeout: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connect_timeout))
            .set_response_timeout(None) // the operation has the deadline
            .set_pipeline_buffer_size(WRITE_QUEUE);
        let (sender, failures) = watch::channel(None);
        let pool = bb8::Pool::builder()
            .max_size(size)
            .test_on_check_out(true) // runs is_valid, which looks at a flag
            .retry_connection(false) // whoever waits is told at once, and who comes next tries again
            .error_sink(Box::new(Sink(sender)))
            .build_unchecked(Manager { client, config, timeout: connect_timeout, breaks: Arc::default() });
        Self::Own(OwnPool { pool, failures })
    }

    /// A connection to send on. It is already back in the pool.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<Connection, Unavailable> {
        match self {
            Self::Own(own) => own.connection(deadline).await,
            Self::Given(pool) => match tokio::time::timeout_at(deadline, pool.get()).await {
                Ok(Ok(connection)) => {
                    let mut link = connection.clone();
                    link.set_response_timeout(Duration::from_secs(3600)); // the operation has the deadline
                    Ok(Connection::new(link, Arc::default()))
                }
                Ok(Err(bb8::RunError::User(error))) => Err(Unavailable::connect(Some(Arc::new(error)))),
                Ok(Err(bb8::RunError::TimedOut)) | Err(_) => Err(Unavailable::EXHAUSTED),
            },
        }
    }
}

impl OwnPool {
    async fn connection(&self, deadline: Instant) -> Result<Connection, Unavailable> {
        let mut failures = self.failures.clone();
        failures.mark_unchanged();
        tokio::select! {
            biased;
            got = self.pool.get() => match got {
                Ok(connection) => Ok(connection.clone()),
                Err(_) => Err(Unavailable::EXHAUSTED),
            },
            Ok(()) = failures.changed() => Err(Unavailable::connect(failures.borrow().clone())),
            () = tokio::time::sleep_until(deadline) => Err(Unavailable::EXHAUSTED),
        }
    }
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
