//! A cluster of so many masters, without replicas.

use std::time::Duration;

use redis::FromRedisValue;

use crate::server::Server;

const SLOTS: usize = 16384;

async fn tell<T: FromRedisValue>(node: &Server, command: &[&str]) -> T {
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut node.connect().await).await.unwrap()
}

pub(crate) async fn start(masters: usize) -> Vec<Server> {
    let mut nodes = Vec::new();
    for at in 0..masters {
        let node = Server::spawn(&["--cluster-enabled", "yes"]).await;
        let slots: Vec<String> =
            (SLOTS * at / masters..SLOTS * (at + 1) / masters).map(|slot| slot.to_string()).collect();
        let mut command = vec!["CLUSTER", "ADDSLOTS"];
        command.extend(slots.iter().map(String::as_str));
        tell::<()>(&node, &command).await;
        tell::<()>(&node, &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
        nodes.push(node);
    }
    for node in &nodes[1..] {
        let address = node.address();
        let (host, port) = address.rsplit_once(':').unwrap();
        tell::<()>(&nodes[0], &["CLUSTER", "MEET", host, port]).await;
    }
    for node in &nodes {
        while !is_whole(node, masters).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    nodes
}

async fn is_whole(node: &Server, masters: usize) -> bool {
    let info: String = tell(node, &["CLUSTER", "INFO"]).await;
    info.contains("cluster_state:ok") && info.contains(&format!("cluster_size:{masters}\r"))
}

pub(crate) fn url(nodes: &[Server]) -> String {
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    format!("redis+cluster://{}", addresses.join(","))
}

/// For how long a node was busy, in microseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Busy {
    /// Its thread that runs commands, with what comes around them.
    pub(crate) thread: f64,
    /// Those of the commands.
    pub(crate) commands: f64,
}

impl Busy {
    /// So far, with these commands.
    pub(crate) async fn read(node: &Server, commands: &[&str]) -> Self {
        let info: String = tell(node, &["INFO", "everything"]).await;
        let find = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // Redis 6.2 has no figure of the one thread.
        let seconds = |name: &str| find(name).map_or(0.0, |seconds| seconds.parse::<f64>().unwrap());
        let micros = |name: &&str| {
            let figures = find(&format!("cmdstat_{name}:")).unwrap_or_default();
            let micros = figures.split(',').find_map(|figure| figure.strip_prefix("usec="));
            micros.map_or(0.0, |micros| micros.parse::<f64>().unwrap())
        };
        let thread = seconds("used_cpu_user_main_thread:") + seconds("used_cpu_sys_main_thread:");
        Self { thread: thread * 1e6, commands: commands.iter().map(micros).sum() }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { thread: self.thread - before.thread, commands: self.commands - before.commands }
    }
}
