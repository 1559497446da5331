//! The target of a request, and one send over one of the connections to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use redis::{Arg, Cmd, Pipeline, RedisError, Value};
use tokio::time::Instant;

use crate::redis::script::Script;
use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::{Delivery, Unavailable, timed_out};
use crate::redis::transport::node::Node;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::read_batcher::{Part, Stamped, read_alone, read_asked};
use crate::redis::transport::redirect::Redirect;
use crate::redis::transport::server_clock::ServerClock;
use crate::redis::transport::server_error::is_no_script;

/// How often a start loads the scripts at most.
pub(crate) const LOADS: u32 = 16;

/// The time between two loads for one call, so that the store does not keep a server busy that keeps no script.
const PAUSE: Duration = Duration::from_millis(5);

/// How often a server is asked for its time if connections break meanwhile.
const QUESTIONS: u32 = 3;

/// Where the bound of a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockUse {
    /// From what is known of the server's clock.
    Known,
    /// From the server, which is asked first.
    Ask,
}

/// The target of a request.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    node: Arc<Node>,
    /// The node does not own the slot yet, and serves commands behind ASKING.
    is_asked: bool,
}

impl Target {
    /// The only server, or the node that owns the slot.
    pub(crate) fn owner(node: Arc<Node>) -> Self {
        Self { node, is_asked: false }
    }

    /// A node to which the slot is moving.
    pub(crate) fn asked(node: Arc<Node>) -> Self {
        Self { node, is_asked: true }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The replies to commands, including errors. A redirect counts for the whole.
    pub(crate) async fn replies(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        let own;
        let pipeline = if self.is_asked {
            own = self.accepted(Pipeline::new(), pipeline.cmd_iter());
            &own
        } else {
            pipeline
        };
        self.send(pipeline, deadline).await.and_then(|(connection, replies)| {
            let replies = self.without_asking(replies);
            let Some(error) = error_in(&replies) else { return Delivery::Answered(replies) };
            connection.note(&error);
            let sent_on = errors_in(&replies).find(|error| Redirect::of_error(error).is_some());
            match sent_on {
                Some(sent_on) => Delivery::Refused(sent_on),
                None => Delivery::Answered(replies),
            }
        })
    }

    /// Sends a pipeline over one of the connections.
    async fn send(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<(Connection, Vec<Value>)> {
        let connection = match self.node.pool.connection(deadline).await {
            Ok(connection) => connection,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        let mut link = connection.link.clone();
        let sent = link.send_packed_commands(pipeline, 0, pipeline.len());
        let delivery = connection.outcome(pin!(sent), deadline).await;
        delivery.map(|replies| (connection, replies))
    }

    /// The replies to commands that run as one transaction.
    pub(crate) async fn transaction(&self, cmds: &[Cmd], deadline: Instant) -> Delivery<Vec<Value>> {
        if self.is_asked {
            // Within a transaction ASKING would be one of its commands.
            let told = "a slot that is moving accepts no transactions".to_owned();
            return Delivery::Refused(redis::make_extension_error("EXECABORT".to_owned(), Some(told)));
        }
        let mut pipeline = Pipeline::with_capacity(cmds.len() + 2);
        pipeline.cmd("MULTI");
        for cmd in cmds {
            pipeline.add_command(cmd.clone());
        }
        pipeline.cmd("EXEC");
        self.send(&pipeline, deadline).await.and_then(|(connection, replies)| executed(replies, &connection))
    }

    /// The value of a key, and the server's time. Other calls' reads may share its pipeline.
    pub(crate) async fn read(&self, key: &[u8], part: Part, deadline: Instant) -> Delivery<Stamped> {
        let Node { pool, large, reads, .. } = &*self.node;
        match (self.is_asked, part.is_large()) {
            (true, _) => read_asked(pool, key, part, deadline).await,
            (false, true) => read_alone(large, key, part, deadline).await,
            (false, false) => reads.read(pool, key, part, deadline).await,
        }
    }

    /// The reply to a script call, which `call` builds from the node's clock.
    pub(crate) async fn script(
        &self,
        script: &Script,
        call: &(impl Fn(&ServerClock) -> Cmd + ?Sized),
        clock: ClockUse,
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Delivery<Value> {
        let (connection, cmd) = match self.with_connection(call, clock, deadline, sent).await {
            Ok(connected) => connected,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        if !self.is_asked {
            sent();
            let mut link = connection.link.clone();
            match connection.outcome(pin!(cmd.query_async(&mut link)), deadline).await {
                Delivery::Refused(error) if is_no_script(&error) => {}
                delivery => return delivery,
            }
        }
        let delivery = self.load_and_call(script, std::slice::from_ref(&cmd), deadline, sent).await;
        delivery.map(|answers| answers.into_iter().last().unwrap_or(Value::Nil))
    }

    /// A connection for a script call, and the call built from the clock there. Its size is known only once it is
    /// built.
    async fn with_connection(
        &self,
        call: &(impl Fn(&ServerClock) -> Cmd + ?Sized),
        clock: ClockUse,
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Result<(Connection, Cmd), Unavailable> {
        let connection = self.connection(&self.node.pool, clock, deadline, sent).await?;
        let cmd = call(connection.clock());
        if !is_large(&cmd) {
            return Ok((connection, cmd));
        }
        let connection = self.connection(&self.node.large, clock, deadline, sent).await?;
        let cmd = call(connection.clock());
        Ok((connection, cmd))
    }

    async fn connection(
        &self,
        pool: &Pool,
        clock: ClockUse,
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Result<Connection, Unavailable> {
        match clock {
            ClockUse::Known => pool.connection(deadline).await,
            ClockUse::Ask => self.connection_that_told_time(pool, deadline, sent).await,
        }
    }

    /// A connection to a server that has just reported its time. However the question ends, no call was sent.
    async fn connection_that_told_time(
        &self,
        pool: &Pool,
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Result<Connection, Unavailable> {
        let mut lost = 0;
        loop {
            let connection = pool.connection(deadline).await?;
            sent();
            match connection.ask_time(deadline).await {
                Delivery::Answered(()) => return Ok(connection),
                Delivery::Lost(_) if lost < QUESTIONS => lost += 1,
                Delivery::Refused(error) | Delivery::Lost(error) => {
                    return Err(Unavailable::connect(Arc::new(error)));
                }
                Delivery::Unsent(unavailable) => return Err(unavailable),
                Delivery::Late => {
                    return Err(Unavailable::late(Arc::new(timed_out("the server did not report its time"))));
                }
            }
        }
    }

    /// The replies to calls of a repeatable script.
    pub(crate) async fn scripts(
        &self,
        script: &Script,
        calls: &[Cmd],
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Delivery<Vec<Value>> {
        sent();
        match self.replies(&in_a_pipeline(calls), deadline).await {
            Delivery::Answered(replies) => match error_in(&replies) {
                Some(error) if is_no_script(&error) => {
                    self.load_and_call(script, calls, deadline, sent).await
                }
                Some(error) => Delivery::Refused(error),
                None => Delivery::Answered(replies),
            },
            delivery => delivery,
        }
    }

    /// Loads a script in one pipeline with the calls, so it is usually there. But a server reads a long pipeline in parts,
    /// and a flush may come in between: then the store loads it again, until the deadline. A transaction would prevent
    /// that, but the server would refuse it as a whole when memory is full, reads included.
    async fn load_and_call(
        &self,
        script: &Script,
        calls: &[Cmd],
        deadline: Instant,
        sent: &impl Fn(),
    ) -> Delivery<Vec<Value>> {
        tracing::debug!(script = script.stem, "loading a script that the server does not have");
        let mut load = Pipeline::with_capacity(1 + calls.len());
        load.cmd("SCRIPT").arg("LOAD").arg(script.source());
        let pipeline = self.accepted(load, calls);
        loop {
            sent();
            match self.loaded_and_called(&pipeline, deadline).await {
                Delivery::Refused(error) if is_no_script(&error) && Instant::now() + PAUSE < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                delivery => return delivery,
            }
        }
    }

    /// The replies to calls behind the load of their script. If the server refused the load, they may still have run,
    /// because another client may load it too. So that refusal counts only if a call says that the script is missing.
    async fn loaded_and_called(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        self.send(pipeline, deadline).await.and_then(|(connection, replies)| {
            let mut replies = replies.into_iter();
            let loaded = replies.next();
            let answers = self.without_asking(replies.collect());
            let refused = match (error_in(&answers), loaded) {
                (None, _) => return Delivery::Answered(answers),
                (Some(error), Some(Value::ServerError(refused))) if is_no_script(&error) => refused.into(),
                (Some(error), _) => error,
            };
            connection.note(&refused);
            Delivery::Refused(refused)
        })
    }

    /// Adds commands to a pipeline as the node accepts them: ASKING applies only to the next command.
    fn accepted<'c>(&self, mut pipeline: Pipeline, cmds: impl IntoIterator<Item = &'c Cmd>) -> Pipeline {
        for cmd in cmds {
            if self.is_asked {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(cmd.clone());
        }
        pipeline
    }

    /// Removes the replies to ASKING.
    fn without_asking(&self, replies: Vec<Value>) -> Vec<Value> {
        if self.is_asked { replies.into_iter().skip(1).step_by(2).collect() } else { replies }
    }
}

/// From this size on a request holds up those behind it. Scripts for 200 sessions with usual names are smaller.
const LARGE: usize = 256 * 1024;

fn is_large(cmd: &Cmd) -> bool {
    let bytes = cmd.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    });
    bytes.sum::<usize>() >= LARGE
}

/// Commands as one pipeline.
pub(crate) fn in_a_pipeline(cmds: &[Cmd]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(cmds.len());
    for cmd in cmds {
        pipeline.add_command(cmd.clone());
    }
    pipeline
}

fn errors_in(replies: &[Value]) -> impl Iterator<Item = RedisError> {
    replies.iter().filter_map(|reply| match reply {
        Value::ServerError(error) => Some(RedisError::from(error.clone())),
        _ => None,
    })
}

/// The first error among replies.
pub(crate) fn error_in(replies: &[Value]) -> Option<RedisError> {
    errors_in(replies).next()
}

/// The replies to the commands of a transaction, out of all replies. Whatever EXEC answers, it ends the transaction.
fn executed(mut replies: Vec<Value>, connection: &Connection) -> Delivery<Vec<Value>> {
    // The reason why a transaction is discarded comes before EXEC's reply.
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
