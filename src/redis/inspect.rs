//! What one partition has: for whoever operates a namespace, some of whose servers may be away.

use std::sync::Arc;
use std::time::Duration;

use redis::Pipeline;

use crate::model::{Error, Node, Result, Selector};
use crate::redis::call::Call;
use crate::redis::commands::count::{Index, count_indexes};
use crate::redis::commands::nodes;
use crate::redis::script::EXPIRED;
use crate::redis::store::RedisStore;
use crate::redis::{bulk, lookup};
use crate::stored::partitions::Partition;

/// What a partition has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionContents {
    /// How many sessions are stored there, those included that have expired and were not reaped yet.
    pub sessions: u64,
    /// For how long the oldest of those has been expired; zero where there is none.
    pub expiry_lag: Duration,
    /// The nodes that are registered there, with how many live sessions each has there.
    pub nodes: Vec<Node>,
}

impl RedisStore {
    /// Tells what one partition has, from 0 on to [`partition_count`](Self::partition_count): by itself, so that a server that
    /// is away hides no other.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a partition that is none.
    pub async fn inspect(&self, partition: u16) -> Result<PartitionContents> {
        let Some(partition) = self.partitions().all().nth(partition.into()) else {
            let count = self.partition_count();
            return Err(Error::invalid("partition", format!("is {partition}, must be below {count}")));
        };
        let body = |call: Arc<Call>| async move {
            let (sessions, expiry_lag) = expiry(&call, partition).await?;
            let mut nodes = nodes::in_one(&call, call.keys()).await?;
            let index = |node: &Node| (partition, call.keys().index(&Selector::node(&node.name)));
            let indexes: Vec<Index> = nodes.iter().map(index).collect();
            let counts = count_indexes(&call, &indexes).await?;
            nodes.iter_mut().zip(counts).for_each(|(node, count)| node.sessions = count);
            Ok(PartitionContents { sessions, expiry_lag, nodes })
        };
        self.call_in(partition, "inspect", self.operation_id, body).await
    }
}

/// How many are in the expiry index, and for how long the first has been expired.
async fn expiry(call: &Call, partition: Partition) -> Result<(u64, Duration)> {
    let (key, mut pipeline) = (call.keys().expiry(), Pipeline::with_capacity(2));
    pipeline.cmd("ZCARD").arg(&key).cmd("ZSCORE").arg(&key).arg("");
    let replies = call.read(&pipeline, "expiry").await?;
    let [count, note] = replies.as_slice() else { return Err(Error::corrupt("reply to ZCARD and ZSCORE")) };
    let count: u64 = redis::from_redis_value_ref(count).map_err(|_| Error::corrupt("expiry"))?;
    // The empty member is the index's own note.
    let sessions = count.saturating_sub((*note != redis::Value::Nil).into());
    let first = call.run(&EXPIRED, || bulk::ask_first_expired(call, partition)).await?;
    let lag_ms = match bulk::first_expired(first)? {
        Some(at) => lookup::time(call).await?.saturating_sub(at),
        None => 0,
    };
    Ok((sessions, Duration::from_millis(lag_ms)))
}
