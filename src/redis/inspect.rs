//! The contents of one partition, for operators: some of the servers may be away.

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

/// The contents of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionContents {
    /// How many sessions are stored there, including those that have expired and were not reaped yet.
    pub sessions: u64,
    /// How long ago the first of those expired; zero if there is none.
    pub expiry_lag: Duration,
    /// The nodes that are registered there, with how many live sessions each has there.
    pub nodes: Vec<Node>,
}

impl RedisStore {
    /// Reads the contents of one partition, from 0 up to [`partition_count`](Self::partition_count). It reads each
    /// partition alone, so that a server that is away does not hide the others.
    ///
    /// # Errors
    /// [`Error::Invalid`] names a partition that does not exist.
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

/// How many sessions are in the expiry index, and how long ago the first expired.
async fn expiry(call: &Call, partition: Partition) -> Result<(u64, Duration)> {
    let (key, mut pipeline) = (call.keys().expiry(), Pipeline::with_capacity(2));
    pipeline.cmd("ZCARD").arg(&key).cmd("ZSCORE").arg(&key).arg("");
    let replies = call.read(&pipeline, "expiry").await?;
    let [count, note] = replies.as_slice() else { return Err(Error::corrupt("reply to ZCARD and ZSCORE")) };
    let count: u64 = redis::from_redis_value_ref(count).map_err(|_| Error::corrupt("expiry"))?;
    // The empty member holds the index's own TTL.
    let sessions = count.saturating_sub((*note != redis::Value::Nil).into());
    let first = call.run(&EXPIRED, || bulk::ask_first_expired(call, partition)).await?;
    let lag_ms = match bulk::first_expired(first)? {
        Some(at) => lookup::time(call).await?.saturating_sub(at),
        None => 0,
    };
    Ok((sessions, Duration::from_millis(lag_ms)))
}
