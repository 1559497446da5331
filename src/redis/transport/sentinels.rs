//! Where the master is, as sentinels tell.
//!
//! Sentinels agree on a number with each new master, its epoch, and tell each other within seconds. So all are asked, and the
//! newest epoch counts. One that was cut off, or has not heard of it yet, sends nobody to an old master; and at first only the
//! one that leads a failover knows of the new. Once most have answered, the others have a moment more. Where those are slow
//! that know of the newest, it stands: an older epoch counts only if all sentinels answer and none knows a newer, so that
//! somebody has set them up anew.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError, RedisResult, Value};
use tokio::time::Instant;

use crate::redis::transport::address::Address;
use crate::redis::transport::survey::Survey;

/// The sentinels of one master.
pub(crate) struct Sentinels {
    sentinels: Vec<Sentinel>,
    service: String,
    survey: Arc<Survey<Address>>,
    /// The master that they named last, and of which epoch.
    named: Mutex<Option<(u64, Address)>>,
}

/// Without the users and their passwords.
impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("service", &self.service).finish_non_exhaustive()
    }
}

/// For so long the word of sentinels counts, while the server that they named is in use.
const COUNTS_FOR: Duration = Duration::from_millis(200);

/// For so long those are waited for that have not answered when most have.
const MOMENT: Duration = Duration::from_millis(20);

/// For so long one is not asked again that did not answer, so that nobody waits for it each time.
const REST: Duration = Duration::from_secs(1);

struct Sentinel {
    client: Client,
    /// To be asked again.
    link: Mutex<Option<MultiplexedConnection>>,
    /// Until when it is not asked, and why.
    rests: Mutex<Option<(Instant, RedisError)>>,
}

impl Sentinels {
    pub(crate) fn new(sentinels: Vec<ConnectionInfo>, service: String) -> RedisResult<Self> {
        let sentinel = |info| {
            Ok(Sentinel {
                client: Client::open::<ConnectionInfo>(info)?,
                link: Mutex::default(),
                rests: Mutex::default(),
            })
        };
        let sentinels = sentinels.into_iter().map(sentinel).collect::<RedisResult<_>>()?;
        Ok(Self { sentinels, service, survey: Arc::new(Survey::new()), named: Mutex::default() })
    }

    /// Where the master is that they name when they are asked now, each for so long.
    pub(crate) async fn master(self: &Arc<Self>, patience: Duration) -> RedisResult<Address> {
        self.told_since(Instant::now(), patience).await
    }

    /// What they tell, asked not before that.
    async fn told_since(self: &Arc<Self>, not_before: Instant, patience: Duration) -> RedisResult<Address> {
        self.survey.told_since(not_before, || self.clone().ask(patience)).await
    }

    fn were_asked_since(&self, not_before: Instant) -> bool {
        self.survey.asked().is_some_and(|asked| asked >= not_before)
    }

    /// Whether they named another last.
    fn named_another_than(&self, address: &Address) -> bool {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.as_ref().is_some_and(|(_, named)| named != address)
    }

    fn begin_to_ask(self: &Arc<Self>, patience: Duration) {
        self.survey.begin(|| self.clone().ask(patience));
    }

    async fn ask(self: Arc<Self>, patience: Duration) -> RedisResult<Address> {
        let now = Instant::now();
        let mut failure = error("there are no sentinels");
        let mut answers = FuturesUnordered::new();
        for sentinel in &self.sentinels {
            match sentinel.rests(now) {
                Some(why) => failure = why,
                None => answers.push(sentinel.ask(&self.service, patience)),
            }
        }
        let (mut newest, mut count, mut until) = (None::<(u64, Address)>, 0, now + 2 * patience);
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
            match answer {
                Ok((epoch, address)) => {
                    count += 1;
                    if newest.as_ref().is_none_or(|(newest, _)| *newest < epoch) {
                        newest = Some((epoch, address));
                    }
                }
                Err(error) => failure = error,
            }
            if count == self.sentinels.len() / 2 + 1 {
                until = Instant::now() + MOMENT;
            }
        }
        let (epoch, address) = newest.ok_or(failure)?;
        Ok(self.unless_outdated(epoch, address, count))
    }

    /// The master that they name, or the one that they named before, if that is of a newer epoch and not all have been heard.
    fn unless_outdated(&self, epoch: u64, address: Address, heard: usize) -> Address {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        match &*named {
            Some((newer, named)) if *newer > epoch && heard < self.sentinels.len() => named.clone(),
            _ => {
                *named = Some((epoch, address.clone()));
                address
            }
        }
    }
}

impl Sentinel {
    /// Which master it names, and of which epoch.
    async fn ask(&self, service: &str, patience: Duration) -> RedisResult<(u64, Address)> {
        let late = |_| Err(error("a sentinel was silent"));
        let answer = tokio::time::timeout(patience, self.try_to_ask(service)).await.unwrap_or_else(late);
        if let Err(error) = &answer {
            self.keep(None);
            let rest = (Instant::now() + REST, error.clone());
            *self.rests.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
        answer
    }

    /// Why it is not asked now.
    fn rests(&self, now: Instant) -> Option<RedisError> {
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.as_ref().filter(|(until, _)| now < *until).map(|(_, why)| why.clone())
    }

    async fn try_to_ask(&self, service: &str) -> RedisResult<(u64, Address)> {
        let known = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_known = known.is_some();
        let mut link = match known {
            Some(link) => link,
            None => self.connect().await?,
        };
        match named(&mut link, service).await {
            // The connection had ended meanwhile.
            Err(error) if is_known && error.is_io_error() => {
                link = self.connect().await?;
                named(&mut link, service).await
            }
            answer => answer,
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let link = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.keep(Some(link.clone()));
        Ok(link)
    }

    fn keep(&self, link: Option<MultiplexedConnection>) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }
}

/// The master that a sentinel names. GET-MASTER-ADDR-BY-NAME tells of a new one sooner than MASTER, which tells the epoch.
async fn named(link: &mut MultiplexedConnection, service: &str) -> RedisResult<(u64, Address)> {
    let mut both = redis::Pipeline::with_capacity(2);
    both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    both.cmd("SENTINEL").arg("MASTER").arg(service);
    let mut answers: Vec<RedisResult<Value>> = both.ignore_errors().query_async(link).await?;
    let (master, address) =
        (answers.pop().unwrap_or(Ok(Value::Nil)), answers.pop().unwrap_or(Ok(Value::Nil)));
    let address: Option<(String, u16)> = redis::from_redis_value(address?)?;
    let (host, port) = address.ok_or_else(|| error("a sentinel knows no master of that name"))?;
    let master: HashMap<String, String> = redis::from_redis_value(master?)?;
    let epoch = master.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    Ok((epoch, Address { host, port }))
}

fn error(told: &str) -> RedisError {
    std::io::Error::other(told).into()
}

/// A server that sentinels named: whether they still do.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    sentinels: Arc<Sentinels>,
    address: Address,
}

impl Named {
    pub(crate) fn new(sentinels: Arc<Sentinels>, address: Address) -> Self {
        Self { sentinels, address }
    }

    /// Whether the sentinels have to be heard before an answer of the server counts: their last word is old, or names another.
    pub(crate) fn is_due(&self) -> bool {
        self.sentinels.named_another_than(&self.address)
            || !self.sentinels.were_asked_since(Instant::now() - COUNTS_FOR)
    }

    /// Whether they still name it: they are asked at once, if that is due, and what is returned waits for them. Where they do
    /// not answer in time, their last word counts.
    pub(crate) fn ask(&self, patience: Duration, deadline: Instant) -> impl Future<Output = bool> {
        let now = Instant::now();
        let (not_before, until) = (now - COUNTS_FOR, deadline.min(now + patience));
        if !self.sentinels.were_asked_since(not_before) {
            self.sentinels.begin_to_ask(patience);
        }
        let (sentinels, address) = (self.sentinels.clone(), self.address.clone());
        async move {
            let told = sentinels.told_since(not_before, patience);
            match tokio::time::timeout_at(until, told).await {
                Ok(Ok(told)) => told == address,
                Ok(Err(_)) | Err(_) => !sentinels.named_another_than(&address),
            }
        }
    }
}
