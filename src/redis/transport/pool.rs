//! Connections: a bb8 pool of multiplexed ones, each cloned out and given back at once.
//!
//! Held for a whole call and checked with PING at each check-out, a pool of four serves four calls at a time; cloned,
//! its connections are pipes that any number of calls share. Without PING a connection must know for itself that it
//! broke, which is what [`Connection`] is for.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use futures_util::FutureExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::{Delivery, Unavailable};
use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::server_clock::ServerClock;
use crate::redis::transport::server_error::server_code;
use crate::redis::transport::tracking::{Held, Tracking};

/// How many commands of one connection may wait to be written. redis-rs has 50, where callers begin to queue early.
const WRITE_QUEUE: usize = 1024;

/// How often a connection is begun that is cut before it is made.
const HANDSHAKES: u32 = 5;

/// Makes connections for the pool that is ours.
#[derive(Debug)]
struct Manager {
    dialer: Dialer,
    config: AsyncConnectionConfig,
    breaks: Arc<AtomicU64>,
    tracking: Option<Tracking>,
}

/// Why the pool could not make or keep a connection.
#[derive(Debug)]
enum Failure {
    Connect(RedisError),
    Broken,
}

impl Manager {
    async fn handshake(&self) -> RedisResult<Connection> {
        let (link, held) = self.link().await?;
        let connection = Connection::new(link, self.breaks.clone(), Arc::default()).tracked(held);
        // A server that wants a password closes the connection at the first long command, which looks like a lost
        // reply. This short one it answers.
        match answer(connection.ask_time(Instant::now() + self.dialer.timeout()).await) {
            Err(error) if server_code(&error).is_none_or(|code| code == "NOAUTH") => Err(error),
            _ => Ok(connection),
        }
    }

    /// A connection, tracked if that is asked for and the server can.
    async fn link(&self) -> RedisResult<(MultiplexedConnection, Option<Held>)> {
        if let Some(tracking) = &self.tracking {
            let late = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            let made = tokio::time::timeout(self.dialer.timeout(), tracking.connect(&self.config)).await;
            if let Some(tracked) = made.unwrap_or_else(late)? {
                return Ok(tracked);
            }
        }
        Ok((self.dialer.connect(&self.config).await?, None))
    }

    async fn ping(&self, connection: &Connection) -> RedisResult<()> {
        let mut link = connection.link.clone();
        let ping = redis::cmd("PING");
        let deadline = Instant::now() + self.dialer.timeout();
        answer(connection.outcome(pin!(ping.query_async(&mut link)), deadline).await)
    }
}

fn answer(delivery: Delivery<()>) -> RedisResult<()> {
    match delivery {
        Delivery::Answered(()) => Ok(()),
        Delivery::Refused(error) | Delivery::Lost(error) => Err(error),
        Delivery::Late | Delivery::Unsent(_) => {
            Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        }
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
        if connection.is_sound() {
            return Ok(());
        }
        let breaks = connection.breaks_of_pool();
        if connection.is_broken() || self.ping(connection).await.is_err() {
            connection.found_dead();
            return Err(Failure::Broken);
        }
        connection.found_sound(breaks);
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_broken()
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
    /// connection broke. Which server one of its connections leads to is not known: they have one clock.
    Given(bb8::Pool<RedisConnectionManager>, Arc<ServerClock>),
}

#[derive(Debug)]
pub(crate) struct OwnPool {
    pool: bb8::Pool<Manager>,
    failures: watch::Receiver<Option<Arc<RedisError>>>,
}

impl Pool {
    /// A pool of up to `size` connections, made as they are asked for.
    pub(crate) fn own(dialer: Dialer, size: u32, tracking: Option<Tracking>) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None) // the dialer has one
            .set_response_timeout(None) // the operation has the deadline
            .set_pipeline_buffer_size(WRITE_QUEUE);
        let (sender, failures) = watch::channel(None);
        let pool = bb8::Pool::builder()
            .max_size(size)
            .test_on_check_out(true) // runs is_valid, which looks at a flag
            .retry_connection(false) // whoever waits is told at once, and who comes next tries again
            .error_sink(Box::new(Sink(sender)))
            .build_unchecked(Manager { dialer, config, breaks: Arc::default(), tracking });
        Self::Own(OwnPool { pool, failures })
    }

    /// A connection to send on. It is already back in the pool.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<Connection, Unavailable> {
        match self {
            Self::Own(own) => own.connection(deadline).await,
            Self::Given(pool, clock) => match tokio::time::timeout_at(deadline, pool.get()).await {
                Ok(Ok(connection)) => {
                    let mut link = connection.clone();
                    link.set_response_timeout(Duration::from_secs(3600)); // the operation has the deadline
                    Ok(Connection::new(link, Arc::default(), clock.clone()))
                }
                Ok(Err(bb8::RunError::User(error))) => Err(Unavailable::connect(Some(Arc::new(error)))),
                Ok(Err(bb8::RunError::TimedOut)) | Err(_) => Err(Unavailable::EXHAUSTED),
            },
        }
    }

    /// A time that the server's clock has passed, as far as that is known without asking.
    pub(crate) async fn known_time(&self, deadline: Instant) -> Option<u64> {
        let now = std::time::Instant::now();
        match self {
            Self::Own(own) => own.connection(deadline).await.ok()?.clock().no_later_than(now),
            Self::Given(_, clock) => clock.no_later_than(now),
        }
    }
}

impl OwnPool {
    async fn connection(&self, deadline: Instant) -> Result<Connection, Unavailable> {
        // Mostly one is there. What waits is boxed: it is large, and would be a part of each call's future.
        match self.pool.get().now_or_never() {
            Some(Ok(connection)) => Ok(connection.clone()),
            _ => Box::pin(self.wait_for_connection(deadline)).await,
        }
    }

    async fn wait_for_connection(&self, deadline: Instant) -> Result<Connection, Unavailable> {
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
