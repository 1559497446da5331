//! stats: how many sessions and nodes there are, and how the servers are.

use std::time::Duration;

use cloakroom::migration::MigrationStore as _;
use cloakroom::nodes::{Node, NodeRegistry as _};
use cloakroom::{Readiness, RedisStore, ServerHealth, ServerRole, SessionStore as _};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, shown, time};

pub(crate) async fn run(store: &RedisStore, output: &Output) -> Result<(), Failure> {
    let health = store.health().await;
    let (stored, nodes, now) = (store.stored().await?, store.nodes().await?, store.now().await?);
    // What has expired and was not reaped yet.
    let expired = store.expired(None, 0, 1).await?;
    let lag_ms = expired.first().map_or(0, |first| now.saturating_sub(first.expired_at_ms));
    let readiness = match health.readiness {
        Readiness::Ready => "ready",
        Readiness::Degraded => "degraded",
        _ => "not_ready",
    };
    let partitions = store.partition_count();
    let told = json!({
        "readiness": readiness,
        "sessions": stored,
        "partitions": partitions,
        "expiry_lag_ms": lag_ms,
        "nodes": nodes.iter().map(told_of_node).collect::<Vec<_>>(),
        "servers": health.servers.iter().map(told_of_server).collect::<Vec<_>>(),
    });
    let lag = humantime::format_duration(Duration::from_secs(lag_ms / 1000));
    let mut text =
        format!("readiness   {readiness}\nsessions    {stored}\npartitions  {partitions}\nexpiry lag  {lag}");
    for server in &health.servers {
        text += &format!("\nserver      {}", line_of_server(server));
    }
    for node in &nodes {
        text += &format!("\nnode        {}", line_of_node(node));
    }
    output.tell(&told, &text)
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
