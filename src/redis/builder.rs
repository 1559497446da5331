//! How a store in Redis is configured.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, ConnectionInfo};

use crate::model::{Error, Result, Rules, TestClock, check_duration, require_runtime};
use crate::redis::cluster_url;
use crate::redis::config::StoreConfig;
use crate::redis::credentials::{Credentials, CredentialsSource};
use crate::redis::near_cache::NearCache;
use crate::redis::sentinel_url::SentinelUrl;
use crate::redis::server_url;
use crate::redis::startup::Startup;
use crate::redis::store::RedisStore;
#[cfg(feature = "tls")]
use crate::redis::tls::{self, Certificates};
use crate::redis::transport::address::Address;
use crate::redis::transport::cluster::{Cluster, Reach};
use crate::redis::transport::connector::{Connector, Manager, Origin, kept_alive};
use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::node::Node;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::sentinels::Sentinels;
use crate::redis::transport::servers::Servers;
use crate::redis::transport::tracking::Tracking;
use crate::stored::partitions::Partitions;

/// The longest deadline and connect timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Below that a connection would hardly be heard of in time.
const SHORTEST_STALENESS: Duration = Duration::from_millis(10);

/// Configures a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder {
    source: Source,
    namespace: String,
    partitions: u16,
    rules: Rules,
    pool_size: u32,
    connect_timeout: Duration,
    deadline: Duration,
    clock: Option<TestClock>,
    near_cache: Option<usize>,
    staleness: Duration,
    credentials: Option<CredentialsSource>,
    must_exist: bool,
    #[cfg(feature = "tls")]
    certificates: Certificates,
}

/// Where connections come from.
enum Source {
    Url(String),
    Client(Box<Client>),
    Sentinels { sentinels: Vec<ConnectionInfo>, service: String, server: Box<ConnectionInfo> },
    Cluster { seeds: Vec<ConnectionInfo> },
    Manager(Arc<dyn Manager>),
}

/// Without the URL and the client, which have the password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "Url",
            Self::Client(_) => "Client",
            Self::Sentinels { .. } => "Sentinels",
            Self::Cluster { .. } => "Cluster",
            Self::Manager(_) => "Manager",
        })
    }
}

impl RedisStoreBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            namespace: "cloakroom".to_owned(),
            partitions: 1,
            rules: Rules::default(),
            pool_size: 4,
            connect_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            clock: None,
            near_cache: None,
            staleness: Duration::from_secs(1),
            credentials: None,
            must_exist: false,
            #[cfg(feature = "tls")]
            certificates: Certificates::default(),
        }
    }

    /// What all keys begin with: 1 to 64 bytes, no braces. Defaults to `cloakroom`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Starts only in a namespace that is there, and makes none: for a tool, whose user may mistype its name. It is there once
    /// a store has started in it. Defaults to making it.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Over how many partitions the sessions of the namespace are spread, 1 to 1,024. It is fixed when the namespace is made,
    /// and a store of another number does not start in it. Defaults to 1, and then any session may have any id. In a
    /// cluster each partition is in a slot of its own, and so at any of the masters.
    ///
    /// With more, the id of a session with a user is in the partition of that user. The store makes such ids, also by
    /// [`new_id`](crate::SessionStore::new_id), and refuses any other with [`Error::Invalid`]. docs/partitions.md says what
    /// else is different.
    #[must_use]
    pub fn partitions(mut self, count: u16) -> Self {
        self.partitions = count;
        self
    }

    /// How long sessions live, how large they may be, how many a user may have. Defaults to [`Rules::default`].
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// How many connections there are at most, 1 to 1,000, on a cluster to each master. Each carries any number of calls at
    /// once. Two more may come for what is large, and those of [`durably`](RedisStore::durably). Defaults to 4.
    #[must_use]
    pub fn pool_size(mut self, size: u32) -> Self {
        self.pool_size = size;
        self
    }

    /// How long making a connection may take. A connection that owes replies and stays silent this long is given up. 1 ms to
    /// 1 hour. Defaults to 1 second.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an operation may take in all: waiting for a connection, round trips, attempts. 1 ms to
    /// 1 hour. Defaults to 2 seconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A clock that stands in for the server's, for tests of an application, with the feature `test-util`. Defaults to none.
    #[must_use]
    #[cfg(any(test, feature = "test-util"))]
    pub fn clock(mut self, clock: TestClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Keeps so many sessions that were read in memory, and answers [`get`](crate::SessionStore::get), and a
    /// [`refresh`](crate::SessionStore::refresh) within the [touch interval](Rules::touch_interval), from there until the
    /// server says that they changed. A session of 4 KiB or more counts as several; those that are read least go. Defaults to
    /// none.
    ///
    /// What this process changes it sees at once. What others change, a logout, it sees as soon as the server's word of that
    /// has come, about a millisecond; and never later than the [staleness](Self::near_cache_staleness), whatever happens
    /// to the network, as long as there is one master. [`get_fresh`](crate::SessionStore::get_fresh) always asks.
    ///
    /// The server has to speak RESP3: Redis 6.2.14, 7.0.9 or later, Valkey. With another the store works as without, and
    /// says so once by `tracing`. The server remembers which sessions it has to tell of, a million keys by default
    /// (`tracking-table-max-keys`); its user needs the commands `CLIENT TRACKING` and `CLIENT CACHING`.
    #[must_use]
    pub fn near_cache(mut self, sessions: usize) -> Self {
        self.near_cache = Some(sessions);
        self
    }

    /// How long a session is answered from memory at most since the server was last heard of, 10 ms to 1 hour: how late a
    /// change is seen when the network is cut. Each connection is asked for a sign of life four times as often. Defaults to
    /// 1 second.
    #[must_use]
    pub fn near_cache_staleness(mut self, staleness: Duration) -> Self {
        self.staleness = staleness;
        self
    }

    /// Asks for the user and password at each connect: for those that change, a token of IAM or Entra. Asking and connecting
    /// together have the [connect timeout](Self::connect_timeout). A connection that is made stays the user's it was
    /// made for; where a service ends it when its token does, the next is made with a new one, and calls that were on
    /// their way are sent again. Where this is set, the URL or client must name neither user nor password. Defaults to what
    /// those say.
    ///
    /// ```no_run
    /// use cloakroom::{Credentials, RedisStore};
    ///
    /// # async fn token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn example() -> Result<(), cloakroom::Error> {
    /// let credentials = || async { Ok(Credentials::new("shop", token().await?)) };
    /// let store = RedisStore::builder("redis://sessions.example.com/").credentials(credentials).build().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn credentials<F, Asking>(mut self, ask: F) -> Self
    where
        F: Fn() -> Asking + Send + Sync + 'static,
        Asking:
            Future<Output = Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.credentials = Some(CredentialsSource::new(ask));
        self
    }

    /// Whom to trust over TLS: the certificates, in PEM, of the authorities that sign the server's, a private one mostly.
    /// Defaults to those that the platform trusts, in whose place it stands. With the feature `tls`.
    #[must_use]
    #[cfg(feature = "tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.root = Some(pem.into());
        self
    }

    /// The certificate by which the store shows who it is (mutual TLS), with those that lead to its authority, and its
    /// private key; both in PEM. Defaults to none. With the feature `tls`.
    #[must_use]
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((certificate.into(), key.into()));
        self
    }

    /// Connects, loads the scripts, proves that the user may run all that they do, notes their contract in the namespace,
    /// and warns (by `tracing`) of a server that may evict keys. While the server is away, loads its data or is a replica, it
    /// tries again until the [deadline](Self::deadline).
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration; [`Error::NotExecuted`] when the server cannot be
    /// reached in time, or does not take the user; [`Refusal::Forbidden`](crate::Refusal::Forbidden) names what the server's
    /// ACL does not allow; [`Refusal::ServerTooOld`](crate::Refusal::ServerTooOld) names a server below 6.2;
    /// [`Refusal::Contract`](crate::Refusal::Contract) when clients of another contract work in the namespace,
    /// [`Refusal::Partitions`](crate::Refusal::Partitions) when it has another number of partitions,
    /// [`Refusal::IdScheme`](crate::Refusal::IdScheme) when it has another scheme of ids,
    /// [`Refusal::Events`](crate::Refusal::Events) when its other clients tell events and this one does not, or the other way
    /// round.
    /// [`Refusal::NoNamespace`](crate::Refusal::NoNamespace) when it has to [exist](Self::existing) and does not.
    pub async fn build(self) -> Result<RedisStore> {
        let store = self.build_lazy()?;
        store.start().await?;
        Ok(store)
    }

    /// Makes the store without contacting the server. The first call does what [`build`](Self::build) does; if that fails, the
    /// next call tries again. So a service starts while its server is away, and a [`FallbackStore`](crate::fallback::FallbackStore) over it
    /// does from the beginning what it does in an outage. A server that refuses the store's start refuses each call.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration, or that there is no Tokio runtime here.
    pub fn build_lazy(self) -> Result<RedisStore> {
        self.check()?;
        require_runtime()?;
        let partitions = Partitions::new(&self.namespace, self.partitions)?.keeping(self.rules.events);
        let partitions = Arc::new(partitions.with_ids(self.rules.id_scheme));
        let near_cache = self
            .near_cache
            .map(|sessions| Arc::new(NearCache::new(sessions, partitions.clone(), self.clock.clone())));
        let (servers, server) = self.servers(near_cache.as_ref())?;
        let config = StoreConfig {
            server: server.into(),
            partitions,
            rules: self.rules,
            clock: self.clock,
            deadline: self.deadline,
            near_cache,
            startup: Arc::new(Startup::new(self.must_exist)),
        };
        Ok(RedisStore::new(servers, config))
    }

    /// The servers of the store, and how errors name them.
    fn servers(&self, near_cache: Option<&Arc<NearCache>>) -> Result<(Servers, String)> {
        let tracking =
            near_cache.cloned().map(|near_cache| Arc::new(Tracking::new(near_cache, self.staleness)));
        let (origin, server) = match &self.source {
            Source::Url(url) => {
                if let Some(seeds) = cluster_url::parse(url) {
                    return self.by_cluster(&seeds?, near_cache);
                }
                match SentinelUrl::parse(url) {
                    Some(url) => {
                        let SentinelUrl { sentinels, service, server } = url?;
                        self.by_sentinels(sentinels, &service, server, tracking)?
                    }
                    None => self.own(server_url::read(url)?, tracking)?,
                }
            }
            Source::Client(client) => self.own(client.get_connection_info().clone(), tracking)?,
            Source::Sentinels { sentinels, service, server } => {
                self.by_sentinels(sentinels.clone(), service, (**server).clone(), tracking)?
            }
            Source::Cluster { seeds } => return self.by_cluster(seeds, near_cache),
            Source::Manager(manager) => {
                if let Some(field) = self.of_connections() {
                    return Err(Error::invalid(field, "needs connections that the store makes itself"));
                }
                (Origin::Manager(manager.clone()), "the server of the manager".to_owned())
            }
        };
        let pool = Pool::new(Connector::new(origin, self.connect_timeout), self.pool_size);
        Ok((Servers::One(Arc::new(Node::new(None, pool))), server))
    }

    /// The nodes of a cluster, of which the service named some.
    fn by_cluster(
        &self,
        seeds: &[ConnectionInfo],
        near_cache: Option<&Arc<NearCache>>,
    ) -> Result<(Servers, String)> {
        let Some(first) = seeds.first() else { return Err(Error::invalid("cluster", "has no nodes")) };
        if first.redis_settings().db() != 0 {
            return Err(Error::invalid("cluster", "has one database, 0"));
        }
        let address = |seed: &ConnectionInfo| match seed.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Ok(Address { host: host.clone(), port: *port })
            }
            _ => Err(Error::invalid("cluster", "has a node without host and port")),
        };
        let addresses = seeds.iter().map(address).collect::<Result<Vec<_>>>()?;
        let near_cache = near_cache.map(|near_cache| (near_cache.clone(), self.staleness));
        let dialer = self.dialer(first.clone())?;
        let server = format!("the cluster of {}", dialer.server());
        let reach = Reach { dialer, timeout: self.connect_timeout, pool_size: self.pool_size, near_cache };
        Ok((Servers::Cluster(Cluster::new(reach, addresses)), server))
    }

    /// Connections that the store makes, and the server that they lead to.
    fn own(&self, info: ConnectionInfo, tracking: Option<Arc<Tracking>>) -> Result<(Origin, String)> {
        let dialer = self.dialer(info)?;
        let server = dialer.server();
        Ok((Origin::Dialer(dialer, tracking), server))
    }

    /// The same to the master that sentinels name.
    fn by_sentinels(
        &self,
        sentinels: Vec<ConnectionInfo>,
        service: &str,
        server: ConnectionInfo,
        tracking: Option<Arc<Tracking>>,
    ) -> Result<(Origin, String)> {
        if sentinels.is_empty() {
            return Err(Error::invalid("sentinels", "are none"));
        }
        let sentinel = |sentinel: ConnectionInfo| match sentinel.addr() {
            ConnectionAddr::TcpTls { tls_params: None, .. } => self.secured(kept_alive(sentinel)),
            // Not over TLS, or with certificates of its own.
            _ => Ok(kept_alive(sentinel)),
        };
        let sentinels = sentinels.into_iter().map(sentinel).collect::<Result<_>>()?;
        let sentinels = Sentinels::new(sentinels, service.to_owned())
            .map_err(|_| Error::invalid("sentinels", "have an address that cannot be used"))?;
        let origin = Origin::Sentinels(Arc::new(sentinels), self.dialer(server)?, tracking);
        Ok((origin, format!("the master {service}")))
    }

    fn dialer(&self, info: ConnectionInfo) -> Result<Dialer> {
        let info = as_whom(kept_alive(info), self.credentials.as_ref())?;
        Ok(Dialer::new(self.secured(info)?, self.credentials.clone()))
    }

    /// With the certificates of the builder.
    #[cfg(feature = "tls")]
    fn secured(&self, info: ConnectionInfo) -> Result<ConnectionInfo> {
        tls::prepare(info, &self.certificates)
    }

    #[cfg(not(feature = "tls"))]
    fn secured(&self, info: ConnectionInfo) -> Result<ConnectionInfo> {
        Ok(info)
    }

    /// What is set of how connections are made.
    fn of_connections(&self) -> Option<&'static str> {
        let of_connections =
            [("near_cache", self.near_cache.is_some()), ("credentials", self.credentials.is_some())];
        #[cfg(feature = "tls")]
        let of_connections = of_connections.into_iter().chain([
            ("root_certificate", self.certificates.root.is_some()),
            ("client_certificate", self.certificates.client.is_some()),
        ]);
        of_connections.into_iter().find(|(_, is_set)| *is_set).map(|(field, _)| field)
    }

    fn check(&self) -> Result<()> {
        self.rules.validate()?;
        if !(1..=1000).contains(&self.pool_size) {
            return Err(Error::invalid("pool_size", format!("is {}, must be 1 to 1000", self.pool_size)));
        }
        if self.near_cache == Some(0) {
            return Err(Error::invalid("near_cache", "is 0, must be at least 1"));
        }
        check_duration("near_cache_staleness", self.staleness, SHORTEST_STALENESS, LONGEST_WAIT)?;
        for (field, duration) in [("connect_timeout", self.connect_timeout), ("deadline", self.deadline)] {
            check_duration(field, duration, Duration::from_millis(1), LONGEST_WAIT)?;
        }
        Ok(())
    }
}

/// How a server is reached as the user that is meant.
fn as_whom(info: ConnectionInfo, credentials: Option<&CredentialsSource>) -> Result<ConnectionInfo> {
    let settings = info.redis_settings();
    match (settings.username(), settings.password()) {
        (None, None) => Ok(info),
        _ if credentials.is_some() => Err(Error::invalid("credentials", "stand in the URL or client too")),
        // redis-rs would take the default user instead of one that has no password.
        (Some(_), None) => {
            let settings = settings.clone().set_password("");
            Ok(info.set_redis_settings(settings))
        }
        (_, Some(_)) => Ok(info),
    }
}

impl RedisStore {
    /// Configures a store on the server of a URL: `redis://[user:password@]host[:port][/database]`, or `rediss://` with the
    /// feature `tls`, or `redis+unix:///path[?db=database&user=user&pass=password]`. `?protocol=resp3` is understood too;
    /// anything else is refused. Or on the master that sentinels name:
    /// `redis+sentinel://[user:password@]host[:port],host[:port]/service[/database]`, or `rediss+sentinel://` with the feature
    /// `tls`, where user and password are the master's, and `service` is its master name. Or on a cluster, of which the URL
    /// names some nodes: `redis+cluster://[user:password@]host[:port],host[:port]`, or `rediss+cluster://`.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Url(url.into()))
    }

    /// Configures a store on a client that the service has.
    #[must_use]
    pub fn builder_with_client(client: Client) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Client(Box::new(client)))
    }

    /// Configures a store on the master with a master name, as sentinels report it, where a URL does not say all: sentinels with
    /// a password, or certificates of their own. `server` is how the master is connected to, whatever its address: the host and port in it are not used.
    /// The [`root_certificate`](RedisStoreBuilder::root_certificate) and the like are also those of sentinels over TLS that have none.
    ///
    /// All sentinels are asked whenever a connection is made, and every 200 ms while calls are made; the newest master counts
    /// that any of them names. So a switch is followed without a restart. (redis-rs's own client takes the word of the first
    /// sentinel that answers.)
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use cloakroom::{RedisStore, clients::redis::IntoConnectionInfo};
    ///
    /// let sentinels = ["redis://:watch@one:26379", "redis://:watch@two:26379", "redis://:watch@three:26379"];
    /// let sentinels = sentinels.into_iter().map(|url| url.into_connection_info()).collect::<Result<Vec<_>, _>>()?;
    /// let server = "redis://shop:secret@master/".into_connection_info()?;
    /// let store = RedisStore::builder_with_sentinels(sentinels, "shop", server).build().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder_with_sentinels(
        sentinels: impl IntoIterator<Item = ConnectionInfo>,
        service: impl Into<String>,
        server: ConnectionInfo,
    ) -> RedisStoreBuilder {
        let sentinels = sentinels.into_iter().collect();
        RedisStoreBuilder::new(Source::Sentinels {
            sentinels,
            service: service.into(),
            server: Box::new(server),
        })
    }

    /// Configures a store on a Redis Cluster, where a URL does not say all. Any nodes of it will do, of which one has to answer;
    /// the user, password and certificates of the first are those for all.
    ///
    /// Each partition of the namespace is at the master that owns its slot, with one partition all of it is at one. The
    /// store reads which master that is from the nodes, again when one of them sends a call on, and every 30 seconds. It sends
    /// to masters alone, each with a pool of its own.
    #[must_use]
    pub fn builder_with_cluster(seeds: impl IntoIterator<Item = ConnectionInfo>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Cluster { seeds: seeds.into_iter().collect() })
    }

    /// Configures a store on connections that the service makes. The store calls only
    /// [`connect`](bb8::ManageConnection::connect) of the manager; it checks and replaces connections itself. A near cache,
    /// credentials and certificates are for connections that the store makes, and are refused here. A pool of the service's
    /// own would not do: nobody could see in time that one of its connections leads to a server that is no longer the master.
    #[must_use]
    pub fn builder_with_manager<M>(manager: M) -> RedisStoreBuilder
    where
        M: bb8::ManageConnection<Connection = MultiplexedConnection>,
        M::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        RedisStoreBuilder::new(Source::Manager(Arc::new(manager)))
    }
}
