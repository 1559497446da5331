//! Finds the master through sentinels.
//!
//! With each new master the sentinels agree on a number, its epoch, and spread it within seconds. So the store asks all
//! of them, and the newest epoch counts. Then a sentinel that was cut off, or does not know yet, cannot send the store
//! to an old master. At first only the sentinel that leads a failover knows the new master. Once most have answered,
//! the others have a moment more. The newest known epoch stands even if the sentinels that know it are slow: an older
//! epoch counts only if all sentinels answer and none knows a newer one, so somebody has set them up again.

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
    /// The master that they named last, and its epoch.
    named: Mutex<Option<(u64, Address)>>,
}

/// Hides the users and their passwords.
impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("service", &self.service).finish_non_exhaustive()
    }
}

/// How long the sentinels' answer counts, while the server that they named is in use.
const COUNTS_FOR: Duration = Duration::from_millis(200);

/// How long to wait for the remaining sentinels once most have answered.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a sentinel that did not answer is not asked again, so that calls do not wait for it each time.
const REST: Duration = Duration::from_secs(1);

struct Sentinel {
    client: Client,
    /// The connection for the next question.
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

    /// Asks all sentinels now and returns the master that they name. Each has this long to answer.
    pub(crate) async fn master(self: &Arc<Self>, patience: Duration) -> RedisResult<Address> {
        self.told_since(Instant::now(), patience).await
    }

    /// Their answer to a question that is asked no earlier than an instant.
    async fn told_since(self: &Arc<Self>, not_before: Instant, patience: Duration) -> RedisResult<Address> {
        self.survey.told_since(not_before, || self.clone().ask(patience)).await
    }

    fn were_asked_since(&self, not_before: Instant) -> bool {
        self.survey.asked().is_some_and(|asked| asked >= not_before)
    }

    /// Whether they last named another master.
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

    /// The master that they name, or the one that they named before if that has a newer epoch and not all have
    /// answered.
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
    /// The master that it names, and its epoch.
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

/// The master that a sentinel names. GET-MASTER-ADDR-BY-NAME knows a new one sooner than MASTER, which has the epoch.
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

/// A server that sentinels named, and whether they still name it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    sentinels: Arc<Sentinels>,
    address: Address,
}

impl Named {
    pub(crate) fn new(sentinels: Arc<Sentinels>, address: Address) -> Self {
        Self { sentinels, address }
    }

    /// Whether the sentinels must be asked before an answer of the server counts: their last answer is old, or names
    /// another.
    pub(crate) fn is_due(&self) -> bool {
        self.sentinels.named_another_than(&self.address)
            || !self.sentinels.were_asked_since(Instant::now() - COUNTS_FOR)
    }

    /// Whether they still name it. It asks them at once, if that is due, and the returned future waits for them. If
    /// they do not answer in time, their last answer counts.
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
