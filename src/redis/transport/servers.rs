//! Chooses the server for a request: the only one, or the node of a cluster that owns the slot.

use std::sync::Arc;
use std::time::Duration;

use redis::{Arg, Cmd};
use tokio::time::Instant;

use crate::redis::transport::address::Address;
use crate::redis::transport::cluster::Cluster;
use crate::redis::transport::delivery::{Unavailable, timed_out};
use crate::redis::transport::node::Node;
use crate::redis::transport::redirect::Redirect;
use crate::redis::transport::target::Target;
use crate::stored::slot::Slot;

/// How long a call first waits if the cluster cannot serve it now. Each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How many nodes in a row may redirect a call without a pause.
const MOVES: u32 = 4;

/// The servers of a store.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Arc<Node>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// The servers that together have all keys: the only one, or all masters.
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

    /// How many they are, as far as known.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Cluster(cluster) => cluster.map().masters().len(),
        }
    }

    /// The owner of a slot, as far as known without asking.
    pub(crate) fn known(&self, slot: impl FnOnce() -> Slot) -> Option<Arc<Node>> {
        match self {
            Self::One(node) => Some(node.clone()),
            Self::Cluster(cluster) => cluster.owner(slot()),
        }
    }

    /// The owner of a slot.
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

    /// The way to the owner of a slot. In a cluster it follows redirects, and waits until the deadline while the slot
    /// is moving or has no owner: such a call was not executed.
    pub(crate) fn way(&self, slot: impl FnOnce() -> Slot, deadline: Instant) -> Way<'_> {
        let slot = match self {
            Self::One(_) => Slot::default(),
            Self::Cluster(_) => slot(),
        };
        Way { servers: self, slot, deadline, next: None, at: None, moves: 0, pause: FIRST_PAUSE }
    }
}

async fn read_map(cluster: &Arc<Cluster>, deadline: Instant) -> Result<(), Unavailable> {
    let late =
        || Unavailable::late(Arc::new(timed_out("no node of the cluster said which one has the slot")));
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

/// The way of a call to the node that serves it.
pub(crate) struct Way<'a> {
    servers: &'a Servers,
    slot: Slot,
    deadline: Instant,
    /// The next target, if a node named one.
    next: Option<Target>,
    /// The node that it went to last.
    at: Option<Arc<Node>>,
    /// How many nodes redirected it.
    moves: u32,
    pause: Duration,
}

impl Way<'_> {
    /// Where to send.
    pub(crate) async fn target(&mut self) -> Result<Target, Unavailable> {
        let target = match (self.next.take(), self.servers) {
            (Some(target), _) => target,
            (None, Servers::One(node)) => return Ok(Target::owner(node.clone())),
            (None, Servers::Cluster(cluster)) => {
                Target::owner(owner(cluster, self.slot, self.deadline).await?)
            }
        };
        self.at = Some(target.node().clone());
        Ok(target)
    }

    /// Returns whether to send again after a redirect, and waits first if that must be later.
    pub(crate) async fn leads_on(&mut self, redirect: Option<Redirect>) -> bool {
        match (self.servers, redirect, self.at.take()) {
            (Servers::Cluster(cluster), Some(redirect), Some(node)) => {
                // Boxed, because it is rare.
                Box::pin(self.turn(cluster, redirect, &node)).await.is_some()
            }
            _ => false,
        }
    }

    /// `None`: the answer is final.
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
                self.next = Some(Target::asked(at(&told)?));
                self.sent_on().await
            }
            Redirect::Later => {
                cluster.begin_to_ask();
                self.wait().await
            }
            // Another node may own the slot by now. If none does, the caller must learn that at once.
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

    /// `None`: the deadline would pass during the wait.
    async fn wait(&mut self) -> Option<()> {
        if Instant::now() + self.pause >= self.deadline {
            return None;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(())
    }
}

/// The slot of the first key of a command; `None`: it has no key.
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
