//! A real cluster: three masters, and a replica of each.

use super::context::eventually;
use super::server::Server;

/// How many slots there are.
const SLOTS: usize = 16384;

const MASTERS: usize = 3;

/// The nodes: masters first, then the replica of each.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    ids: Vec<String>,
}

/// What a node answers to a command, or its error.
pub(crate) async fn tell<T: redis::FromRedisValue>(node: &Server, command: &[&str]) -> redis::RedisResult<T> {
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]).query_async(&mut node.connect().await).await
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let starts = (0..2 * MASTERS).map(|_| Server::spawn(&options));
        let nodes = futures::future::join_all(starts).await;
        let mut ids = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            ids.push(tell::<String>(node, &["CLUSTER", "MYID"]).await.unwrap());
            if at < MASTERS {
                let (first, last) = (SLOTS * at / MASTERS, SLOTS * (at + 1) / MASTERS - 1);
                let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
                let mut command = vec!["CLUSTER", "ADDSLOTS"];
                command.extend(slots.iter().map(String::as_str));
                tell::<()>(node, &command).await.unwrap();
                tell::<()>(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await.unwrap();
            }
        }
        let cluster = Self { nodes, ids };
        for node in &cluster.nodes[1..] {
            let (host, port) = node
                .address()
                .rsplit_once(':')
                .map(|(host, port)| (host.to_owned(), port.to_owned()))
                .unwrap();
            tell::<()>(&cluster.nodes[0], &["CLUSTER", "MEET", &host, &port]).await.unwrap();
        }
        for at in 0..MASTERS {
            let (replica, master) = (&cluster.nodes[MASTERS + at], &*cluster.ids[at]);
            let follows = async || tell::<()>(replica, &["CLUSTER", "REPLICATE", master]).await.is_ok();
            eventually("the replica knows its master", follows).await;
        }
        cluster.is_whole().await;
        cluster
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
                    && info.contains("cluster_known_nodes:6")
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
        let ranges: Vec<Vec<redis::Value>> = tell(&self.nodes[5], &["CLUSTER", "SLOTS"]).await.unwrap();
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
