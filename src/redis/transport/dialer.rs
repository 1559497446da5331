//! Makes connections: to where, over TLS or not, and as whom.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, RedisResult};

use crate::redis::credentials::CredentialsSource;

/// How connections are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    info: ConnectionInfo,
    credentials: Option<CredentialsSource>,
    timeout: Duration,
}

impl Dialer {
    /// To a server, and within a time. Credentials are asked for at each connect, and else those of `info` are used.
    pub(crate) fn new(
        info: ConnectionInfo,
        credentials: Option<CredentialsSource>,
        timeout: Duration,
    ) -> Self {
        Self { info, credentials, timeout }
    }

    /// The same with RESP3.
    pub(crate) fn with_resp3(&self) -> Self {
        let settings = self.info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Self { info: self.info.clone().set_redis_settings(settings), ..self.clone() }
    }

    /// How long all of a connect may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The server, as errors name it: host and port, or the path of its socket.
    pub(crate) fn server(&self) -> String {
        self.info.addr().to_string()
    }

    /// Makes a connection.
    ///
    /// A panic is an error as any other. It would end the pool's task, which then counts a connection for ever as one that
    /// is being made.
    pub(crate) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let made = tokio::time::timeout(self.timeout, AssertUnwindSafe(self.make(config)).catch_unwind());
        match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(panic)) => {
                Err(io::Error::other(format!("a panic while connecting: {}", said(&*panic))).into())
            }
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    async fn make(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let mut info = self.info.clone();
        if let Some(source) = &self.credentials {
            let asked = source.ask().await;
            let credentials = asked.map_err(|error| io::Error::other(format!("no credentials: {error}")))?;
            let mut settings = info.redis_settings().clone().set_password(credentials.password);
            if let Some(username) = credentials.username {
                settings = settings.set_username(username);
            }
            info = info.set_redis_settings(settings);
        }
        Client::open(info)?.get_multiplexed_async_connection_with_config(config).await
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
