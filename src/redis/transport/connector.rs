//! Makes connections for the pool.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, ConnectionInfo, RedisError, RedisResult};
use tokio::time::Instant;

use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::timed_out;
use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::ear::Ear;
use crate::redis::transport::role::Role;
use crate::redis::transport::sentinels::{Named, Sentinels};
use crate::redis::transport::siblings::Siblings;
use crate::redis::transport::tracked::Tracked;
use crate::redis::transport::tracking::{Tracking, keep_heard};

/// How many commands of one connection may wait to be written. redis-rs has 50, so callers would queue early.
const WRITE_QUEUE: usize = 1024;

/// How often to start a connection that is cut during its handshake.
const HANDSHAKES: u32 = 5;

/// After how long the system probes a connection without traffic: before a load balancer forgets it.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// The pause between these probes, until the system gives the connection up.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

const KEEPALIVES: u32 = 3;

/// After how long without an acknowledgement the system gives a connection up. The pool does so much
/// earlier.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Where connections come from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// The store makes them, tracked if that is configured and the server can.
    Dialer(Dialer, Option<Arc<Tracking>>),
    /// The store makes them with this dialer, to the master that the sentinels name.
    Sentinels(Arc<Sentinels>, Dialer, Option<Arc<Tracking>>),
    /// The service makes them.
    Manager(Arc<dyn Manager>),
}

/// Hides the dialer, which has the password.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialer(..) => "Dialer",
            Self::Sentinels(..) => "Sentinels",
            Self::Manager(_) => "Manager",
        })
    }
}

/// Makes connections for the service.
#[async_trait::async_trait]
pub(crate) trait Manager: Send + Sync {
    async fn make(&self) -> RedisResult<MultiplexedConnection>;
}

#[async_trait::async_trait]
impl<M> Manager for M
where
    M: bb8::ManageConnection<Connection = MultiplexedConnection>,
    M::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn make(&self) -> RedisResult<MultiplexedConnection> {
        let told = |error: M::Error| match error.into().downcast::<RedisError>() {
            Ok(error) => *error,
            Err(error) => std::io::Error::other(error).into(),
        };
        let mut link = self.connect().await.map_err(told)?;
        link.set_response_timeout(NO_TIMEOUT);
        Ok(link)
    }
}

/// The operation has the deadline.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

/// The user of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// All calls.
    Shared,
    /// One caller alone, which waits for replicas or reads events on it. The near cache keeps nothing that is read
    /// there.
    Alone,
}

/// Makes connections for the pool.
#[derive(Debug)]
pub(crate) struct Connector {
    origin: Origin,
    config: AsyncConnectionConfig,
    timeout: Duration,
    siblings: Arc<Siblings>,
    /// Receives the server's reports of changes on its connections.
    ear: Option<Arc<Ear>>,
}

impl Connector {
    /// `timeout` limits how long a connect takes, and how long a connection may be silent.
    pub(crate) fn new(origin: Origin, timeout: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None) // that of the whole handshake is ours
            .set_response_timeout(None) // the operation has the deadline
            .set_pipeline_buffer_size(WRITE_QUEUE);
        Self { origin, config, timeout, siblings: Arc::new(Siblings::new(timeout)), ear: None }
    }

    /// A connector to the same server, whose connections report changes to an ear.
    pub(crate) fn listening(&self, ear: Arc<Ear>) -> Self {
        Self { ear: Some(ear), ..Self::new(self.origin.clone(), self.timeout) }
    }

    pub(crate) fn siblings(&self) -> &Siblings {
        &self.siblings
    }

    pub(crate) async fn connect(&self, of: Use) -> RedisResult<Connection> {
        let late = |_| {
            let told = format!("the server was silent for {:?}", self.timeout);
            Err(timed_out(told))
        };
        // A panic in a source of credentials or in TLS becomes an ordinary error with its message.
        let made =
            AssertUnwindSafe(self.handshakes(of)).catch_unwind().map(|made| made.unwrap_or_else(panicked));
        tokio::time::timeout(self.timeout, made).await.unwrap_or_else(late)
    }

    /// Retries a connection that is cut during its handshake. It does not retry a refused one: the server is down,
    /// and callers must learn that at once.
    async fn handshakes(&self, of: Use) -> RedisResult<Connection> {
        for _ in 1..HANDSHAKES {
            match self.handshake(of).await {
                Err(error) if error.is_connection_dropped() && !error.is_connection_refusal() => {}
                made => return made,
            }
        }
        self.handshake(of).await
    }

    async fn handshake(&self, of: Use) -> RedisResult<Connection> {
        let Link { mut link, tracked, named } = self.link(of).await?;
        let sent = Instant::now();
        // A server that wants a password closes the connection at the first long command, which looks like a lost
        // reply. It answers these short ones.
        let (role, time) = Role::find_out(&mut link).await?;
        let round_trip = sent.elapsed();
        let mut connection = Connection::new(link, role, self.siblings.clone()).named(named);
        if let Some(tracked) = tracked {
            connection = keep_heard(connection, tracked);
        }
        connection.took(round_trip);
        connection.told_time(sent, &time);
        Ok(connection)
    }

    async fn link(&self, of: Use) -> RedisResult<Link> {
        match &self.origin {
            Origin::Dialer(dialer, tracking) => {
                let tracking = tracking.as_deref().filter(|_| of == Use::Shared);
                let (link, tracked) = self.link_by(dialer, tracking).await?;
                Ok(Link { link, tracked, named: None })
            }
            Origin::Sentinels(sentinels, dialer, tracking) => {
                let address = sentinels.master(self.timeout / 2).await?;
                let tracking = tracking.as_deref().filter(|_| of == Use::Shared);
                let (link, tracked) = self.link_by(&dialer.at(&address), tracking).await?;
                Ok(Link { link, tracked, named: Some(Named::new(sentinels.clone(), address)) })
            }
            Origin::Manager(manager) => Ok(Link { link: manager.make().await?, tracked: None, named: None }),
        }
    }

    async fn link_by(
        &self,
        dialer: &Dialer,
        tracking: Option<&Tracking>,
    ) -> RedisResult<(MultiplexedConnection, Option<Arc<Tracked>>)> {
        if let Some(tracking) = tracking
            && let Some(tracked) = tracking.connect(dialer, &self.config).await?
        {
            return Ok(tracked);
        }
        if let Some(ear) = &self.ear
            && let Some(link) = ear.connect(dialer, &self.config).await?
        {
            return Ok((link, None));
        }
        Ok((dialer.connect(&self.config).await?, None))
    }
}

/// A new connection, and what is known of it.
struct Link {
    link: MultiplexedConnection,
    tracked: Option<Arc<Tracked>>,
    /// Set if sentinels named its server.
    named: Option<Named>,
}

fn panicked(panic: Box<dyn Any + Send>) -> RedisResult<Connection> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Err(std::io::Error::other(format!("a panic while connecting: {text}")).into())
}

/// Makes the system keep connections alive and give up dead ones, unless the service has set that.
pub(crate) fn kept_alive(info: ConnectionInfo) -> ConnectionInfo {
    let mut settings = info.tcp_settings().clone().set_nodelay(true);
    if settings.keepalive().is_none() {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
        #[cfg(any(target_os = "android", target_os = "linux", target_os = "macos", target_os = "windows"))]
        let keepalive = keepalive.with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVES);
        settings = settings.set_keepalive(keepalive);
    }
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    if settings.user_timeout().is_none() {
        settings = settings.set_user_timeout(UNACKNOWLEDGED);
    }
    info.set_tcp_settings(settings)
}
