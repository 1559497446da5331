//! ReadBatcher of callers at once, in one pipeline, with one TIME for all.

use std::sync::Arc;

use redis::{Pipeline, RedisError, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::redis::transport::connection::Connection;
use crate::redis::transport::gather::Gather;
use crate::redis::transport::pool::{Pool, Unavailable};

/// How many share a pipeline at most: the last one's reply keeps the first one waiting.
const MOST: usize = 128;

/// The reads of a store.
#[derive(Debug)]
pub(crate) struct ReadBatcher {
    pool: Arc<Pool>,
    gather: Arc<Gather<Read>>,
}

struct Read {
    key: String,
    deadline: Instant,
    /// `None` once it was told.
    outcome: Option<oneshot::Sender<Outcome>>,
}

/// What became of a read.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The reply to TIME, and then that to GET, which may be the server's error.
    Answered(Value, Value),
    /// It was sent, and the connection broke.
    Lost(RedisError),
    /// It was sent, and the deadline passed.
    Late,
    /// There was no connection.
    Unsent(Unavailable),
}

impl ReadBatcher {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool: Arc::new(pool), gather: Arc::default() }
    }

    /// The connections, for what is not read so.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// ReadBatcher what is under a key, and the time. It ends by the deadline.
    ///
    /// Cancellation safety: a read that is dropped before it is sent is not sent.
    pub(crate) async fn get(&self, key: String, deadline: Instant) -> Outcome {
        let (outcome, told) = oneshot::channel();
        let read = Read { key, deadline, outcome: Some(outcome) };
        let pool = self.pool.clone();
        let outcome = self.gather.answer(read, told, |reads| send(pool, reads)).await;
        let gone = || RedisError::from(std::io::Error::other("the runtime that sends is shut down"));
        outcome.unwrap_or_else(|| Outcome::Lost(gone()))
    }
}

async fn send(pool: Arc<Pool>, mut reads: Vec<Read>) {
    reads.retain(|read| read.outcome.as_ref().is_some_and(|outcome| !outcome.is_closed()));
    while reads.len() > MOST {
        let (pool, batch) = (pool.clone(), Batch(reads.split_off(reads.len() - MOST)));
        tokio::spawn(async move { batch.send(&pool).await });
    }
    Batch(reads).send(&pool).await;
}

/// ReadBatcher that are sent together.
struct Batch(Vec<Read>);

impl Batch {
    /// Sends them as one pipeline, and tells each its outcome by its deadline.
    async fn send(mut self, pool: &Pool) {
        let Some(connection) = self.connection(pool).await else { return };
        let mut pipeline = Pipeline::with_capacity(1 + self.0.len());
        pipeline.cmd("TIME");
        for read in &self.0 {
            pipeline.cmd("GET").arg(&read.key);
        }
        let mut link = connection.link.clone();
        let mut sent = std::pin::pin!(link.send_packed_commands(&pipeline, 0, 1 + self.0.len()));
        while let Some(soonest) = self.soonest() {
            match connection.answer(sent.as_mut(), soonest).await {
                Some(Ok(values)) => self.answer(values, &connection),
                Some(Err(error)) => {
                    connection.note(&error);
                    self.end(|_| true, || Outcome::Lost(error.clone()));
                }
                None => {
                    connection.suspect();
                    self.end(|read| read.deadline <= Instant::now(), || Outcome::Late);
                }
            }
        }
    }

    /// A connection for those whose deadline it comes before; `None` if there is none for anybody.
    async fn connection(&mut self, pool: &Pool) -> Option<Connection> {
        loop {
            match pool.connection(self.soonest()?).await {
                Ok(connection) => {
                    self.0.retain(|read| read.outcome.is_some());
                    return Some(connection);
                }
                Err(unavailable) => {
                    let is_over = |read: &Read| !unavailable.is_late() || read.deadline <= Instant::now();
                    self.end(is_over, || Outcome::Unsent(unavailable.clone()));
                }
            }
        }
    }

    /// When the first of those is over that have no outcome yet.
    fn soonest(&self) -> Option<Instant> {
        self.0.iter().filter(|read| read.outcome.is_some()).map(|read| read.deadline).min()
    }

    fn answer(&mut self, values: Vec<Value>, connection: &Connection) {
        let mut values = values.into_iter();
        let Some(time) = values.next() else { return };
        for (read, value) in self.0.iter_mut().zip(values) {
            if let Value::ServerError(error) = &value {
                connection.note(&error.clone().into());
            }
            read.tell(Outcome::Answered(time.clone(), value));
        }
    }

    fn end(&mut self, is_over: impl Fn(&Read) -> bool, outcome: impl Fn() -> Outcome) {
        let waiting = self.0.iter_mut().filter(|read| read.outcome.is_some());
        waiting.filter(|read| is_over(read)).for_each(|read| read.tell(outcome()));
    }
}

impl Read {
    fn tell(&mut self, outcome: Outcome) {
        // Who does not wait any more needs none.
        let _ = self.outcome.take().map(|caller| caller.send(outcome));
    }
}
