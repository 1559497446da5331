//! Sends commands and script calls once, and reads.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::Instant;

use crate::redis::script::Script;
use crate::redis::transport::connection::Connection;
use crate::redis::transport::delivery::{Delivery, Unavailable, timed_out};
use crate::redis::transport::node::{Node, Target};
use crate::redis::transport::read_batcher::{Part, Stamped, read_asked};
use crate::redis::transport::redirect::Redirect;
use crate::redis::transport::server_clock::ServerClock;
use crate::redis::transport::server_error::is_no_script;
use crate::redis::transport::servers::{Servers, slot_of};
use crate::stored::slot::Slot;

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

/// The servers of a store, and what is sent to them.
#[derive(Debug)]
pub(crate) struct Sender {
    servers: Servers,
}

impl Sender {
    pub(crate) fn new(servers: Servers) -> Self {
        Self { servers }
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Sends commands that only read, in one pipeline for each server. What a server answers to one of them may be its error.
    pub(crate) async fn replies(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        if let Servers::One(node) = &self.servers {
            return replies_at(&Target { node: node.clone(), is_asked: false }, pipeline, deadline).await;
        }
        let cmds: Vec<Cmd> = pipeline.cmd_iter().cloned().collect();
        self.spread(&cmds, Sending { script: None, deadline, sent: &|| {} }).await
    }

    /// The same, and an error of the server is that of the whole.
    pub(crate) async fn pipeline(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        match self.replies(pipeline, deadline).await {
            Delivery::Answered(replies) => match error_in(&replies) {
                Some(error) => Delivery::Refused(error),
                None => Delivery::Answered(replies),
            },
            delivery => delivery,
        }
    }

    /// Sends a command that reads at one master of a cluster, or at the only server. `None`: there is none of that number.
    pub(crate) async fn at_master(
        &self,
        nth: usize,
        cmd: &Cmd,
        deadline: Instant,
    ) -> Delivery<Option<Value>> {
        let masters = match self.servers.masters(deadline).await {
            Ok(masters) => masters,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        let Some(node) = masters.get(nth) else { return Delivery::Answered(None) };
        let connection = match node.pool.connection(deadline).await {
            Ok(connection) => connection,
            Err(unavailable) => return Delivery::Unsent(unavailable),
        };
        let mut link = connection.link.clone();
        connection.outcome(pin!(cmd.query_async(&mut link)), deadline).await.map(Some)
    }

    /// Sends commands to the owners of their slots, in one pipeline for each. Where a node sends some on, those of each slot
    /// follow by themselves.
    async fn spread(&self, cmds: &[Cmd], sending: Sending<'_>) -> Delivery<Vec<Value>> {
        let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (at, cmd) in cmds.iter().enumerate() {
            let slot = || slot_of(cmd).unwrap_or_default();
            let owner = match self.servers.owner(slot, sending.deadline).await {
                Ok(owner) => owner,
                Err(unavailable) => return Delivery::Unsent(unavailable),
            };
            match groups.iter_mut().find(|(node, _)| Arc::ptr_eq(node, &owner)) {
                Some((_, group)) => group.push(at),
                None => groups.push((owner, vec![at])),
            }
        }
        let mut sent: Vec<BoxFuture<'_, Delivery<Vec<Value>>>> = Vec::new();
        for (node, group) in &groups {
            let own = group.iter().map(|at| cmds[*at].clone()).collect();
            sent.push(Box::pin(self.to_one(node.clone(), own, sending)));
        }
        let mut all = vec![Value::Nil; cmds.len()];
        for ((_, group), delivery) in groups.iter().zip(futures_util::future::join_all(sent).await) {
            match delivery {
                Delivery::Answered(replies) => {
                    group.iter().zip(replies).for_each(|(at, reply)| all[*at] = reply);
                }
                delivery => return delivery,
            }
        }
        Delivery::Answered(all)
    }

    async fn to_one(&self, node: Arc<Node>, cmds: Vec<Cmd>, sending: Sending<'_>) -> Delivery<Vec<Value>> {
        let delivery = sending.to(&Target { node, is_asked: false }, &cmds).await;
        if Redirect::of(&delivery).is_none_or(|redirect| redirect == Redirect::Unknown) {
            return delivery;
        }
        let slots: Vec<Slot> = cmds.iter().map(|cmd| slot_of(cmd).unwrap_or_default()).collect();
        let mut all = vec![Value::Nil; cmds.len()];
        for slot in slots.iter().copied().collect::<BTreeSet<_>>() {
            let group: Vec<usize> = (0..cmds.len()).filter(|at| slots[*at] == slot).collect();
            let own: Vec<Cmd> = group.iter().map(|at| cmds[*at].clone()).collect();
            match self.to_slot(slot, &own, sending).await {
                Delivery::Answered(replies) => {
                    group.into_iter().zip(replies).for_each(|(at, reply)| all[at] = reply);
                }
                delivery => return delivery,
            }
        }
        Delivery::Answered(all)
    }

    async fn to_slot(&self, slot: Slot, cmds: &[Cmd], sending: Sending<'_>) -> Delivery<Vec<Value>> {
        let mut way = self.servers.way(|| slot, sending.deadline);
        loop {
            let target = match way.target().await {
                Ok(target) => target,
                Err(unavailable) => return Delivery::Unsent(unavailable),
            };
            let delivery = sending.to(&target, cmds).await;
            if !way.leads_on(Redirect::of(&delivery)).await {
                return delivery;
            }
        }
    }

    /// Sends commands of one slot as one transaction: nobody else's run between them. It is refused as a whole where one of
    /// them is, or runs into an error.
    pub(crate) async fn transaction(&self, cmds: &[Cmd], deadline: Instant) -> Delivery<Vec<Value>> {
        let slot = || cmds.iter().find_map(slot_of).unwrap_or_default();
        let mut way = self.servers.way(slot, deadline);
        loop {
            let target = match way.target().await {
                Ok(target) => target,
                Err(unavailable) => return Delivery::Unsent(unavailable),
            };
            let delivery = transaction_at(&target, cmds, deadline).await;
            if !way.leads_on(Redirect::of(&delivery)).await {
                return delivery;
            }
        }
    }

    /// What is stored under a key, and the server's time. Others' reads may go with it.
    pub(crate) async fn read(&self, key: &[u8], part: Part, deadline: Instant) -> Delivery<Stamped> {
        let mut way = self.servers.way(|| Slot::of_key(key), deadline);
        loop {
            let target = match way.target().await {
                Ok(target) => target,
                Err(unavailable) => return Delivery::Unsent(unavailable),
            };
            let delivery = if target.is_asked {
                read_asked(&target.node.pool, key, part, deadline).await
            } else {
                target.node.reads.read(&target.node.pool, key, part, deadline).await
            };
            if !way.leads_on(Redirect::of(&delivery)).await {
                return delivery;
            }
        }
    }

    /// A time that the clock of a key's server has passed, as far as that is known without asking.
    pub(crate) fn known_time(&self, key: impl FnOnce() -> Vec<u8>) -> Option<u64> {
        self.servers.known(|| Slot::of_key(&key()))?.pool.known_time()
    }

    /// Sends a script call, which `call` makes by what is known of the clock of the server that it goes to. `sent` is told
    /// of each round trip. `key` is one of its keys.
    ///
    /// NOSCRIPT means that the call was not executed, so the script is loaded and the call sent with it: a flushed script
    /// cache or a failover stays invisible.
    pub(crate) async fn script(
        &self,
        script: &Script,
        call: &(impl Fn(&ServerClock) -> Cmd + ?Sized),
        key: impl FnOnce() -> Vec<u8>,
        clock: ClockUse,
        deadline: Instant,
        sent: impl Fn(),
    ) -> Delivery<Value> {
        let mut way = self.servers.way(|| Slot::of_key(&key()), deadline);
        loop {
            let target = match way.target().await {
                Ok(target) => target,
                Err(unavailable) => return Delivery::Unsent(unavailable),
            };
            let delivery = script_at(&target, script, call, clock, deadline, &sent).await;
            if !way.leads_on(Redirect::of(&delivery)).await {
                return delivery;
            }
        }
    }

    /// Sends calls of a script that may run any number of times, in one pipeline for each server: all of them again where it
    /// is not there.
    pub(crate) async fn scripts(
        &self,
        script: &Script,
        calls: &[Cmd],
        deadline: Instant,
        sent: impl Fn() + Sync,
    ) -> Delivery<Vec<Value>> {
        let sending = Sending { script: Some(script), deadline, sent: &sent };
        if let Servers::One(node) = &self.servers {
            return sending.to(&Target { node: node.clone(), is_asked: false }, calls).await;
        }
        self.spread(calls, sending).await
    }
}

/// How commands of several slots are sent: what reads as it is, calls of a script with its load where it is not there.
#[derive(Clone, Copy)]
struct Sending<'a> {
    script: Option<&'a Script>,
    deadline: Instant,
    /// Told of each round trip.
    sent: &'a (dyn Fn() + Sync),
}

impl Sending<'_> {
    async fn to(&self, target: &Target, cmds: &[Cmd]) -> Delivery<Vec<Value>> {
        match self.script {
            Some(script) => scripts_at(target, script, cmds, self.deadline, &self.sent).await,
            None => replies_at(target, &in_a_pipeline(cmds), self.deadline).await,
        }
    }
}

fn in_a_pipeline(cmds: &[Cmd]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(cmds.len());
    for cmd in cmds {
        pipeline.add_command(cmd.clone());
    }
    pipeline
}

/// The commands as a node takes them, and how many replies come before that of each.
fn asked(cmds: impl IntoIterator<Item = Cmd>, target: &Target) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for cmd in cmds {
        if target.is_asked {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(cmd);
    }
    pipeline
}

fn error_in(replies: &[Value]) -> Option<RedisError> {
    replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(RedisError::from(error.clone())),
        _ => None,
    })
}

/// Without the replies to ASKING.
fn without_asking(replies: Vec<Value>, target: &Target) -> Vec<Value> {
    if target.is_asked { replies.into_iter().skip(1).step_by(2).collect() } else { replies }
}

/// The replies to commands, errors among them. One that sends on is that of the whole.
async fn replies_at(target: &Target, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
    let connection = match target.node.pool.connection(deadline).await {
        Ok(connection) => connection,
        Err(unavailable) => return Delivery::Unsent(unavailable),
    };
    let own;
    let pipeline = if target.is_asked {
        own = asked(pipeline.cmd_iter().cloned(), target);
        &own
    } else {
        pipeline
    };
    let mut link = connection.link.clone();
    let sent = link.send_packed_commands(pipeline, 0, pipeline.len());
    match connection.outcome(pin!(sent), deadline).await {
        Delivery::Answered(replies) => {
            let replies = without_asking(replies, target);
            let Some(error) = error_in(&replies) else { return Delivery::Answered(replies) };
            connection.note(&error);
            let is_sent_on = |reply: &Value| match reply {
                Value::ServerError(error) => Redirect::of_error(&error.clone().into()).is_some(),
                _ => false,
            };
            match replies.iter().find(|reply| is_sent_on(reply)) {
                Some(Value::ServerError(error)) => Delivery::Refused(error.clone().into()),
                _ => Delivery::Answered(replies),
            }
        }
        delivery => delivery,
    }
}

async fn transaction_at(target: &Target, cmds: &[Cmd], deadline: Instant) -> Delivery<Vec<Value>> {
    if target.is_asked {
        // Within a transaction ASKING would be one of its commands.
        let told = "a slot on its way takes no transactions".to_owned();
        return Delivery::Refused(redis::make_extension_error("EXECABORT".to_owned(), Some(told)));
    }
    let connection = match target.node.pool.connection(deadline).await {
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

async fn script_at(
    target: &Target,
    script: &Script,
    call: &(impl Fn(&ServerClock) -> Cmd + ?Sized),
    clock: ClockUse,
    deadline: Instant,
    sent: &impl Fn(),
) -> Delivery<Value> {
    let connection = match clock {
        ClockUse::Known => target.node.pool.connection(deadline).await,
        ClockUse::Ask => connection_that_told_time(&target.node, deadline, sent).await,
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(unavailable) => return Delivery::Unsent(unavailable),
    };
    let cmd = call(connection.clock());
    if !target.is_asked {
        sent();
        let mut link = connection.link.clone();
        match connection.outcome(pin!(cmd.query_async(&mut link)), deadline).await {
            Delivery::Refused(error) if is_no_script(&error) => {}
            delivery => return delivery,
        }
    }
    let delivery = load_and_call(target, script, std::slice::from_ref(&cmd), deadline, sent).await;
    delivery.map(|answers| answers.into_iter().last().unwrap_or(Value::Nil))
}

/// A connection to a server that told its time just now. Whatever becomes of the question, no call was sent.
async fn connection_that_told_time(
    node: &Node,
    deadline: Instant,
    sent: &impl Fn(),
) -> Result<Connection, Unavailable> {
    let mut lost = 0;
    loop {
        let connection = node.pool.connection(deadline).await?;
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

async fn scripts_at(
    target: &Target,
    script: &Script,
    calls: &[Cmd],
    deadline: Instant,
    sent: &impl Fn(),
) -> Delivery<Vec<Value>> {
    sent();
    match replies_at(target, &in_a_pipeline(calls), deadline).await {
        Delivery::Answered(replies) => match error_in(&replies) {
            Some(error) if is_no_script(&error) => load_and_call(target, script, calls, deadline, sent).await,
            Some(error) => Delivery::Refused(error),
            None => Delivery::Answered(replies),
        },
        delivery => delivery,
    }
}

async fn load_and_call(
    target: &Target,
    script: &Script,
    calls: &[Cmd],
    deadline: Instant,
    sent: &impl Fn(),
) -> Delivery<Vec<Value>> {
    tracing::debug!(script = script.stem, "loading a script that the server does not have");
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(script.source());
    // ASKING counts for the next command alone, so it stands behind the load.
    let mut pipeline = Pipeline::with_capacity(1 + calls.len());
    pipeline.add_command(load);
    for cmd in asked(calls.iter().cloned(), target).cmd_iter() {
        pipeline.add_command(cmd.clone());
    }
    for _ in 1..LOADS {
        sent();
        match loaded_and_called(target, &pipeline, deadline).await {
            Delivery::Refused(error) if is_no_script(&error) => {}
            delivery => return delivery,
        }
    }
    sent();
    loaded_and_called(target, &pipeline, deadline).await
}

/// What calls answered behind the load of their script. Where the server refused that, they may have run all the same,
/// for another client loads it too: so it counts only where a call says that the script is not there.
async fn loaded_and_called(target: &Target, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
    let connection = match target.node.pool.connection(deadline).await {
        Ok(connection) => connection,
        Err(unavailable) => return Delivery::Unsent(unavailable),
    };
    let mut link = connection.link.clone();
    let sent = link.send_packed_commands(pipeline, 0, pipeline.len());
    let mut replies = match connection.outcome(pin!(sent), deadline).await {
        Delivery::Answered(replies) => replies.into_iter(),
        delivery => return delivery,
    };
    let loaded = replies.next();
    let answers = without_asking(replies.collect(), target);
    let refused = match (error_in(&answers), loaded) {
        (None, _) => return Delivery::Answered(answers),
        (Some(error), Some(Value::ServerError(refused))) if is_no_script(&error) => refused.into(),
        (Some(error), _) => error,
    };
    connection.note(&refused);
    Delivery::Refused(refused)
}

/// The replies to the commands of a transaction, out of all that came. Whatever EXEC answers, it ends the transaction.
fn executed(mut replies: Vec<Value>, connection: &Connection) -> Delivery<Vec<Value>> {
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
