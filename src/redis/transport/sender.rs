//! Sends commands and script calls once, and reads.

use std::pin::pin;
use std::sync::Arc;

use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use crate::redis::script::Script;
use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::{Delivery, Unavailable, timed_out};
use crate::redis::transport::pool::Pool;
use crate::redis::transport::read_batcher::{Part, ReadBatcher, Stamped};
use crate::redis::transport::server_clock::ServerClock;
use crate::redis::transport::server_error::is_no_script;

/// How often a script is loaded for one call, or all of them for a start. Sent in one pipeline with the call, it is mostly there for it, but a
/// server reads a long pipeline in parts, and a flush may come in between. A transaction would keep it out, and be
/// refused as a whole where memory is full, reads included.
pub(crate) const LOADS: u32 = 16;

/// How often a server is asked for its time again, if the connection breaks meanwhile.
const QUESTIONS: u32 = 3;

/// Where the bound of a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockUse {
    /// What is known of the server's clock.
    Known,
    /// The server, which is asked before.
    Ask,
}

/// The connections of a store, and what is sent over them.
#[derive(Debug)]
pub(crate) struct Sender {
    pool: Arc<Pool>,
    reads: Arc<ReadBatcher>,
}

impl Sender {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool: Arc::new(pool), reads: Arc::default() }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Sends commands in one pipeline.
    pub(crate) async fn pipeline(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        match self.pool.connection(deadline).await {
            Ok(connection) => {
                let mut link = connection.link.clone();
                connection.outcome(pin!(pipeline.query_async(&mut link)), deadline).await
            }
            Err(unavailable) => Delivery::Unsent(unavailable),
        }
    }

    /// Sends commands as one transaction: nobody else's run between them. It is refused as a whole where one of them is, or
    /// runs into an error.
    pub(crate) async fn transaction(&self, cmds: &[Cmd], deadline: Instant) -> Delivery<Vec<Value>> {
        let connection = match self.pool.connection(deadline).await {
            Ok(connection) => connection,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        let mut pipeline = Pipeline::with_capacity(cmds.len() + 2);
        pipeline.cmd("MULTI");
        for cmd in cmds {
            pipeline.add_command(cmd.clone());
        }
        pipeline.cmd("EXEC");
        let mut link = connection.link.clone();
        let sent = link.send_packed_commands(&pipeline, 0, cmds.len() + 2);
        match connection.outcome(pin!(sent), deadline).await {
            Delivery::Answered(replies) => executed(replies, &connection),
            delivery => delivery,
        }
    }

    /// What is stored under a key, and the server's time. Others' reads may go with it.
    pub(crate) async fn read(&self, key: &[u8], part: Part, deadline: Instant) -> Delivery<Stamped> {
        self.reads.read(&self.pool, key, part, deadline).await
    }

    /// A time that the server's clock has passed, as far as that is known without asking.
    pub(crate) fn known_time(&self) -> Option<u64> {
        self.pool.known_time()
    }

    /// Sends a script call, which `call` makes by what is known of the clock of the server that it goes to. `sent` is told
    /// of each round trip.
    ///
    /// NOSCRIPT means that the call was not executed, so the script is loaded and the call sent with it: a flushed script
    /// cache or a failover stays invisible.
    pub(crate) async fn script(
        &self,
        script: &Script,
        call: &(impl Fn(&ServerClock) -> Cmd + ?Sized),
        clock: ClockUse,
        deadline: Instant,
        sent: impl Fn(),
    ) -> Delivery<Value> {
        let connection = match clock {
            ClockUse::Known => self.pool.connection(deadline).await,
            ClockUse::Ask => self.connection_that_told_time(deadline, &sent).await,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        let cmd = call(connection.clock());
        sent();
        let mut link = connection.link.clone();
        match connection.outcome(pin!(cmd.query_async(&mut link)), deadline).await {
            Delivery::Refused(error) if is_no_script(&error) => {}
            delivery => return delivery,
        }
        let delivery = self.load_and_call(script, std::slice::from_ref(&cmd), deadline, sent).await;
        delivery.map(|answers| answers.into_iter().last().unwrap_or(Value::Nil))
    }

    /// A connection to a server that told its time just now. Whatever becomes of the question, no call was sent.
    async fn connection_that_told_time(
        &self,
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Result<Connection, Unavailable> {
        let mut lost = 0;
        loop {
            let connection = self.pool.connection(deadline).await?;
            sent();
            match connection.ask_time(deadline).await {
                Delivery::Answered(()) => return Ok(connection),
                Delivery::Lost(_) if lost < QUESTIONS => lost += 1,
                Delivery::Refused(error) | Delivery::Lost(error) => {
                    return Err(Unavailable::connect(Arc::new(error)));
                }
                Delivery::Unsent(unavailable) => return Err(unavailable),
                Delivery::Late => {
                    return Err(Unavailable::late(Arc::new(timed_out("the server did not tell its time"))));
                }
            }
        }
    }

    /// Sends calls of a script that may run any number of times, in one pipeline: all of them again where it is not there.
    pub(crate) async fn scripts(
        &self,
        script: &Script,
        calls: &[Cmd],
        deadline: Instant,
        sent: impl Fn(),
    ) -> Delivery<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.clone());
        }
        sent();
        match self.pipeline(&pipeline, deadline).await {
            Delivery::Refused(error) if is_no_script(&error) => {
                self.load_and_call(script, calls, deadline, sent).await
            }
            delivery => delivery,
        }
    }

    async fn load_and_call(
        &self,
        script: &Script,
        calls: &[Cmd],
        deadline: Instant,
        sent: impl Fn(),
    ) -> Delivery<Vec<Value>> {
        tracing::debug!(script = script.stem, "loading a script that the server does not have");
        let mut pipeline = Pipeline::with_capacity(1 + calls.len());
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source());
        for call in calls {
            pipeline.add_command(call.clone());
        }
        pipeline.ignore_errors();
        for _ in 1..LOADS {
            sent();
            match self.loaded_and_called(&pipeline, deadline).await {
                Delivery::Refused(error) if is_no_script(&error) => {}
                delivery => return delivery,
            }
        }
        sent();
        self.loaded_and_called(&pipeline, deadline).await
    }

    /// What calls answered behind the load of their script. Where the server refused that, they may have run all the same,
    /// for another client loads it too: so it counts only where a call says that the script is not there.
    async fn loaded_and_called(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        let connection = match self.pool.connection(deadline).await {
            Ok(connection) => connection,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        let mut replies = match connection.replies(pipeline, deadline).await {
            Delivery::Answered(replies) => replies.into_iter(),
            delivery => return delivery.map(|_| Vec::new()),
        };
        let loaded = replies.next();
        let refused = match (replies.collect::<RedisResult<Vec<Value>>>(), loaded) {
            (Ok(answers), _) => return Delivery::Answered(answers),
            (Err(error), Some(Err(refused))) if is_no_script(&error) => refused,
            (Err(error), _) => error,
        };
        connection.note(&refused);
        Delivery::Refused(refused)
    }
}

/// The replies to the commands of a transaction, out of all that came. Whatever EXEC answers, it ends the transaction.
fn executed(mut replies: Vec<Value>, connection: &Connection) -> Delivery<Vec<Value>> {
    let error_in = |replies: &[Value]| {
        replies.iter().find_map(|reply| match reply {
            Value::ServerError(error) => Some(RedisError::from(error.clone())),
            _ => None,
        })
    };
    // Why a transaction is discarded is told before EXEC is.
    let refused = error_in(&replies);
    let executed = match replies.pop() {
        Some(Value::Array(executed)) if refused.is_none() => executed,
        _ => Vec::new(),
    };
    match refused.or_else(|| error_in(&executed)) {
        Some(error) => {
            connection.note(&error);
            Delivery::Refused(error)
        }
        None => Delivery::Answered(executed),
    }
}
