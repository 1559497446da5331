//! The configuration of a store in Redis.

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

/// With a shorter one, signs of life of a connection would hardly come in time.
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

/// Hides the URL and the client, which contain the password.
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

    /// The namespace, with which all keys begin: 1 to 64 bytes, no braces. Defaults to `cloakroom`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Starts only in a namespace that exists, and creates none: for a tool whose user may mistype the name. A
    /// namespace exists once a store has started in it. Defaults to creating it.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// The number of partitions over which the namespace spreads its sessions, 1 to 1,024. It is fixed when the
    /// namespace is created, and a store with another number does not start in it. Defaults to 1; then any session may
    /// have any id. In a cluster each partition is in its own slot, so the masters share the partitions.
    ///
    /// With more, the id of a session with a user is in the partition of that user. The store makes such ids, also by
    /// [`new_id`](crate::SessionStore::new_id), and refuses any other with [`Error::Invalid`]. docs/partitions.md says
    /// what else differs.
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

    /// How many connections to open at most, 1 to 1,000; on a cluster, to each master. Each carries any
    /// number of calls at once. The store may open two more for large transfers, and those of
    /// [`durably`](RedisStore::durably). Defaults to 4.
    #[must_use]
    pub fn pool_size(mut self, size: u32) -> Self {
        self.pool_size = size;
        self
    }

    /// How long connecting may take. The store also closes a connection that owes replies and stays silent this long. 1
    /// ms to 1 hour. Defaults to 1 second.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an operation may take in all: waiting for a connection, round trips, retries. 1 ms to 1
    /// hour. Defaults to 2 seconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A clock that replaces the server's, for tests of an application, with the feature `test-util`. Defaults to none.
    #[must_use]
    #[cfg(any(test, feature = "test-util"))]
    pub fn clock(mut self, clock: TestClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Keeps up to this many read sessions in memory, and answers [`get`](crate::SessionStore::get), and a
    /// [`refresh`](crate::SessionStore::refresh) within the [touch interval](Rules::touch_interval), from memory
    /// until the server reports a change. A session of 4 KiB or more counts as several; the least read are dropped.
    /// Defaults to none.
    ///
    /// This process sees its own changes at once. It sees changes by others, such as a logout, as soon as the server
    /// reports them, after about a millisecond. As long as there is one master it sees them within the
    /// [staleness](Self::near_cache_staleness), whatever happens to the network.
    /// [`get_fresh`](crate::SessionStore::get_fresh) always asks the server.
    ///
    /// The server must speak RESP3: Redis 6.2.14, 7.0.9 or later, or Valkey. With another server the store works
    /// without the cache, and logs that once by `tracing`. The server remembers which sessions it must report, a
    /// million keys by default (`tracking-table-max-keys`). The store's user needs the commands `CLIENT TRACKING` and
    /// `CLIENT CACHING`.
    #[must_use]
    pub fn near_cache(mut self, sessions: usize) -> Self {
        self.near_cache = Some(sessions);
        self
    }

    /// How long the store answers from memory at most after the last word from the server, 10 ms to 1 hour. It limits
    /// how late this process sees a change when the network is cut. The store asks each connection for a sign of life
    /// four times in this span. Defaults to 1 second.
    #[must_use]
    pub fn near_cache_staleness(mut self, staleness: Duration) -> Self {
        self.staleness = staleness;
        self
    }

    /// Asks for the user and password at each connect: for credentials that change, such as a token of IAM or Entra.
    /// The [connect timeout](Self::connect_timeout) covers asking and connecting together. An open connection keeps its
    /// user. If the server closes it when its token expires, the store connects with a new token and retries the calls
    /// that were on their way. With this setting the URL or client must name neither user nor password. Defaults to the
    /// user and password of the URL or client.
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

    /// The authorities to trust over TLS, as certificates in PEM: usually a private authority that signs the server's
    /// certificate. They replace the authorities that the platform trusts, which are the default. With the feature
    /// `tls`.
    #[must_use]
    #[cfg(feature = "tls")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.root = Some(pem.into());
        self
    }

    /// The client certificate of the store for mutual TLS, with its chain, and its private key; both in PEM. Defaults
    /// to none. With the feature `tls`.
    #[must_use]
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((certificate.into(), key.into()));
        self
    }

    /// Connects, loads the scripts, proves that the user may run all their commands, records their contract in the
    /// namespace, and warns (by `tracing`) if the server may evict keys. While the server is away, loads its data or is
    /// a replica, it retries until the [deadline](Self::deadline).
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration; [`Error::NotExecuted`] when the store cannot reach
    /// the server in time, or the server rejects the user; [`Refusal::Forbidden`](crate::Refusal::Forbidden) names what
    /// the server's ACL forbids; [`Refusal::ServerTooOld`](crate::Refusal::ServerTooOld) names a server below 6.2;
    /// [`Refusal::Contract`](crate::Refusal::Contract) when clients of another contract work in the namespace,
    /// [`Refusal::Partitions`](crate::Refusal::Partitions) when it has another number of partitions,
    /// [`Refusal::IdScheme`](crate::Refusal::IdScheme) when it has another scheme of ids,
    /// [`Refusal::Events`](crate::Refusal::Events) when its other clients write events and this one does not, or the
    /// other way round; [`Refusal::NoNamespace`](crate::Refusal::NoNamespace) when the namespace must
    /// [exist](Self::existing) and does not.
    pub async fn build(self) -> Result<RedisStore> {
        let store = self.build_lazy()?;
        store.start().await?;
        Ok(store)
    }

    /// Builds the store without contacting the server. The first call does what [`build`](Self::build) does; if that
    /// fails, the next call tries again. So a service can start while its server is away, and a
    /// [`FallbackStore`](crate::fallback::FallbackStore) over this store handles that like any outage. If the server
    /// refuses the start, each call is refused.
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

    /// The nodes of a cluster, found from those that the service named.
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

    /// Connections that the store makes, and the name of their server.
    fn own(&self, info: ConnectionInfo, tracking: Option<Arc<Tracking>>) -> Result<(Origin, String)> {
        let dialer = self.dialer(info)?;
        let server = dialer.server();
        Ok((Origin::Dialer(dialer, tracking), server))
    }

    /// The same, to the master that sentinels name.
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
            // It has no TLS, or certificates of its own.
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

    /// Adds the certificates of the builder.
    #[cfg(feature = "tls")]
    fn secured(&self, info: ConnectionInfo) -> Result<ConnectionInfo> {
        tls::prepare(info, &self.certificates)
    }

    #[cfg(not(feature = "tls"))]
    fn secured(&self, info: ConnectionInfo) -> Result<ConnectionInfo> {
        Ok(info)
    }

    /// The name of a setting that applies only to connections that the store makes, if one is set.
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

/// The connection settings, with the right user.
fn as_whom(info: ConnectionInfo, credentials: Option<&CredentialsSource>) -> Result<ConnectionInfo> {
    let settings = info.redis_settings();
    match (settings.username(), settings.password()) {
        (None, None) => Ok(info),
        _ if credentials.is_some() => Err(Error::invalid("credentials", "are in the URL or client too")),
        // redis-rs would use the default user instead of a user without a password.
        (Some(_), None) => {
            let settings = settings.clone().set_password("");
            Ok(info.set_redis_settings(settings))
        }
        (_, Some(_)) => Ok(info),
    }
}

impl RedisStore {
    /// Configures a store on the server of a URL: `redis://[user:password@]host[:port][/database]`, or `rediss://` with
    /// the feature `tls`, or `redis+unix:///path[?db=database&user=user&pass=password]`. It may also have
    /// `?protocol=resp3`; any other parameter is refused. A URL of sentinels configures a store on the master that they
    /// name: `redis+sentinel://[user:password@]host[:port],host[:port]/service[/database]`, or `rediss+sentinel://`
    /// with the feature `tls`. User and password are the master's, and `service` is its master name. A URL of a cluster
    /// names some of its nodes: `redis+cluster://[user:password@]host[:port],host[:port]`, or `rediss+cluster://`.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Url(url.into()))
    }

    /// Configures a store on the service's own client.
    #[must_use]
    pub fn builder_with_client(client: Client) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Client(Box::new(client)))
    }

    /// Configures a store on the master that sentinels report under a master name. Use it if a URL cannot say
    /// everything, for example if sentinels have a password or certificates of their own. `server` says how to connect
    /// to the master; its host and port are not used. The [`root_certificate`](RedisStoreBuilder::root_certificate) and
    /// the client certificate also apply to sentinels over TLS that have none of their own.
    ///
    /// The store asks all sentinels at each connect, and every 200 ms while calls are made, and takes the newest master
    /// that any of them names. So it follows a failover without a restart. (redis-rs's own client believes the first
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

    /// Configures a store on a Redis Cluster, if a URL cannot say everything. Name any of its nodes; one of them must
    /// answer. The user, password and certificates of the first node apply to all.
    ///
    /// The master that owns a partition's slot has the partition; with one partition, one master has everything. The
    /// store reads the owners of slots from the nodes: at the start, when a node redirects a call, and every 30
    /// seconds. It sends calls only to masters, with one pool per master.
    #[must_use]
    pub fn builder_with_cluster(seeds: impl IntoIterator<Item = ConnectionInfo>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Cluster { seeds: seeds.into_iter().collect() })
    }

    /// Configures a store on connections that the service makes. The store calls only
    /// [`connect`](bb8::ManageConnection::connect) of the manager; it checks and replaces connections itself. It
    /// refuses the settings for a near cache, credentials and certificates here, because they apply only to connections
    /// that it makes. The store does not take a pool of the service: it could not see in time that one of its
    /// connections leads to a server that is no longer the master.
    #[must_use]
    pub fn builder_with_manager<M>(manager: M) -> RedisStoreBuilder
    where
        M: bb8::ManageConnection<Connection = MultiplexedConnection>,
        M::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        RedisStoreBuilder::new(Source::Manager(Arc::new(manager)))
    }
}
