//! To which server something is sent: the only one, or the node of a cluster that owns the slot.

use std::sync::Arc;
use std::time::Duration;

use redis::{Arg, Cmd};
use tokio::time::Instant;

use crate::redis::transport::address::Address;
use crate::redis::transport::cluster::Cluster;
use crate::redis::transport::delivery::{Unavailable, timed_out};
use crate::redis::transport::node::{Node, Target};
use crate::redis::transport::redirect::Redirect;
use crate::stored::slot::Slot;

/// How long a call waits first that a cluster cannot serve just now. Each next time it waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// So many nodes in a row may send a call to the next without a pause.
const MOVES: u32 = 4;

/// The servers of a store.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Those that have all keys: the only one, or all masters.
    pub(crate) async fn masters(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, Unavailable> {
        match self {
            Self::One(node) => Ok(vec![node.clone()]),
            Self::Cluster(cluster) => {
                if cluster.map().masters().is_empty() {
                    read_map(cluster, deadline).await?;
                }
                Ok(cluster.map().masters().to_vec())
            }
        }
    }

    /// How many they are, as far as that is known.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Cluster(cluster) => cluster.map().masters().len(),
        }
    }

    /// Who has a slot, as far as that is known without asking.
    pub(crate) fn known(&self, slot: impl FnOnce() -> Slot) -> Option<Arc<Node>> {
        match self {
            Self::One(node) => Some(node.clone()),
            Self::Cluster(cluster) => cluster.owner(slot()),
        }
    }

    /// Who has a slot.
    pub(crate) async fn owner(
        &self,
        slot: impl FnOnce() -> Slot,
        deadline: Instant,
    ) -> Result<Arc<Node>, Unavailable> {
        match self {
            Self::One(node) => Ok(node.clone()),
            Self::Cluster(cluster) => owner(cluster, slot(), deadline).await,
        }
    }

    /// The way to whoever has a slot. In a cluster it follows where the nodes lead, and waits while the slot is on its way or
    /// has nobody, until the deadline: what they answer then was not executed.
    pub(crate) fn way(&self, slot: impl FnOnce() -> Slot, deadline: Instant) -> Way<'_> {
        let slot = match self {
            Self::One(_) => Slot::default(),
            Self::Cluster(_) => slot(),
        };
        Way { servers: self, slot, deadline, next: None, at: None, moves: 0, pause: FIRST_PAUSE }
    }
}

async fn read_map(cluster: &Arc<Cluster>, deadline: Instant) -> Result<(), Unavailable> {
    let late = || Unavailable::late(Arc::new(timed_out("no node of the cluster told which has the slot")));
    let read = tokio::time::timeout_at(deadline, cluster.read_map()).await.map_err(|_| late())?;
    read.map_err(|error| Unavailable::connect(Arc::new(error)))
}

async fn owner(cluster: &Arc<Cluster>, slot: Slot, deadline: Instant) -> Result<Arc<Node>, Unavailable> {
    if let Some(owner) = cluster.owner(slot) {
        return Ok(owner);
    }
    read_map(cluster, deadline).await?;
    let nobody = || std::io::Error::other("no node of the cluster has the slot of the namespace");
    cluster.owner(slot).ok_or_else(|| Unavailable::connect(Arc::new(nobody().into())))
}

/// The way of a call to whoever serves it.
pub(crate) struct Way<'a> {
    servers: &'a Servers,
    slot: Slot,
    deadline: Instant,
    /// Where it goes next, if a node said so.
    next: Option<Target>,
    /// Where it went last.
    at: Option<Arc<Node>>,
    /// How many nodes sent it on.
    moves: u32,
    pause: Duration,
}

impl Way<'_> {
    /// Where to send.
    pub(crate) async fn target(&mut self) -> Result<Target, Unavailable> {
        let target = match (self.next.take(), self.servers) {
            (Some(target), _) => target,
            (None, Servers::One(node)) => return Ok(Target { node: node.clone(), is_asked: false }),
            (None, Servers::Cluster(cluster)) => {
                Target { node: owner(cluster, self.slot, self.deadline).await?, is_asked: false }
            }
        };
        self.at = Some(target.node.clone());
        Ok(target)
    }

    /// Whether to send again, by what became of it; it waits if that is to be later.
    pub(crate) async fn leads_on(&mut self, redirect: Option<Redirect>) -> bool {
        match (self.servers, redirect, self.at.take()) {
            (Servers::Cluster(cluster), Some(redirect), Some(node)) => {
                // Boxed, for it is rare.
                Box::pin(self.turn(cluster, redirect, &node)).await.is_some()
            }
            _ => false,
        }
    }

    /// `None`: what was answered is the answer.
    async fn turn(&mut self, cluster: &Arc<Cluster>, redirect: Redirect, node: &Node) -> Option<()> {
        let at = |told: &str| {
            let address = node.address.as_ref().and_then(|address| Address::told_by(told, address))?;
            Some(cluster.node(address))
        };
        match redirect {
            Redirect::Moved(told) => {
                cluster.moved(self.slot, at(&told)?);
                self.sent_on().await
            }
            Redirect::Ask(told) => {
                self.next = Some(Target { node: at(&told)?, is_asked: true });
                self.sent_on().await
            }
            Redirect::Later => {
                cluster.begin_to_ask();
                self.wait().await
            }
            // Somebody else may have it by now. If nobody has, whoever calls is to know at once.
            Redirect::NotTheMaster | Redirect::Unreachable => {
                read_map(cluster, self.deadline).await.ok()?;
                let owner = cluster.owner(self.slot)?;
                (owner.address != node.address).then_some(())
            }
            Redirect::Unknown => {
                cluster.begin_to_ask();
                None
            }
        }
    }

    async fn sent_on(&mut self) -> Option<()> {
        self.moves += 1;
        if self.moves.is_multiple_of(MOVES) { self.wait().await } else { Some(()) }
    }

    /// `None`: the deadline would pass meanwhile.
    async fn wait(&mut self) -> Option<()> {
        if Instant::now() + self.pause >= self.deadline {
            return None;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(())
    }
}

/// The slot of the first key of a command; `None`: it has none.
pub(crate) fn slot_of(cmd: &Cmd) -> Option<Slot> {
    let bytes = |argument| match argument {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    };
    let mut arguments = cmd.args_iter().map(bytes);
    let key = match arguments.next()?? {
        b"EVALSHA" | b"EVAL" => match arguments.nth(1)?? {
            b"0" => None,
            _ => arguments.next()?,
        },
        b"TIME" | b"SCAN" => None,
        _ => arguments.next()?,
    };
    key.map(Slot::of_key)
}
