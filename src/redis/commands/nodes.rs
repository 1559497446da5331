//! nodes: the nodes that are registered, and how their leases stand.

use std::collections::BTreeMap;

use crate::model::{Node, NodeFilter, Result};
use crate::redis::call::Call;
use crate::redis::script;

/// How many nodes a full page has.
const NODES_PER_SCRIPT: usize = 1000;

/// The nodes by name, without their sessions, which is another operation.
pub(crate) async fn run(call: &Call, which: NodeFilter) -> Result<Vec<Node>> {
    let keys = [call.keys().nodes()];
    let mut nodes = BTreeMap::new();
    let mut from = 0;
    loop {
        let mut cmd = call.evalsha(&script::NODES, keys.iter());
        cmd.arg(from).arg(if which == NodeFilter::All { "all" } else { "lapsed" });
        let mut reply = call.run(&script::NODES, || cmd.clone()).await?.expect_ok()?;
        let now = reply.number()?;
        let (mut read, mut last) = (0, from);
        while !reply.is_empty() {
            let (name, until) = (reply.bytes()?, reply.number()?);
            (read, last) = (read + 1, until);
            let Ok(name) = String::from_utf8(name) else {
                // Nobody can name it; it is forgotten when its time is over.
                tracing::warn!("a node is passed over whose name is no text");
                continue;
            };
            let is_live = until > now;
            let node = Node { name: name.clone(), lease_until_ms: until, is_live, sessions: 0 };
            // One whose lease was renewed between two pages comes again.
            nodes.insert(name, node);
        }
        if read < NODES_PER_SCRIPT {
            return Ok(nodes.into_values().collect());
        }
        // A whole page of one millisecond: what else ended in it is not seen this time.
        from = if last > from { last } else { last + 1 };
    }
}
