//! The health of a store's servers, for a readiness probe.

use std::sync::Arc;

use redis::{Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::model::{Error, Health, Result, ServerHealth, ServerMemory, ServerRole};
use crate::redis::script::LOADED;
use crate::redis::store::RedisStore;
use crate::redis::transport::address::Address;
use crate::redis::transport::failure;
use crate::redis::transport::node::Node;
use crate::redis::transport::role::{require_master, says_replica};
use crate::redis::{contract, startup};
use crate::stored::partitions::{Partition, Partitions};

impl RedisStore {
    /// Asks each server that has partitions, past the near cache and within the deadline of a call.
    pub(crate) async fn probe(&self) -> Health {
        let (mut servers, until) = (Vec::new(), Instant::now() + self.config().deadline);
        let found = &mut servers;
        let probed = self.call("health", |_| async move {
            *found = self.probe_all(until).await?;
            let is_one_serving = found.iter().any(|server| server.error.is_none());
            let error = found.iter().find_map(|server| server.error.clone());
            error.filter(|_| !is_one_serving).map_or(Ok(()), Err)
        });
        match probed.await {
            Err(error) if servers.is_empty() => Health::of(Err(error)),
            _ => Health::of_servers(servers),
        }
    }

    async fn probe_all(&self, until: Instant) -> Result<Vec<ServerHealth>> {
        let (sender, config) = (self.sender()?, self.config());
        let started = config.startup.done(&sender, &config.partitions, until).await;
        let homes = startup::homes(&sender, &config.partitions, until).await?;
        let probes = homes.into_iter().map(|(node, partition)| {
            let name = node.address.as_ref().map_or_else(|| config.server.to_string(), Address::told);
            probe_one(name, node, &config.partitions, partition, until)
        });
        let mut servers = futures_util::future::join_all(probes).await;
        if let Err(error) = started {
            // An error that keeps the store from starting makes every call fail, whatever else the servers say.
            for server in &mut servers {
                server.error.get_or_insert_with(|| error.clone().at(&server.server.as_str().into()));
            }
        }
        Ok(servers)
    }
}

async fn probe_one(
    name: String,
    node: Arc<Node>,
    partitions: &Partitions,
    partition: Partition,
    until: Instant,
) -> ServerHealth {
    let mut health = ServerHealth::of(name);
    let error = ask(&mut health, &node, partitions, partition, until).await.err();
    health.error = error.map(|error| error.at(&health.server.as_str().into()));
    health
}

/// Records what a server says of itself. An error means that it does not serve.
async fn ask(
    health: &mut ServerHealth,
    node: &Node,
    partitions: &Partitions,
    partition: Partition,
    until: Instant,
) -> Result<()> {
    let connection = match node.pool.connection(until).await {
        Ok(connection) => connection,
        Err(unavailable) => {
            // The connector asks for the role first.
            health.role = says_replica(unavailable.cause()).then_some(ServerRole::Replica);
            return Err(unavailable.into());
        }
    };
    let mut questions = Pipeline::with_capacity(4);
    questions.cmd("ROLE");
    contract::ask(&mut questions, partitions.keys(partition));
    questions.cmd("SCRIPT").arg("EXISTS").arg(LOADED.iter().map(|script| script.sha()).collect::<Vec<_>>());
    questions.cmd("INFO").arg("memory");
    questions.ignore_errors();
    let sent = Instant::now();
    let answers = connection.replies(&questions, until).await.or_not_executed()?;
    health.latency = Some(sent.elapsed());
    let [role, noted, scripts, memory] =
        <[RedisResult<Value>; 4]>::try_from(answers).map_err(|_| Error::corrupt("reply to a probe"))?;
    health.scripts_missing = scripts.ok().and_then(missing);
    health.memory = memory.ok().and_then(memory_of);
    health.contract = noted.as_ref().ok().and_then(contract::number);
    // If the user may not run ROLE, the connector asked by INFO, a second ago at most.
    if let Some(Err(error)) = role.ok().map(require_master) {
        health.role = says_replica(&error).then_some(ServerRole::Replica);
        return Err(failure::not_executed(error));
    }
    health.role = Some(ServerRole::Master);
    contract::judge(noted, partitions)
}

/// The memory figures of INFO.
fn memory_of(info: Value) -> Option<ServerMemory> {
    let info: String = redis::from_redis_value(info).ok()?;
    let number = |field: &str| info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok());
    Some(ServerMemory { used: number("used_memory:")?, most: number("maxmemory:").filter(|most| *most > 0) })
}

/// How many of the scripts are not loaded.
fn missing(exist: Value) -> Option<usize> {
    let exist: Vec<bool> = redis::from_redis_value(exist).ok()?;
    Some(exist.into_iter().filter(|exists| !exists).count())
}
