//! nodes: lists the registered nodes and their leases.

use crate::memory::call::Call;
use crate::memory::ops::count;
use crate::model::{Node, NodeFilter, Result, Selector};

pub(crate) fn run(call: &Call<'_>, which: NodeFilter) -> Result<Vec<Node>> {
    let now = call.now;
    let mut nodes = call.another().reaching_all().settle(|_, locked| {
        let leases = locked.shards().flat_map(|shard| &shard.leases);
        let nodes = leases.map(|(name, lease)| Node {
            name: name.as_ref().to_owned(),
            lease_until_ms: lease.deadline,
            is_live: lease.is_live(now),
            sessions: 0,
        });
        Ok(nodes.filter(|node| which == NodeFilter::All || !node.is_live).collect::<Vec<_>>())
    })?;
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(nodes)
}

/// The same with how many live sessions each has.
pub(crate) fn counted(call: &Call<'_>) -> Result<Vec<Node>> {
    let mut nodes = run(call, NodeFilter::All)?;
    for node in &mut nodes {
        node.sessions = count::run(call, &Selector::node(&node.name))?;
    }
    Ok(nodes)
}
