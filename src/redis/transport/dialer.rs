//! Connects to a server: its address, TLS or not, and the user.

use std::io;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisResult};

use crate::redis::credentials::CredentialsSource;
use crate::redis::transport::address::Address;

/// The settings to connect to a server.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    info: Box<ConnectionInfo>,
    credentials: Option<CredentialsSource>,
}

impl Dialer {
    /// Asks for credentials each time; without a source, uses those of `info`.
    ///
    /// redis-rs would send its name to the server in an extra round trip, which a store does not need. Over TLS it is
    /// kept: the server's refusal of our certificate comes with the first reply, and only the errors of this request
    /// keep their cause.
    pub(crate) fn new(info: ConnectionInfo, credentials: Option<CredentialsSource>) -> Self {
        let settings = info.redis_settings().clone();
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let settings =
            if is_tls || settings.lib_name().is_some() { settings } else { settings.set_skip_set_lib_name() };
        let info = info.set_redis_settings(settings);
        Self { info: Box::new(info), credentials }
    }

    /// The same with RESP3.
    pub(crate) fn with_resp3(&self) -> Self {
        let settings = self.info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = ConnectionInfo::clone(&self.info).set_redis_settings(settings);
        Self::new(info, self.credentials.clone())
    }

    /// The same settings for a server at another address.
    pub(crate) fn at(&self, address: &Address) -> Self {
        let (host, port) = (address.host.clone(), address.port);
        let place = match self.info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Self { info: Box::new((*self.info).clone().set_addr(place)), credentials: self.credentials.clone() }
    }

    /// The server, as errors name it: host and port, or the path of its socket.
    pub(crate) fn server(&self) -> String {
        self.info.addr().to_string()
    }

    pub(crate) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let mut info = ConnectionInfo::clone(&self.info);
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
