//! The owners of a cluster's slots.

use std::sync::Arc;

use redis::{RedisResult, Value};

use crate::redis::transport::address::Address;
use crate::redis::transport::node::Node;
use crate::stored::slot::{SLOTS, Slot};

/// Marks a slot that no node owns.
const NOBODY: u16 = u16::MAX;

/// The masters of a cluster, and the slots of each.
#[derive(Clone, Debug)]
pub(crate) struct SlotMap {
    masters: Vec<Arc<Node>>,
    /// For each slot, the position of its owner in the list of masters.
    owners: Box<[u16]>,
}

impl Default for SlotMap {
    fn default() -> Self {
        Self { masters: Vec::new(), owners: vec![NOBODY; SLOTS.into()].into() }
    }
}

impl SlotMap {
    pub(crate) fn new(ranges: Vec<Range>, mut node_at: impl FnMut(Address) -> Arc<Node>) -> Self {
        let mut map = Self::default();
        for Range { first, last, master } in ranges {
            let at = map.place_of(node_at(master));
            map.owners[usize::from(first)..=usize::from(last)].fill(at);
        }
        map
    }

    pub(crate) fn owner(&self, slot: Slot) -> Option<&Arc<Node>> {
        self.masters.get(usize::from(self.owners[usize::from(slot.0)]))
    }

    pub(crate) fn masters(&self) -> &[Arc<Node>] {
        &self.masters
    }

    /// Whether each slot has the same owner, whatever the order of the masters.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.masters.len() == other.masters.len()
            && (0..SLOTS).map(Slot).all(|slot| self.address(slot) == other.address(slot))
    }

    fn address(&self, slot: Slot) -> Option<&Address> {
        self.owner(slot)?.address.as_ref()
    }

    /// Sets another owner for a slot.
    pub(crate) fn set(&mut self, slot: Slot, owner: Arc<Node>) {
        self.owners[usize::from(slot.0)] = self.place_of(owner);
    }

    fn place_of(&mut self, node: Arc<Node>) -> u16 {
        let known = self.masters.iter().position(|known| known.address == node.address);
        let at = known.unwrap_or_else(|| {
            self.masters.push(node);
            self.masters.len() - 1
        });
        u16::try_from(at).unwrap_or(NOBODY)
    }
}

/// A range of slots of one master, both ends included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u16,
    last: u16,
    master: Address,
}

impl Range {
    /// Reads a node's reply to CLUSTER SLOTS. A range whose master's address the node does not know has no
    /// owner.
    pub(crate) fn all_of(reply: Value, node: &Address) -> RedisResult<Vec<Self>> {
        let ranges: Vec<Vec<Value>> = redis::from_redis_value(reply)?;
        let range = |parts: Vec<Value>| {
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else {
                return None;
            };
            let host = match master.first()? {
                Value::Nil => String::new(),
                host => redis::from_redis_value_ref(host).ok()?,
            };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            let port: u16 = redis::from_redis_value_ref(master.get(1)?).ok()?;
            let is_good = first <= last && last < SLOTS && host != "?";
            let host = if host.is_empty() { node.host.clone() } else { host };
            is_good.then_some(Self { first, last, master: Address { host, port } })
        };
        Ok(ranges.into_iter().filter_map(range).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".into())])
    }

    #[test]
    fn ranges_are_read_with_their_masters_and_what_a_node_does_not_know_is_left_out() {
        let node = Address { host: "here".to_owned(), port: 1 };
        let named = |host: &str| Value::BulkString(host.into());
        let range = |first, last, master| Value::Array(vec![Value::Int(first), Value::Int(last), master]);
        let reply = Value::Array(vec![
            range(0, 99, master(named("one"), 7000)),
            range(100, 199, master(Value::Nil, 7001)),
            range(200, 299, master(named(""), 7002)),
            range(300, 399, master(named("?"), 7003)),
            range(500, 16384, master(named("two"), 7004)),
        ]);
        let ranges = Range::all_of(reply, &node).unwrap();
        let found: Vec<_> = ranges
            .iter()
            .map(|range| (range.first, range.last, &*range.master.host, range.master.port))
            .collect();
        assert_eq!(found, [(0, 99, "one", 7000), (100, 199, "here", 7001), (200, 299, "here", 7002)]);
    }
}
