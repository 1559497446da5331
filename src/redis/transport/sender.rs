//! Sends commands and script calls, each to the server that has its keys.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use crate::redis::script::Script;
use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::node::Node;
use crate::redis::transport::read_batcher::{Part, Stamped};
use crate::redis::transport::redirect::Redirect;
use crate::redis::transport::server_clock::ServerClock;
use crate::redis::transport::servers::{Servers, slot_of};
use crate::redis::transport::target::{ClockUse, Target, error_in, in_a_pipeline};
use crate::stored::slot::Slot;

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

    /// Sends reading commands, in one pipeline per server. The answer to one of them may be an error.
    pub(crate) async fn replies(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        if let Servers::One(node) = &self.servers {
            return Target::owner(node.clone()).replies(pipeline, deadline).await;
        }
        let cmds: Vec<Cmd> = pipeline.cmd_iter().cloned().collect();
        self.spread(&cmds, Sending { what: What::Reads, deadline, sent: &|| {} }).await
    }

    /// The same, but an error of the server fails the whole.
    pub(crate) async fn pipeline(&self, pipeline: &Pipeline, deadline: Instant) -> Delivery<Vec<Value>> {
        self.replies(pipeline, deadline).await.and_then(|replies| match error_in(&replies) {
            Some(error) => Delivery::Refused(error),
            None => Delivery::Answered(replies),
        })
    }

    /// Sends a reading command to one master of a cluster, by its number, or to the only server. `None`: there is no
    /// such master.
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

    /// Sends commands to the owners of their slots, in one pipeline each. If a node redirects some, the commands of
    /// each slot follow separately.
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
                Delivery::Answered(replies) => put(&mut all, group, replies),
                delivery => return delivery,
            }
        }
        Delivery::Answered(all)
    }

    async fn to_one(&self, node: Arc<Node>, cmds: Vec<Cmd>, sending: Sending<'_>) -> Delivery<Vec<Value>> {
        let delivery = sending.to(&Target::owner(node), &cmds).await;
        if Redirect::of(&delivery).is_none_or(|redirect| redirect == Redirect::Unknown) {
            return delivery;
        }
        let slots: Vec<Slot> = cmds.iter().map(|cmd| slot_of(cmd).unwrap_or_default()).collect();
        let mut all = vec![Value::Nil; cmds.len()];
        for slot in slots.iter().copied().collect::<BTreeSet<_>>() {
            let group: Vec<usize> = (0..cmds.len()).filter(|at| slots[*at] == slot).collect();
            let own: Vec<Cmd> = group.iter().map(|at| cmds[*at].clone()).collect();
            match self.to_slot(|| slot, &own, sending).await {
                Delivery::Answered(replies) => put(&mut all, &group, replies),
                delivery => return delivery,
            }
        }
        Delivery::Answered(all)
    }

    async fn to_slot(
        &self,
        slot: impl FnOnce() -> Slot,
        cmds: &[Cmd],
        sending: Sending<'_>,
    ) -> Delivery<Vec<Value>> {
        let mut way = self.servers.way(slot, sending.deadline);
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

    /// Sends commands of one slot as one transaction: no other client's commands run between them. It fails as a whole
    /// if one of them is refused or runs into an error.
    pub(crate) async fn transaction(&self, cmds: &[Cmd], deadline: Instant) -> Delivery<Vec<Value>> {
        let slot = || cmds.iter().find_map(slot_of).unwrap_or_default();
        self.to_slot(slot, cmds, Sending { what: What::Transaction, deadline, sent: &|| {} }).await
    }

    /// The value of a key, and the server's time. Other calls' reads may share its pipeline.
    pub(crate) async fn read(&self, key: &[u8], part: Part, deadline: Instant) -> Delivery<Stamped> {
        let mut way = self.servers.way(|| Slot::of_key(key), deadline);
        loop {
            let target = match way.target().await {
                Ok(target) => target,
                Err(unavailable) => return Delivery::Unsent(unavailable),
            };
            let delivery = target.read(key, part, deadline).await;
            if !way.leads_on(Redirect::of(&delivery)).await {
                return delivery;
            }
        }
    }

    /// A time that the clock of a key's server has passed, as far as that is known without asking.
    pub(crate) fn known_time(&self, key: impl FnOnce() -> Vec<u8>) -> Option<u64> {
        self.servers.known(|| Slot::of_key(&key()))?.pool.known_time()
    }

    /// Sends a script call, which `call` builds from what is known of the target server's clock. `sent` is called for
    /// each round trip. `key` is one of its keys.
    ///
    /// NOSCRIPT means that the call was not executed, so this loads the script and sends the call with it: callers do
    /// not notice a flushed script cache or a failover.
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
            let delivery = target.script(script, call, clock, deadline, &sent).await;
            if !way.leads_on(Redirect::of(&delivery)).await {
                return delivery;
            }
        }
    }

    /// Sends calls of a repeatable script, in one pipeline per server. If a server does not have the script, all its
    /// calls are sent again.
    pub(crate) async fn scripts(
        &self,
        script: &Script,
        calls: &[Cmd],
        deadline: Instant,
        sent: impl Fn() + Sync,
    ) -> Delivery<Vec<Value>> {
        let sending = Sending { what: What::Calls(script), deadline, sent: &sent };
        if let Servers::One(node) = &self.servers {
            return sending.to(&Target::owner(node.clone()), calls).await;
        }
        self.spread(calls, sending).await
    }
}

/// How commands are sent.
#[derive(Clone, Copy)]
struct Sending<'a> {
    what: What<'a>,
    deadline: Instant,
    /// Called for each round trip of script calls.
    sent: &'a (dyn Fn() + Sync),
}

/// The kind of commands.
#[derive(Clone, Copy)]
enum What<'a> {
    Reads,
    /// Calls of a script, which is loaded if a server does not have it.
    Calls(&'a Script),
    Transaction,
}

impl Sending<'_> {
    async fn to(&self, target: &Target, cmds: &[Cmd]) -> Delivery<Vec<Value>> {
        match self.what {
            What::Reads => target.replies(&in_a_pipeline(cmds), self.deadline).await,
            What::Calls(script) => target.scripts(script, cmds, self.deadline, &self.sent).await,
            What::Transaction => target.transaction(cmds, self.deadline).await,
        }
    }
}

/// Puts the replies to some of the commands in their places.
fn put(all: &mut [Value], places: &[usize], replies: Vec<Value>) {
    places.iter().zip(replies).for_each(|(place, reply)| all[*place] = reply);
}
