//! Connections that one caller has alone, to wait for replicas.
//!
//! WAIT counts the replicas that have the writes of its own connection, and holds up everything sent behind it. So a
//! caller that wants to know uses a connection of its own, and waits there.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::model::{Error, Obstacle, Refusal, Result, cause, ms};
use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::node::Node;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::sender::Sender;
use crate::redis::transport::server_error::server_code;
use crate::redis::transport::servers::Servers;

/// How many callers may have one at once: the server's connections are limited.
const AT_ONCE: usize = 64;

/// How many idle ones stay open.
const KEPT: usize = 4;

const FULL: &str = "too many calls are waiting for replicas";

/// The lanes of a store.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// `None` once the store is closed.
    idle: Mutex<Option<Vec<Arc<Sender>>>>,
    callers: Arc<Semaphore>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { idle: Mutex::new(Some(Vec::new())), callers: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// A lane, while its caller has it.
#[derive(Debug)]
pub(crate) struct Lane {
    sender: Arc<Sender>,
    /// How many connections it had made when the caller came.
    made: u64,
    _place: OwnedSemaphorePermit,
}

impl Lanes {
    /// Gives a caller a connection of its own, after checking that the user may run WAIT.
    pub(crate) async fn take(&self, pool: &Pool, deadline: Instant) -> Result<Lane> {
        let full = || Error::obstacle(Obstacle::Deadline, cause(FULL));
        let place = tokio::time::timeout_at(deadline, self.callers.clone().acquire_owned()).await;
        let place = place.map_err(|_| full())?.map_err(|_| full())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(Vec::pop);
        let is_new = idle.is_none();
        let alone = || Sender::new(Servers::One(Arc::new(Node::new(None, pool.alone()))));
        let sender = idle.unwrap_or_else(|| Arc::new(alone()));
        let pool = pool_of(&sender)?;
        let connection = pool.connection(deadline).await?;
        if is_new {
            // Before anything is changed. This WAIT waits for no replica.
            let (mut link, mut wait) = (connection.link.clone(), redis::cmd("WAIT"));
            wait.arg(0).arg(0);
            let asked = connection.outcome(pin!(wait.query_async::<Value>(&mut link)), deadline).await;
            may_wait(asked)?;
        }
        let made = pool.first().map_or(0, |(_, made)| made);
        Ok(Lane { sender, made, _place: place })
    }

    /// Takes a lane back when its caller is done and nothing waits on it.
    pub(crate) fn give_back(&self, lane: Lane) {
        let Lane { mut sender, .. } = lane;
        // A handle that the caller kept would get in the way of the next caller.
        let is_free = Arc::get_mut(&mut sender).is_some();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(idle) = idle.as_mut().filter(|idle| is_free && idle.len() < KEPT) {
            idle.push(sender);
        }
    }

    pub(crate) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The connections to the only server.
pub(crate) fn pool_of(sender: &Sender) -> Result<&Pool> {
    match sender.servers() {
        Servers::One(node) => Ok(&node.pool),
        Servers::Cluster(_) => Err(Error::invalid("durability", "is not offered on a cluster")),
    }
}

fn may_wait(asked: Delivery<Value>) -> Result<()> {
    match asked {
        Delivery::Refused(error) if server_code(&error).as_deref() == Some("NOPERM") => {
            Err(Error::Refused(Refusal::Forbidden { lacking: vec!["+wait".to_owned()] }))
        }
        asked => asked.or_not_executed().map(drop),
    }
}

impl Lane {
    pub(crate) fn sender(&self) -> &Arc<Sender> {
        &self.sender
    }

    /// How many replicas have everything that the server had executed by now. `None`: unknown, and it is unknown when
    /// the connection will be free again.
    ///
    /// Since Redis 7.2 WAIT counts from the last write of its connection; before that, from its last command. On a
    /// connection that has sent nothing it counts from nothing. A repeated call may have happened on another connection
    /// and write nothing. So this sends a `write` first, whose last reply is 1 if it wrote.
    pub(crate) async fn replicas(&self, write: Pipeline, count: u32, timeout: Duration) -> Option<usize> {
        let pool = pool_of(&self.sender).ok()?;
        let (connection, made) = pool.first()?;
        if made != self.made {
            tracing::debug!("the connection was lost; it is unknown which server has the earlier calls");
            return None;
        }
        let mut pipeline = write;
        pipeline.cmd("WAIT").arg(count).arg(ms(timeout)).ignore_errors();
        let mut link = connection.link.clone();
        // It bypasses the health checks of the connection, because the server is silent on purpose.
        let asked = pipeline.query_async::<Vec<RedisResult<Value>>>(&mut link);
        let asked = tokio::time::timeout(timeout + pool.silence(), asked).await.ok()?;
        let mut answers =
            asked.inspect_err(|error| tracing::debug!(%error, "no answer about replicas")).ok()?;
        match (answers.pop()?, answers.pop()?) {
            (Ok(Value::Int(replicas)), Ok(Value::Int(1))) => usize::try_from(replicas).ok(),
            (waited, written) => {
                tracing::debug!(?waited, ?written, "no answer about replicas");
                None
            }
        }
    }
}
