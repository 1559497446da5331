//! One call of a store: its deadline, its operation id, its round trips.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::model::{Cause, Error, NodeIdentity, Obstacle, OperationId, Result, Rules, SessionId};
use crate::redis::config::StoreConfig;
use crate::redis::reply::Reply;
use crate::redis::script::{Effect, Script};
use crate::redis::transport::connection::{Connection, server_code};
use crate::redis::transport::read_batcher::{Outcome, ReadBatcher};
use crate::store::call_span as span;
use crate::stored::keys::Keys;

/// How often one call is sent at most, when its connection breaks under it. It is safe, so the deadline is what ends
/// it; but a call that has seen so many connections break is more likely to be the reason.
const ATTEMPTS: u32 = 10;

/// How often a script is loaded for one call. Sent in one pipeline with the call, it is mostly there for it, but a
/// server reads a long pipeline in parts, and a flush may come in between. A transaction would keep it out, and be
/// refused as a whole where memory is full, reads included.
const LOADS: u32 = 16;

const NO_REPLY: &str = "no reply before the deadline";

/// One call of a store.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    engine: &'a StoreConfig,
    reads: Arc<ReadBatcher>,
    /// Made when it is needed: a call that only reads has no use for one, and randomness is a system call.
    id: OnceLock<OperationId>,
    /// The node that makes the call as the owner of what it writes.
    holder: Option<NodeIdentity>,
    deadline: Instant,
    round_trips: AtomicU32,
    span: tracing::Span,
}

/// How an attempt failed that was on its way.
enum Lost {
    /// The connection broke.
    Connection(Cause),
    /// The deadline passed.
    Deadline(Cause),
}

impl<'a> Operation<'a> {
    pub(crate) fn new(
        engine: &'a StoreConfig,
        reads: Arc<ReadBatcher>,
        name: &'static str,
        id: Option<OperationId>,
        holder: Option<NodeIdentity>,
    ) -> Self {
        let span = span::of(name);
        let deadline = Instant::now() + engine.deadline;
        let id = id.map_or_else(OnceLock::new, OnceLock::from);
        Self { engine, reads, id, holder, deadline, round_trips: AtomicU32::new(0), span }
    }

    pub(crate) fn id(&self) -> OperationId {
        *self.id.get_or_init(OperationId::random)
    }

    pub(crate) fn holder(&self) -> Option<&NodeIdentity> {
        self.holder.as_ref()
    }

    /// The lease that the call has to be made under; without one, a key that is plan and never touched.
    pub(crate) fn fence_key(&self) -> String {
        self.keys().lease(self.holder().map_or("", NodeIdentity::node))
    }

    /// The two arguments that name it.
    pub(crate) fn fence_arguments(&self, call: &mut Cmd) {
        match self.holder() {
            Some(holder) => call.arg(holder.node()).arg(holder.lease()),
            None => call.arg("").arg(""),
        };
    }

    /// Notes which session it is about, by a hash: ids are secrets.
    pub(crate) fn about(&self, session: &SessionId) {
        if !self.span.is_disabled() {
            self.span.record("session", session.short_hash());
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.engine.keys
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.engine.rules
    }

    /// The first argument of every script: empty for the server's clock.
    pub(crate) fn now_argument(&self) -> String {
        self.engine.clock.as_ref().map(|clock| clock.now_ms().to_string()).unwrap_or_default()
    }

    /// The time that a pipeline read, unless a test set another.
    pub(crate) fn now(&self, time: &Value) -> Result<u64> {
        if let Some(clock) = &self.engine.clock {
            return Ok(clock.now_ms());
        }
        let (seconds, micros): (u64, u64) =
            redis::from_redis_value_ref(time).map_err(|_| Error::corrupt("reply to TIME"))?;
        Ok(seconds * 1000 + micros / 1000)
    }

    pub(crate) fn round_trips(&self) -> u32 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Counts what was sent for this call by another.
    pub(crate) fn count_round_trips(&self, count: u32) {
        self.round_trips.fetch_add(count, Ordering::Relaxed);
    }

    /// Runs the body of the call in its span, and notes how it went.
    pub(crate) async fn observe<T>(&self, body: impl Future<Output = Result<T>>) -> Result<T> {
        let result = body.instrument(self.span.clone()).await;
        self.span.record("round_trips", self.round_trips());
        span::note(&self.span, &result);
        result
    }

    /// An EVALSHA of a script with its keys; the caller adds the arguments, without the clock, which is the first.
    pub(crate) fn call<'k>(&self, script: &Script, keys: impl IntoIterator<Item = &'k str>) -> Cmd {
        let keys: Vec<&str> = keys.into_iter().collect();
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script.sha()).arg(keys.len());
        for key in keys {
            cmd.arg(key);
        }
        cmd.arg(self.now_argument());
        cmd
    }

    /// Sends a script call, as often as its effect allows when the connection breaks under it.
    pub(crate) async fn run(&self, script: &'static Script, call: &Cmd) -> Result<Reply> {
        let mut lost: Option<Cause> = None;
        for _ in 0..ATTEMPTS {
            match self.attempt(script, call).await {
                Ok(Ok(value)) => return Reply::parse(value),
                Ok(Err(Lost::Connection(cause))) => lost = Some(cause),
                Ok(Err(Lost::Deadline(cause))) => return Err(self.lost(script, Obstacle::Deadline, cause)),
                // What was lost before may have happened, whatever became of this attempt.
                Err(error) => {
                    return Err(
                        lost.map_or(error, |cause| self.lost(script, Obstacle::ConnectionLost, cause))
                    );
                }
            }
            if script.effect == Effect::ReportedOnce {
                break;
            }
        }
        let cause = lost.unwrap_or_else(|| "no attempt was made".into());
        Err(self.lost(script, Obstacle::ConnectionLost, cause))
    }

    fn lost(&self, script: &Script, obstacle: Obstacle, source: Cause) -> Error {
        match script.effect {
            Effect::Reads => Error::obstacle(obstacle, source),
            Effect::Repeatable | Effect::ReportedOnce => Error::Ambiguous { operation_id: self.id(), source },
        }
    }

    /// Sends a script call once. NOSCRIPT means that it was not executed, so it is loaded and sent again: a flushed
    /// script cache or a failover stays invisible.
    async fn attempt(&self, script: &Script, call: &Cmd) -> Result<Result<Value, Lost>> {
        match self.send(call).await? {
            Ok(Err(error)) if server_code(&error).as_deref() == Some("NOSCRIPT") => {}
            other => return Self::answered(other),
        }
        tracing::debug!(script = script.stem, "loading a script that the server does not have");
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source()).ignore();
        pipeline.add_command(call.clone());
        let mut flushed = None;
        for _ in 0..LOADS {
            match self.send_pipeline(&pipeline).await? {
                Ok(Err(error)) if server_code(&error).as_deref() == Some("NOSCRIPT") => flushed = Some(error),
                other => {
                    let last = |values: Vec<Value>| values.into_iter().last().unwrap_or(Value::Nil);
                    return Self::answered(other.map(|reply| reply.map(last)));
                }
            }
        }
        Err(Error::obstacle(Obstacle::Server, flushed.map(Cause::from)))
    }

    /// Tells a server's error from a reply: it means not executed, since nothing in a script fails after its first
    /// write.
    fn answered(sent: Result<RedisResult<Value>, Lost>) -> Result<Result<Value, Lost>> {
        match sent {
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(error)) => Err(Error::obstacle(Obstacle::Server, Cause::from(error))),
            Err(lost) => Ok(Err(lost)),
        }
    }

    /// Sends commands that only read the key `what`, again if the connection breaks.
    pub(crate) async fn read(&self, pipeline: &Pipeline, what: &'static str) -> Result<Vec<Value>> {
        let mut lost: Option<Cause> = None;
        for _ in 0..ATTEMPTS {
            match self.send_pipeline(pipeline).await? {
                Ok(Ok(values)) => return Ok(values),
                Ok(Err(error)) => return Err(Self::refused_read(error, what)),
                Err(Lost::Connection(cause)) => lost = Some(cause),
                Err(Lost::Deadline(cause)) => return Err(Error::obstacle(Obstacle::Deadline, cause)),
            }
        }
        Err(Error::obstacle(Obstacle::ConnectionLost, lost))
    }

    /// What is stored under the key `what`, if anything is, and the time at which it was; read again if the connection
    /// breaks. Others' reads go with it.
    pub(crate) async fn read_string(&self, key: &str, what: &'static str) -> Result<Option<(u64, Vec<u8>)>> {
        let mut lost: Option<RedisError> = None;
        for _ in 0..ATTEMPTS {
            self.count_round_trips(1);
            match self.reads.get(key.to_owned(), self.deadline).await {
                Outcome::Answered(_, Value::Nil) => return Ok(None),
                Outcome::Answered(time, Value::BulkString(bytes)) => {
                    return Ok(Some((self.now(&time)?, bytes)));
                }
                Outcome::Answered(_, Value::ServerError(error)) => {
                    return Err(Self::refused_read(RedisError::from(error), what));
                }
                Outcome::Answered(..) => return Err(Error::corrupt("reply to GET")),
                Outcome::Lost(error) => lost = Some(error),
                Outcome::Late => {
                    return Err(Error::obstacle(Obstacle::Deadline, Cause::from(NO_REPLY)));
                }
                Outcome::Unsent(unavailable) => return Err(unavailable.into()),
            }
        }
        Err(Error::obstacle(Obstacle::ConnectionLost, lost.map(Cause::from)))
    }

    fn refused_read(error: RedisError, what: &'static str) -> Error {
        match server_code(&error).as_deref() {
            Some("WRONGTYPE") => Error::corrupt(what),
            _ => Error::obstacle(Obstacle::Server, Cause::from(error)),
        }
    }

    async fn send(&self, cmd: &Cmd) -> Result<Result<RedisResult<Value>, Lost>> {
        let connection = self.reads.pool().connection(self.deadline).await?;
        let mut link = connection.link.clone();
        Ok(self.await_reply(&connection, cmd.query_async(&mut link)).await)
    }

    async fn send_pipeline(&self, pipeline: &Pipeline) -> Result<Result<RedisResult<Vec<Value>>, Lost>> {
        let connection = self.reads.pool().connection(self.deadline).await?;
        let mut link = connection.link.clone();
        Ok(self.await_reply(&connection, pipeline.query_async(&mut link)).await)
    }

    /// The reply or the server's error, or how it was lost.
    ///
    /// Cancellation safety: a call that is dropped here may still run at the server, whole or not at all.
    async fn await_reply<T>(
        &self,
        connection: &Connection,
        sent: impl Future<Output = RedisResult<T>>,
    ) -> Result<RedisResult<T>, Lost> {
        self.count_round_trips(1);
        match connection.answer(sent, self.deadline).await {
            Some(Ok(value)) => Ok(Ok(value)),
            Some(Err(error)) => {
                connection.note(&error);
                if server_code(&error).is_some() {
                    Ok(Err(error))
                } else {
                    Err(Lost::Connection(Cause::from(error)))
                }
            }
            None => {
                connection.suspect();
                Err(Lost::Deadline(NO_REPLY.into()))
            }
        }
    }
}
