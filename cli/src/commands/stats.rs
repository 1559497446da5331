//! stats: shows how many sessions and nodes there are, and the health of the servers.

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom::nodes::Node;
use cloakroom::operating::PartitionContents;
use cloakroom::{Error, Readiness, RedisStore, ServerHealth, ServerRole, SessionStore as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::output::{Output, shown, time};

pub(crate) async fn run(store: &RedisStore, output: &Output) -> Result<(), Failure> {
    let (health, contents) = tokio::join!(store.health(), Contents::of(store));
    let contents = contents?;
    let readiness = match health.readiness {
        Readiness::Ready => "ready",
        Readiness::Degraded => "degraded",
        _ => "not_ready",
    };
    let (partitions, nodes) = (store.partition_count(), contents.nodes());
    let (sessions, lag) = (contents.sessions(), contents.lag());
    let told = json!({
        "readiness": readiness,
        "sessions": sessions,
        "partitions": partitions,
        "partitions_away": contents.away.keys().collect::<Vec<_>>(),
        "expiry_lag_ms": lag.as_millis() as u64,
        "nodes": nodes.iter().map(told_of_node).collect::<Vec<_>>(),
        "servers": health.servers.iter().map(told_of_server).collect::<Vec<_>>(),
    });
    let lag = humantime::format_duration(Duration::from_secs(lag.as_secs()));
    let mut text = format!(
        "readiness   {readiness}\nsessions    {sessions}\npartitions  {partitions}\nexpiry lag  {lag}"
    );
    for server in &health.servers {
        text += &format!("\nserver      {}", line_of_server(server));
    }
    for node in &nodes {
        text += &format!("\nnode        {}", line_of_node(node));
    }
    for (partitions, why) in contents.missing() {
        text += &format!("\nmissing     partitions {partitions}: {why}");
    }
    output.tell(&told, &text)?;
    match contents.away.len() {
        0 => Ok(()),
        away => Err(Failure::Away { partitions: away, of: partitions }),
    }
}

/// The contents of the partitions.
#[derive(Debug, Default)]
struct Contents {
    here: Vec<PartitionContents>,
    /// The partitions that do not answer, and why.
    away: BTreeMap<u16, Error>,
}

impl Contents {
    /// Asks all at once. Returns an error if none answers.
    async fn of(store: &RedisStore) -> Result<Self, Failure> {
        let mut asked = JoinSet::new();
        for partition in 0..store.partition_count() {
            let store = store.clone();
            asked.spawn(async move { (partition, store.inspect(partition).await) });
        }
        let mut contents = Self::default();
        while let Some(answer) = asked.join_next().await {
            // A task that panicked has reported that.
            match answer {
                Ok((_, Ok(here))) => contents.here.push(here),
                Ok((partition, Err(error))) => {
                    contents.away.insert(partition, error);
                }
                Err(_) => {}
            }
        }
        match contents.away.first_key_value() {
            Some((_, error)) if contents.here.is_empty() => Err(error.clone().into()),
            _ => Ok(contents),
        }
    }

    /// The partitions that do not answer, as ranges, and why.
    fn missing(&self) -> Vec<(String, String)> {
        let mut ranges: Vec<(u16, u16, String)> = Vec::new();
        for (partition, error) in &self.away {
            let why = error.to_string();
            match ranges.last_mut() {
                Some((_, last, reason)) if *last + 1 == *partition && *reason == why => *last = *partition,
                _ => ranges.push((*partition, *partition, why)),
            }
        }
        let words = |(first, last, why): (u16, u16, String)| {
            let range = if first == last { first.to_string() } else { format!("{first} to {last}") };
            (range, why)
        };
        ranges.into_iter().map(words).collect()
    }

    fn sessions(&self) -> u64 {
        self.here.iter().map(|here| here.sessions).sum()
    }

    fn lag(&self) -> Duration {
        self.here.iter().map(|here| here.expiry_lag).max().unwrap_or_default()
    }

    /// The nodes by name. A node is live if it is live in each partition.
    fn nodes(&self) -> Vec<Node> {
        let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
        for node in self.here.iter().flat_map(|here| &here.nodes) {
            let Some(known) = nodes.get_mut(node.name.as_str()) else {
                nodes.insert(&node.name, node.clone());
                continue;
            };
            known.is_live &= node.is_live;
            known.lease_until_ms = known.lease_until_ms.min(node.lease_until_ms);
            known.sessions += node.sessions;
        }
        nodes.into_values().collect()
    }
}

fn role(server: &ServerHealth) -> &'static str {
    match server.role {
        Some(ServerRole::Master) => "master",
        Some(_) => "replica",
        None => "unknown",
    }
}

fn told_of_server(server: &ServerHealth) -> Value {
    json!({
        "server": server.server,
        "role": role(server),
        "latency_us": server.latency.map(|latency| latency.as_micros() as u64),
        "contract": server.contract,
        "scripts_missing": server.scripts_missing,
        "memory_used": server.memory.map(|memory| memory.used),
        "memory_most": server.memory.and_then(|memory| memory.most),
        "error": server.error.as_ref().map(ToString::to_string),
    })
}

fn line_of_server(server: &ServerHealth) -> String {
    let mut line = format!("{} {}", server.server, role(server));
    if let Some(latency) = server.latency {
        line += &format!(", answers in {} µs", latency.as_micros());
    }
    if let Some(memory) = server.memory {
        line += &format!(", uses {}", indicatif::HumanBytes(memory.used));
        let most = memory.most.map(|most| format!(" of {}", indicatif::HumanBytes(most)));
        line += &most.unwrap_or_default();
    }
    if let Some(contract) = server.contract {
        line += &format!(", contract {contract}");
    }
    if let Some(missing) = server.scripts_missing.filter(|missing| *missing > 0) {
        line += &format!(", {missing} scripts not loaded");
    }
    if let Some(error) = &server.error {
        line += &format!(": {error}");
    }
    line
}

fn told_of_node(node: &Node) -> Value {
    json!({
        "node": node.name,
        "is_live": node.is_live,
        "lease_until": time(node.lease_until_ms),
        "sessions": node.sessions,
    })
}

fn line_of_node(node: &Node) -> String {
    let lease = if node.is_live { "lease until" } else { "dead since" };
    format!("{}: {} sessions, {lease} {}", shown(&node.name), node.sessions, time(node.lease_until_ms))
}
