//! A real cluster: three masters, usually with one replica each.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::bus::Bus;
use super::context::eventually;
use super::proxy::Proxy;
use super::server::{Server, free_port};

/// How many slots there are.
const SLOTS: u16 = 16384;

const MASTERS: usize = 3;

/// The nodes: masters first, then the replica of each. All are stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    ids: Vec<String>,
    bus: Option<Bus>,
}

/// What a node answers to a command, or its error.
pub(crate) async fn tell<T: redis::FromRedisValue>(node: &Server, command: &[&str]) -> redis::RedisResult<T> {
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]).query_async(&mut node.connect().await).await
}

impl Cluster {
    /// With a replica of each master.
    pub(crate) async fn start() -> Self {
        Self::of(2 * MASTERS, |_| Vec::new(), None).await
    }

    /// The same, with more options, and the nodes meet over a bus that can be cut.
    pub(crate) async fn over_a_bus(options: &[&str]) -> Self {
        let bus = Bus::start(2 * MASTERS).await;
        let all = |at| {
            let announced = ["--cluster-announce-bus-port".to_owned(), bus.port(at).to_string()];
            announced.into_iter().chain(options.iter().map(|&option| option.to_owned())).collect()
        };
        Self::of(2 * MASTERS, all, Some(&bus)).await.with(bus)
    }

    /// Masters without replicas.
    pub(crate) async fn of_masters(options: &[&str]) -> Self {
        Self::of(MASTERS, |_| options.iter().map(|&option| option.to_owned()).collect(), None).await
    }

    /// The same behind proxies, one before each node, at which the nodes say that they are.
    pub(crate) async fn behind_proxies() -> (Self, Vec<Proxy>) {
        let ports: Vec<u16> = (0..MASTERS).map(|_| free_port()).collect();
        let announced = |at: usize| vec!["--cluster-announce-port".to_owned(), ports[at].to_string()];
        let cluster = Self::of(MASTERS, announced, None).await;
        let mut proxies = Vec::new();
        for (node, port) in cluster.nodes.iter().zip(ports) {
            proxies.push(Proxy::start_at(port, node.address()).await);
        }
        (cluster, proxies)
    }

    /// One of masters that the tests of this process share. It is stopped with the last of them that has it.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(there) = shared.upgrade() {
            return there;
        }
        // However busy the machine is, no master is taken for dead.
        let started = Arc::new(Self::of_masters(&["--cluster-node-timeout", "60000"]).await);
        *shared = Arc::downgrade(&started);
        started
    }

    /// Masters with the slots in as many ranges, and replicas of them if there are more nodes.
    async fn of(count: usize, options: impl Fn(usize) -> Vec<String>, bus: Option<&Bus>) -> Self {
        let spawned = |at| {
            let own = options(at);
            async move {
                let mut all = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
                all.extend(own.iter().map(String::as_str));
                Server::spawn(&all).await
            }
        };
        let nodes = futures::future::join_all((0..count).map(spawned)).await;
        let mut ids = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let id: String = tell(node, &["CLUSTER", "MYID"]).await.unwrap();
            bus.into_iter().for_each(|bus| bus.is_at(at, &id, &node.address()));
            ids.push(id);
            if at < MASTERS {
                let slots: Vec<String> = (0..SLOTS)
                    .filter(|slot| Self::master_of(*slot, MASTERS) == at)
                    .map(|slot| slot.to_string())
                    .collect();
                let mut command = vec!["CLUSTER", "ADDSLOTS"];
                command.extend(slots.iter().map(String::as_str));
                tell::<()>(node, &command).await.unwrap();
                tell::<()>(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await.unwrap();
            }
        }
        let cluster = Self { nodes, ids, bus: None };
        eventually("the first node has met the others", async || cluster.have_met(bus).await).await;
        for at in MASTERS..count {
            let (replica, master) = (&cluster.nodes[at], &*cluster.ids[at - MASTERS]);
            let follows = async || tell::<()>(replica, &["CLUSTER", "REPLICATE", master]).await.is_ok();
            eventually("the replica knows its master", follows).await;
        }
        cluster.is_whole().await;
        cluster
    }

    /// Whether the first node knows the others. It gives up on a node that takes too long to answer, so it is asked again.
    async fn have_met(&self, bus: Option<&Bus>) -> bool {
        let known: String = tell(&self.nodes[0], &["CLUSTER", "NODES"]).await.unwrap();
        let knows = |id: &str| known.lines().any(|line| line.starts_with(id) && !line.contains("handshake"));
        let mut have_met = true;
        for (at, node) in self.nodes.iter().enumerate().filter(|(at, _)| !knows(&self.ids[*at])) {
            let address = node.address();
            let (host, port) = address.rsplit_once(':').unwrap();
            let mut meet = vec!["CLUSTER", "MEET", host, port];
            let bus = bus.map(|bus| bus.port(at).to_string());
            meet.extend(bus.as_deref());
            tell::<()>(&self.nodes[0], &meet).await.unwrap();
            have_met = false;
        }
        have_met
    }

    fn with(self, bus: Bus) -> Self {
        Self { bus: Some(bus), ..self }
    }

    /// Which of so many masters has a slot, before any moves.
    pub(crate) fn master_of(slot: u16, masters: usize) -> usize {
        usize::from(slot) * masters / usize::from(SLOTS)
    }

    /// Keeps a node from all others, while clients still reach it.
    pub(crate) fn cut_off(&self, node: usize) {
        self.bus.as_ref().expect("started over a bus").cut_off(&self.ids[node]);
    }

    /// Waits until each node knows all, and each replica has what its master has.
    pub(crate) async fn is_whole(&self) {
        for node in &self.nodes {
            let is_whole = async || {
                let info: String = tell(node, &["CLUSTER", "INFO"]).await.unwrap();
                let role: Vec<redis::Value> = tell(node, &["ROLE"]).await.unwrap();
                let is_linked =
                    role.get(3).is_none_or(|state| *state == redis::Value::BulkString(b"connected".into()));
                let slots: Vec<redis::Value> = tell(node, &["CLUSTER", "SLOTS"]).await.unwrap();
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{}\r", self.nodes.len()))
                    && is_linked
                    && slots.len() >= MASTERS
            };
            eventually("the cluster is whole", is_whole).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Server::address).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// Which node is the master of a slot, as the last node says.
    pub(crate) async fn owner(&self, slot: u64) -> usize {
        self.owner_as_told_by(self.nodes.last().unwrap(), slot).await
    }

    async fn owner_as_told_by(&self, node: &Server, slot: u64) -> usize {
        let ranges: Vec<Vec<redis::Value>> = tell(node, &["CLUSTER", "SLOTS"]).await.unwrap();
        let number = |value: &redis::Value| redis::from_redis_value_ref::<u64>(value).unwrap();
        let range = ranges.iter().find(|range| (number(&range[0])..=number(&range[1])).contains(&slot));
        let redis::Value::Array(master) = &range.unwrap()[2] else { panic!("{range:?}") };
        let id: String = redis::from_redis_value_ref(&master[2]).unwrap();
        self.ids.iter().position(|known| *known == id).unwrap()
    }

    pub(crate) async fn slot(&self, key: &str) -> u64 {
        tell(&self.nodes[0], &["CLUSTER", "KEYSLOT", key]).await.unwrap()
    }

    /// Says that a slot is on its way from one master to another.
    pub(crate) async fn begin_to_move(&self, slot: u64, from: usize, to: usize) {
        let slot = slot.to_string();
        tell::<()>(&self.nodes[to], &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]])
            .await
            .unwrap();
        tell::<()>(&self.nodes[from], &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]])
            .await
            .unwrap();
    }

    /// It stays where it is.
    pub(crate) async fn stay(&self, slot: u64, from: usize, to: usize) {
        let slot = slot.to_string();
        for node in [from, to] {
            tell::<()>(&self.nodes[node], &["CLUSTER", "SETSLOT", &slot, "STABLE"]).await.unwrap();
        }
    }

    /// Moves some of its keys. How many there were.
    pub(crate) async fn move_keys(&self, slot: u64, from: usize, to: usize, most: usize) -> usize {
        let (slot, most) = (slot.to_string(), most.to_string());
        let keys: Vec<String> =
            tell(&self.nodes[from], &["CLUSTER", "GETKEYSINSLOT", &slot, &most]).await.unwrap();
        let address = self.nodes[to].address();
        let (host, port) = address.rsplit_once(':').unwrap();
        for key in &keys {
            tell::<String>(&self.nodes[from], &["MIGRATE", host, port, key, "0", "5000"]).await.unwrap();
        }
        keys.len()
    }

    pub(crate) async fn end_move(&self, slot: u64, to: usize, from: usize) {
        let slot = slot.to_string();
        for node in [to, from] {
            tell::<()>(&self.nodes[node], &["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]])
                .await
                .unwrap();
        }
    }

    /// Has a slot migrated as a whole, as Valkey 9 does it, and waits until all nodes know.
    pub(crate) async fn migrate(&self, slot: u64, from: usize, to: usize) {
        let slot_text = slot.to_string();
        let command =
            ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot_text, &slot_text, "NODE", &self.ids[to]];
        tell::<()>(&self.nodes[from], &command).await.unwrap();
        for node in &self.nodes {
            eventually("the slot is migrated", async || self.owner_as_told_by(node, slot).await == to).await;
        }
    }

    /// Waits until the replica of a master has taken its place.
    pub(crate) async fn promoted(&self, master: usize) {
        let replica = &self.nodes[MASTERS + master];
        let is_master = async || {
            let role: Vec<redis::Value> = tell(replica, &["ROLE"]).await.unwrap();
            let info: String = tell(replica, &["CLUSTER", "INFO"]).await.unwrap();
            role[0] == redis::Value::BulkString(b"master".into()) && info.contains("cluster_state:ok")
        };
        eventually("the replica is promoted", is_master).await;
    }
}
