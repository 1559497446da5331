//! The nodes of a Redis Cluster, each with its own connections, and the owners of slots.
//!
//! redis-rs has its own cluster client. It retries by itself what a cut connection may have executed (16 times by
//! default), loads a script at one node of its choice, and has one deadline for all nodes. So the store keeps its own
//! connections, as with one server, and adds the map.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, RedisResult, Value};
use tokio::time::Instant;

use crate::model::random;
use crate::redis::near_cache::NearCache;
use crate::redis::transport::address::Address;
use crate::redis::transport::connector::{Connector, Origin};
use crate::redis::transport::dialer::Dialer;
use crate::redis::transport::epochs::{Epochs, Heard};
use crate::redis::transport::node::Node;
use crate::redis::transport::pool::Pool;
use crate::redis::transport::serving::{Holding, Serving};
use crate::redis::transport::slot_map::{Range, SlotMap};
use crate::redis::transport::survey::Survey;
use crate::redis::transport::tracking::Tracking;
use crate::stored::slot::Slot;

/// How long a map counts, unless a node contradicts it.
const COUNTS_FOR: Duration = Duration::from_secs(30);

/// How long to wait for other nodes after one has sent its map.
const MOMENT: Duration = Duration::from_millis(20);

/// How many known nodes are asked at once, and as many of those that the service named.
const ASKED_AT_ONCE: usize = 6;

/// The settings to connect to the nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) dialer: Dialer,
    pub(crate) timeout: Duration,
    pub(crate) pool_size: u32,
    /// The near cache, which learns of changes, and its staleness.
    pub(crate) near_cache: Option<(Arc<NearCache>, Duration)>,
}

impl Reach {
    fn node(&self, address: Address, cluster: &Weak<Cluster>) -> Arc<Node> {
        let tracking = self.near_cache.clone().map(|(near_cache, staleness)| {
            let held =
                Held { near_cache: near_cache.clone(), cluster: cluster.clone(), node: address.clone() };
            Arc::new(Tracking::new(near_cache, staleness).at_node(Serving::new(held)))
        });
        let origin = Origin::Dialer(self.dialer.at(&address), tracking);
        let pool = Pool::new(Connector::new(origin, self.timeout), self.pool_size);
        Arc::new(Node::new(Some(address), pool))
    }
}

/// The partitions of a node.
struct Held {
    near_cache: Arc<NearCache>,
    cluster: Weak<Cluster>,
    node: Address,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Holding for Held {
    fn keys(&self) -> Vec<Vec<u8>> {
        let Some(cluster) = self.cluster.upgrade() else { return Vec::new() };
        let (map, partitions) = (cluster.last_map(), self.near_cache.partitions());
        let keys = partitions.all().map(|partition| partitions.keys(partition).contract());
        let is_here = |key: &Vec<u8>| {
            let owner = map.owner(Slot::of_key(key));
            owner.is_some_and(|owner| owner.address.as_ref() == Some(&self.node))
        };
        keys.filter(is_here).collect()
    }

    fn is_outdated(&self) {
        self.cluster.upgrade().iter().for_each(Cluster::begin_to_ask);
    }
}

/// The nodes of a cluster.
pub(crate) struct Cluster {
    /// A reference to itself, for its nodes' questions.
    own: Weak<Self>,
    reach: Reach,
    /// The nodes that the service named.
    seeds: Vec<Address>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    map: RwLock<Arc<SlotMap>>,
    epochs: Mutex<Epochs>,
    survey: Arc<Survey<()>>,
}

/// Leaves out the nodes, which are many.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) fn new(reach: Reach, seeds: Vec<Address>) -> Arc<Self> {
        let (nodes, map, epochs) = (Mutex::default(), RwLock::default(), Mutex::default());
        let survey = Arc::new(Survey::new());
        Arc::new_cyclic(|own| Self { own: own.clone(), reach, seeds, nodes, map, epochs, survey })
    }

    pub(crate) fn map(self: &Arc<Self>) -> Arc<SlotMap> {
        if self.survey.asked().is_some_and(|asked| asked.elapsed() > COUNTS_FOR) {
            self.begin_to_ask();
        }
        self.last_map()
    }

    fn last_map(&self) -> Arc<SlotMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The owner of a slot, if one is known.
    pub(crate) fn owner(self: &Arc<Self>, slot: Slot) -> Option<Arc<Node>> {
        self.map().owner(slot).cloned()
    }

    /// A node, whether it owns a slot or not.
    pub(crate) fn node(&self, address: Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.entry(address.clone()).or_insert_with(|| self.reach.node(address, &self.own)).clone()
    }

    /// Records a node's word that another node owns a slot, and reads the map again, because other slots
    /// have probably moved too.
    pub(crate) fn moved(self: &Arc<Self>, slot: Slot, owner: Arc<Node>) {
        let is_known = self.last_map().owner(slot).is_some_and(|known| known.address == owner.address);
        if !is_known {
            self.change(|map| map.set(slot, owner));
        }
        self.begin_to_ask();
    }

    /// Changes the map. Reads from the former owners no longer count.
    fn change(&self, change: impl FnOnce(&mut SlotMap)) {
        {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            change(Arc::make_mut(&mut map));
        }
        if let Some((near_cache, _)) = &self.reach.near_cache {
            near_cache.forget_all();
        }
    }

    /// Asks the nodes for the map and waits. An error means that none of them sent its map.
    pub(crate) async fn read_map(self: &Arc<Self>) -> RedisResult<()> {
        self.survey.told_since(Instant::now(), || self.clone().ask_and_put()).await
    }

    /// Starts to read the map, without waiting.
    pub(crate) fn begin_to_ask(self: &Arc<Self>) {
        self.survey.begin(|| self.clone().ask_and_put());
    }

    async fn ask_and_put(self: Arc<Self>) -> RedisResult<()> {
        let told = self.ask().await?;
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if epochs.admits(told.epoch, told.heard, Instant::now()) {
            self.put(told.ranges);
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> =
            self.last_map().masters().iter().filter_map(|node| node.address.clone()).collect();
        // Other nodes each time, so as to spread the load and the knowledge.
        let first = usize::from(random::<1>()[0]) % addresses.len().max(1);
        addresses.rotate_left(first);
        addresses.truncate(ASKED_AT_ONCE);
        let others: Vec<Address> =
            self.seeds.iter().filter(|seed| !addresses.contains(seed)).cloned().collect();
        addresses.extend(others.into_iter().take(ASKED_AT_ONCE));
        addresses
    }

    /// The map of the newest epoch among the nodes that answer in time.
    async fn ask(&self) -> RedisResult<Told> {
        let mut answers: FuturesUnordered<_> =
            self.addresses().into_iter().map(|address| self.ask_one(address)).collect();
        let (asked, mut heard) = (answers.len(), 0);
        let (mut newest, mut until) = (None::<(u64, Vec<Range>)>, Instant::now() + self.reach.timeout);
        let mut failure = std::io::Error::other("no node of the cluster answered in time").into();
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
            match answer {
                Ok((epoch, ranges)) => {
                    heard += 1;
                    if newest.is_none() {
                        until = until.min(Instant::now() + MOMENT);
                    }
                    if newest.as_ref().is_none_or(|(newest, _)| *newest < epoch) {
                        newest = Some((epoch, ranges));
                    }
                }
                Err(error) => failure = error,
            }
        }
        let (epoch, ranges) = newest.ok_or(failure)?;
        Ok(Told { epoch, ranges, heard: if heard == asked { Heard::All } else { Heard::Some } })
    }

    async fn ask_one(&self, address: Address) -> RedisResult<(u64, Vec<Range>)> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut link = self.reach.dialer.at(&address).connect(&config).await?;
        let mut both = redis::Pipeline::with_capacity(2);
        both.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        let (info, slots): (String, Value) = both.query_async(&mut link).await?;
        let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
        let epoch = epoch.and_then(|epoch| epoch.trim().parse().ok()).unwrap_or(0);
        let ranges = Range::all_of(slots, &address)?;
        if ranges.is_empty() {
            return Err(std::io::Error::other("a node of the cluster knows no owner of any slot").into());
        }
        Ok((epoch, ranges))
    }

    fn put(&self, ranges: Vec<Range>) {
        let new = SlotMap::new(ranges, |address| self.node(address));
        if self.last_map().is_same_as(&new) {
            return;
        }
        let masters: Vec<Option<Address>> = new.masters().iter().map(|node| node.address.clone()).collect();
        self.change(|map| *map = new);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, _| masters.iter().flatten().any(|master| master == address));
    }
}

/// The answers of nodes that were asked together.
struct Told {
    /// The newest epoch.
    epoch: u64,
    ranges: Vec<Range>,
    heard: Heard,
}
