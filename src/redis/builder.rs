//! How a store in Redis is configured.

use std::fmt;
use std::time::Duration;

use bb8_redis::RedisConnectionManager;

use crate::model::{Error, Result, Rules, TestClock, check_duration};
use crate::redis::config::StoreConfig;
use crate::redis::refresh_cache::RefreshCache;
use crate::redis::startup;
use crate::redis::store::RedisStore;
use crate::redis::transport::pool::Pool;
use crate::stored::keys::{Keys, Partition};

const NO_URL: &str = "is no redis:// URL, nor, with the feature `tls`, a rediss:// URL";

/// The longest deadline and connect timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Configures a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder {
    source: Source,
    namespace: String,
    rules: Rules,
    pool_size: u32,
    connect_timeout: Duration,
    deadline: Duration,
    clock: Option<TestClock>,
    coalesced: Option<usize>,
}

/// Where connections come from.
enum Source {
    Url(String),
    Client(Box<redis::Client>),
    Pool(bb8::Pool<RedisConnectionManager>),
}

/// Without the URL and the client, which have the password.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "Url",
            Self::Client(_) => "Client",
            Self::Pool(_) => "Pool",
        })
    }
}

impl RedisStoreBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            namespace: "cloakroom".to_owned(),
            rules: Rules::default(),
            pool_size: 4,
            connect_timeout: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            clock: None,
            coalesced: None,
        }
    }

    /// What all keys begin with: 1 to 64 bytes, no braces. Defaults to `cloakroom`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long sessions live, how large they may be, how many a user may have. Defaults to [`Rules::default`].
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// How many connections there are at most, 1 to 1,000. Each carries any number of calls at once. Defaults to 4.
    #[must_use]
    pub fn pool_size(mut self, size: u32) -> Self {
        self.pool_size = size;
        self
    }

    /// How long making a connection may take, 1 ms to 1 hour. Defaults to 1 second.
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

    /// Answers a [`refresh`](crate::SessionStore::refresh) of a session that this process made or used less than the
    /// [touch interval](Rules::touch_interval) ago without asking the server, which would write nothing; for so many
    /// sessions at most, the least used are asked for again. Defaults to none.
    ///
    /// **A logout elsewhere is then noticed up to one touch interval late by `refresh`**, and so is any other change of
    /// another process, the version included. What this process does is noticed at once, by all handles of this store.
    /// `get` and `refresh_and_get` always ask, and once a call fails because the server is away, so does `refresh`.
    #[must_use]
    pub fn coalesce_touches(mut self, sessions: usize) -> Self {
        self.coalesced = Some(sessions);
        self
    }

    /// Connects, loads the scripts, proves that the user may run all that they do, notes their contract in the namespace,
    /// and warns (by `tracing`) of a server that may evict keys.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is wrong in the configuration; [`Error::NotExecuted`] when the server cannot be
    /// reached; [`Refusal::Forbidden`](crate::Refusal::Forbidden) names what the server's ACL does not allow;
    /// [`Refusal::Contract`](crate::Refusal::Contract) when clients of a later contract work in the namespace.
    pub async fn build(self) -> Result<RedisStore> {
        self.rules.validate()?;
        let keys = Keys::new(&self.namespace, Partition::default())?;
        if !(1..=1000).contains(&self.pool_size) {
            return Err(Error::invalid("pool_size", format!("is {}, must be 1 to 1000", self.pool_size)));
        }
        if self.coalesced == Some(0) {
            return Err(Error::invalid("coalesce_touches", "is 0, must be at least 1"));
        }
        if self.coalesced.is_some() && self.rules.touch_interval.is_zero() {
            return Err(Error::invalid("coalesce_touches", "needs a touch interval"));
        }
        for (field, duration) in [("connect_timeout", self.connect_timeout), ("deadline", self.deadline)] {
            check_duration(field, duration, Duration::from_millis(1), LONGEST_WAIT)?;
        }
        let own = |client| Pool::own(client, self.pool_size, self.connect_timeout);
        let pool = match self.source {
            // redis-rs would name the URL, which has the password.
            Source::Url(url) => own(redis::Client::open(url).map_err(|_| Error::invalid("url", NO_URL))?),
            Source::Client(client) => own(*client),
            Source::Pool(pool) => Pool::Given(pool, std::sync::Arc::default()),
        };
        startup::prepare(&pool, &keys, self.deadline).await?;
        let interval = self.rules.touch_interval;
        let refresh_cache = self
            .coalesced
            .map_or_else(RefreshCache::off, |most| RefreshCache::new(most, interval, self.clock.clone()));
        let config = StoreConfig { keys, rules: self.rules, clock: self.clock, deadline: self.deadline };
        Ok(RedisStore::new(pool, config, refresh_cache))
    }
}

impl RedisStore {
    /// Configures a store on the server of a URL: `redis://[user:password@]host[:port][/db]`,
    /// or `rediss://` with the feature `tls`.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Url(url.into()))
    }

    /// Configures a store on a client that the service has.
    #[must_use]
    pub fn builder_with_client(client: redis::Client) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Client(Box::new(client)))
    }

    /// Configures a store on a pool that the service has. Leave its check at check-out on (bb8's default): it is how
    /// that pool finds out that a connection broke.
    #[must_use]
    pub fn builder_with_pool(pool: bb8::Pool<RedisConnectionManager>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Source::Pool(pool))
    }
}
