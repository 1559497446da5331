//! nodes: lists the registered nodes and their leases.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::{Pipeline, Value};

use crate::model::{Error, Node, NodeFilter, Result, is_held};
use crate::redis::call::Call;
use crate::redis::script;
use crate::stored::keys::Keys;
use crate::stored::lease::Lease;

/// The name of a node as it is stored, which may not be valid text.
type StoredName = Vec<u8>;

/// How many nodes a full page has.
const NODES_PER_SCRIPT: usize = 500;

/// The nodes ordered by name, without the counts of their sessions. A node holds its lease only if it holds it in
/// each partition. Lapsed nodes are found in all partitions that answer.
pub(crate) async fn run(call: &Call, which: NodeFilter) -> Result<Vec<Node>> {
    let partitions = call.partitions();
    let read = |partition| in_one(call, partitions.keys(partition));
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let (mut answers, mut failed) = (Vec::new(), None);
    for answer in join_all(partitions.all().map(read)).await {
        match answer {
            Ok(nodes) => answers.push(nodes),
            Err(error) => {
                tracing::warn!(%error, "the nodes of a partition could not be read");
                failed.get_or_insert(error);
            }
        }
    }
    if let Some(error) = failed
        && (which == NodeFilter::All || answers.is_empty())
    {
        return Err(error);
    }
    for node in answers.into_iter().flatten() {
        let known = nodes.entry(node.name.clone()).or_insert_with(|| node.clone());
        known.is_live &= node.is_live;
        known.lease_until_ms = known.lease_until_ms.min(node.lease_until_ms);
    }
    let nodes = nodes.into_values();
    Ok(nodes.filter(|node| which == NodeFilter::All || !node.is_live).collect())
}

/// The nodes of one partition.
pub(crate) async fn in_one(call: &Call, keys: &Keys) -> Result<Vec<Node>> {
    let mut nodes = BTreeMap::new();
    let mut from = 0;
    loop {
        let page = page(call, keys, from).await?;
        // A node whose lease was renewed between two pages appears again.
        nodes.extend(standing(call, keys, &page).await?.into_iter().map(|node| (node.name.clone(), node)));
        let last = page.last().map_or(from, |(_, end)| *end);
        if page.len() < NODES_PER_SCRIPT {
            return Ok(nodes.into_values().collect());
        }
        // A whole page of one millisecond: the other leases that ended in it are not seen this time.
        from = if last > from { last } else { last + 1 };
    }
}

/// A page of the list, which is ordered by the ends of the leases. A renewal moves a node to a later page, so none is
/// skipped.
async fn page(call: &Call, keys: &Keys, from: u64) -> Result<Vec<(StoredName, u64)>> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGEBYSCORE").arg(keys.nodes()).arg(from).arg("+inf").arg("WITHSCORES");
    pipeline.arg("LIMIT").arg(0).arg(NODES_PER_SCRIPT);
    let value = call.read(&pipeline, "nodes").await?.pop().unwrap_or(Value::Nil);
    let pairs: Vec<(StoredName, f64)> =
        redis::from_redis_value(value).map_err(|_| Error::corrupt("nodes"))?;
    Ok(pairs.into_iter().map(|(name, end)| (name, end as u64)).collect())
}

async fn standing(call: &Call, keys: &Keys, page: &[(StoredName, u64)]) -> Result<Vec<Node>> {
    if page.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(nodes) = natively(call, keys, page).await? {
        return Ok(nodes);
    }
    let leases = page.iter().map(|(name, _)| keys.lease(name));
    let names: Vec<_> = std::iter::once(keys.nodes()).chain(leases).collect();
    let mut cmd = call.evalsha(&script::NODES, &names);
    for (name, _) in page {
        cmd.arg(name);
    }
    let mut reply = call.run(&script::NODES, || cmd.clone()).await?.expect_ok()?;
    let mut nodes = Vec::new();
    while !reply.is_empty() {
        let (name, lease_until_ms, stands) = (reply.bytes()?, reply.number()?, reply.text()?);
        nodes.extend(node(name, lease_until_ms, stands == "held"));
    }
    Ok(nodes)
}

/// Reads the ends of the nodes' leases and the leases, as the script does. `None`: something is wrong, or the server
/// refuses to read them so.
async fn natively(call: &Call, keys: &Keys, page: &[(StoredName, u64)]) -> Result<Option<Vec<Node>>> {
    let mut ends = redis::cmd("ZMSCORE");
    ends.arg(keys.nodes());
    let mut cmds = Vec::with_capacity(1 + page.len());
    for (name, _) in page {
        ends.arg(name);
        let mut lease = redis::cmd("GET");
        lease.arg(keys.lease(name));
        cmds.push(lease);
    }
    cmds.push(ends);
    let Some((now, mut leases)) = call.read_at_once(cmds).await? else {
        return Ok(None);
    };
    let ends: Option<Vec<Option<f64>>> =
        leases.pop_back().and_then(|ends| redis::from_redis_value(ends).ok());
    let Some(ends) = ends else { return Ok(None) };
    let mut nodes = Vec::new();
    for (((name, _), lease), end) in page.iter().zip(leases).zip(ends) {
        // A lease may be forgotten before its node, which stays listed as long as other nodes stay.
        let stands = match lease {
            Value::Nil => end.map(|end| (end as u64, false)),
            Value::BulkString(bytes) => match Lease::decode(&bytes) {
                Some(lease) => Some((lease.deadline, is_held(lease.deadline, lease.length, now))),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        nodes
            .extend(stands.and_then(|(lease_until_ms, is_live)| node(name.clone(), lease_until_ms, is_live)));
    }
    Ok(Some(nodes))
}

fn node(name: StoredName, lease_until_ms: u64, is_live: bool) -> Option<Node> {
    let Ok(name) = String::from_utf8(name) else {
        // No caller can name it. It is forgotten when its time is over.
        tracing::warn!("a node was skipped whose name is not valid text");
        return None;
    };
    Some(Node { name, lease_until_ms, is_live, sessions: 0 })
}
