//! Batches concurrent reads into one pipeline, with one TIME for all.
//!
//! The work around a read (a connection, waking the writing and the reading task) costs more than the read. So while
//! reads are on their way, a task collects the new ones and sends them together. A read never waits for others to come:
//! if none is on its way, it is sent at once, alone.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::tracked::Tracked;

/// How many reads share a pipeline at most: the first one waits for the last one's reply.
const READS_PER_PIPELINE: usize = 128;

/// The most arguments of a read: its name, its key and two numbers; and the bytes beside the key.
const ARGUMENTS: usize = 4;
const ARGUMENT_BYTES: usize = 16;

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Stamped {
    /// The server's time. `None`: its reply to TIME was not a time.
    pub(crate) time_ms: Option<u64>,
    /// The reply to the read.
    pub(crate) value: Value,
    /// The connection on which the server will report the next change.
    pub(crate) read_on: Option<Arc<Tracked>>,
}

/// How much of a string is read in a shared pipeline if strings may be large: a pipeline's replies are handed out only
/// when the last is here.
const SHARE: usize = 64 * 1024;

/// The part of a string to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Up to this many bytes; an absent key has none. `None`: all of it.
    bytes: Option<usize>,
    /// Whether the server is asked to report the next change.
    is_kept: bool,
    /// Whether it is known to be large.
    is_large: bool,
}

impl Part {
    pub(crate) const WHOLE: Self = Self { bytes: None, is_kept: false, is_large: false };

    /// All of it, and the server is asked to report the next change.
    pub(crate) const KEPT: Self = Self { is_kept: true, ..Self::WHOLE };

    pub(crate) fn beginning(bytes: usize) -> Self {
        Self { bytes: Some(bytes), ..Self::WHOLE }
    }

    /// As much of it as fits into a shared pipeline.
    pub(crate) fn share(self) -> Self {
        Self { bytes: Some(SHARE), ..self }
    }

    /// The part behind a share that had this many bytes. `None`: that was all.
    pub(crate) fn behind_share(self, bytes: usize) -> Option<Self> {
        match bytes {
            // The key is absent or empty.
            0 => Some(self),
            1..SHARE => None,
            _ => Some(Self { is_large: true, ..self }),
        }
    }

    /// Whether it would hold up other reads.
    pub(crate) fn is_large(self) -> bool {
        self.is_large
    }

    /// Adds the read, and returns how many replies come before its own.
    fn read(self, pipeline: &mut Pipeline, key: &[u8], connection: &Connection) -> usize {
        let is_kept = self.is_kept && connection.tracking().is_some();
        if is_kept {
            // It applies to one command, so to no other read of the pipeline.
            pipeline.cmd("CLIENT").arg("CACHING").arg("YES");
        }
        // Allocated at its final size; otherwise it would grow with each argument.
        let mut cmd = Cmd::with_capacity(ARGUMENTS, ARGUMENT_BYTES + key.len());
        match self.bytes {
            None => cmd.arg("GET").arg(key),
            Some(bytes) => cmd.arg("GETRANGE").arg(key).arg(0).arg(bytes - 1),
        };
        pipeline.add_command(cmd);
        usize::from(is_kept)
    }
}

/// The reads that are on their way, or wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct ReadBatcher {
    waiting: Mutex<Vec<Read>>,
    /// How many pipelines are on their way.
    on_their_way: AtomicUsize,
}

/// A read that waits to be sent.
struct Read {
    key: Vec<u8>,
    part: Part,
    deadline: Instant,
    /// How many replies there are before its own.
    prefix: usize,
    /// `None` once the caller has its answer.
    caller: Option<oneshot::Sender<Delivery<Stamped>>>,
}

/// Hides the key, which contains the session id.
impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Read").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl ReadBatcher {
    /// Reads the value of a key, and the time. It ends by the deadline.
    ///
    /// Cancellation safety: a read that is dropped before it is sent is not sent. No caller sends for another, so a
    /// caller that is dropped or not polled holds nobody up.
    pub(crate) async fn read(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        key: &[u8],
        part: Part,
        deadline: Instant,
    ) -> Delivery<Stamped> {
        if let Some(_on_its_way) = OnItsWay::alone(self) {
            return read_alone(pool, key, part, deadline).await;
        }
        let (caller, told) = oneshot::channel();
        let read = Read { key: key.to_owned(), part, deadline, prefix: 0, caller: Some(caller) };
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(read);
            waiting.len() == 1
        };
        if is_first {
            let turn = Turn { batcher: self.clone(), taken: false };
            tokio::spawn(turn.send(pool.clone()));
        }
        let gone = || RedisError::from(std::io::Error::other("the runtime that sends is shut down"));
        told.await.unwrap_or_else(|_| Delivery::Lost(gone()))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Read>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pipeline that is on its way, while this lives.
struct OnItsWay<'a>(&'a ReadBatcher);

impl<'a> OnItsWay<'a> {
    /// Counts one more.
    fn begin(batcher: &'a ReadBatcher) -> Self {
        batcher.on_their_way.fetch_add(1, Ordering::Relaxed);
        Self(batcher)
    }

    /// Counts the first, if there is no other.
    fn alone(batcher: &'a ReadBatcher) -> Option<Self> {
        let begun = batcher.on_their_way.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        begun.is_ok().then(|| Self(batcher))
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.on_their_way.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) async fn read_alone(pool: &Pool, key: &[u8], part: Part, deadline: Instant) -> Delivery<Stamped> {
    let connection = match pool.connection(deadline).await {
        Ok(connection) => connection,
        Err(unavailable) => return Delivery::Unsent(unavailable),
    };
    let mut pipeline = Pipeline::with_capacity(3);
    pipeline.cmd("TIME");
    let prefix = part.read(&mut pipeline, key, &connection);
    let answered = with_time(&connection, &pipeline, deadline).await;
    answered.and_then(|(time_ms, mut values)| stamped(time_ms, &mut values, prefix, &connection))
}

/// Reads at a node that does not own the slot yet: it serves one command after ASKING.
pub(crate) async fn read_asked(pool: &Pool, key: &[u8], part: Part, deadline: Instant) -> Delivery<Stamped> {
    let connection = match pool.connection(deadline).await {
        Ok(connection) => connection,
        Err(unavailable) => return Delivery::Unsent(unavailable),
    };
    let mut pipeline = Pipeline::with_capacity(3);
    pipeline.cmd("TIME").cmd("ASKING");
    Part { is_kept: false, ..part }.read(&mut pipeline, key, &connection);
    let answered = with_time(&connection, &pipeline, deadline).await;
    answered.and_then(|(time_ms, values)| stamped(time_ms, &mut values.skip(1), 0, &connection))
}

/// The time, which comes first, and the replies to the other commands.
async fn with_time(
    connection: &Connection,
    pipeline: &Pipeline,
    deadline: Instant,
) -> Delivery<(Option<u64>, std::vec::IntoIter<Value>)> {
    let (mut link, sent) = (connection.link.clone(), Instant::now());
    let replies = pin!(link.send_packed_commands(pipeline, 0, pipeline.len()));
    connection.outcome(replies, deadline).await.map(|values| {
        let mut values = values.into_iter();
        let time_ms = values.next().and_then(|time| connection.told_time(sent, &time));
        (time_ms, values)
    })
}

/// The replies to a read, which may be the server's error.
fn stamped(
    time_ms: Option<u64>,
    values: &mut impl Iterator<Item = Value>,
    prefix: usize,
    connection: &Connection,
) -> Delivery<Stamped> {
    let is_asked_to_tell = prefix > 0 && values.by_ref().take(prefix).all(|reply| reply == Value::Okay);
    // A missing reply must not look like an absent key.
    match values.next().unwrap_or(Value::Okay) {
        Value::ServerError(error) => {
            let error = RedisError::from(error);
            connection.note(&error);
            Delivery::Refused(error)
        }
        value => {
            let read_on = connection.tracking().filter(|_| is_asked_to_tell).cloned();
            Delivery::Answered(Stamped { time_ms, value, read_on })
        }
    }
}

/// The task that sends for waiting reads.
struct Turn {
    batcher: Arc<ReadBatcher>,
    taken: bool,
}

impl Turn {
    async fn send(mut self, pool: Arc<Pool>) {
        // Callers that the same replies have woken come now.
        tokio::task::yield_now().await;
        let mut reads = std::mem::take(&mut *self.batcher.waiting());
        self.taken = true;
        reads.retain(|read| read.caller.as_ref().is_some_and(|caller| !caller.is_closed()));
        let mut batches = Vec::new();
        while !reads.is_empty() {
            batches.push(Batch(reads.split_off(reads.len().saturating_sub(READS_PER_PIPELINE))));
        }
        let sent = batches.into_iter().map(|batch| async {
            let _on_its_way = OnItsWay::begin(&self.batcher);
            batch.send(&pool).await;
        });
        futures_util::future::join_all(sent).await;
    }
}

/// A runtime that shuts down drops the task before its turn. No other task would send the reads that wait for it, so
/// they are dropped.
impl Drop for Turn {
    fn drop(&mut self) {
        if !self.taken {
            drop(std::mem::take(&mut *self.batcher.waiting()));
        }
    }
}

/// Reads that are sent together.
struct Batch(Vec<Read>);

impl Batch {
    /// Sends them as one pipeline, and gives each caller its outcome by its deadline.
    async fn send(mut self, pool: &Pool) {
        let Some(connection) = self.connection(pool).await else { return };
        let mut pipeline = Pipeline::with_capacity(1 + self.0.len());
        pipeline.cmd("TIME");
        for read in &mut self.0 {
            read.prefix = read.part.read(&mut pipeline, &read.key, &connection);
        }
        let (mut link, began) = (connection.link.clone(), Instant::now());
        // If the server reports its role too late for the soonest deadline, an answer that is here is not used. The
        // other callers wait for their own deadlines, and a future that has ended is not polled again.
        let mut sent = pin!(link.send_packed_commands(&pipeline, 0, pipeline.len()).fuse());
        while let Some(soonest) = self.soonest() {
            match connection.outcome(sent.as_mut(), soonest).await {
                Delivery::Answered(values) => self.answer(values, began, &connection),
                Delivery::Refused(error) => self.end(|_| true, || Delivery::Refused(error.clone())),
                Delivery::Lost(error) => self.end(|_| true, || Delivery::Lost(error.clone())),
                Delivery::Late | Delivery::Unsent(_) => self.end(Read::is_late, || Delivery::Late),
            }
        }
    }

    /// A connection for the reads whose deadlines have not passed; `None` if there is none for any.
    async fn connection(&mut self, pool: &Pool) -> Option<Connection> {
        loop {
            match pool.connection(self.soonest()?).await {
                Ok(connection) => {
                    self.0.retain(|read| read.caller.is_some());
                    return Some(connection);
                }
                Err(unavailable) => {
                    let is_over = |read: &Read| !unavailable.is_late() || read.is_late();
                    self.end(is_over, || Delivery::Unsent(unavailable.clone()));
                }
            }
        }
    }

    /// The first deadline among the reads without an answer.
    fn soonest(&self) -> Option<Instant> {
        self.0.iter().filter(|read| read.caller.is_some()).map(|read| read.deadline).min()
    }

    fn answer(&mut self, values: Vec<Value>, sent: Instant, connection: &Connection) {
        let mut values = values.into_iter();
        let time_ms = values.next().and_then(|time| connection.told_time(sent, &time));
        for read in &mut self.0 {
            let prefix = read.prefix;
            read.tell(stamped(time_ms, &mut values, prefix, connection));
        }
    }

    fn end(&mut self, is_over: impl Fn(&Read) -> bool, delivery: impl Fn() -> Delivery<Stamped>) {
        let waiting = self.0.iter_mut().filter(|read| read.caller.is_some());
        waiting.filter(|read| is_over(read)).for_each(|read| read.tell(delivery()));
    }
}

impl Read {
    fn is_late(&self) -> bool {
        self.deadline <= Instant::now()
    }

    fn tell(&mut self, delivery: Delivery<Stamped>) {
        // A caller that no longer waits needs no answer.
        let _ = self.caller.take().map(|caller| caller.send(delivery));
    }
}
