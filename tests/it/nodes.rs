//! nodes: which nodes there are, whether they hold their leases, and how many live sessions each has.
//!
//! It changes nothing, so twice is as once. Raced with `heartbeat`: a node that is renewed while the pages are read may be
//! read twice and is told once. A foreign type at a key: corrupt.

use std::time::Duration;

use cloakroom::nodes::{Heartbeat, Node, NodeIdentity};
use cloakroom::{NewSession, Rules};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::leases::{LEASE, register, session_at};

/// Name, whether it is live, sessions.
fn told(nodes: Vec<Node>) -> Vec<(String, bool, u64)> {
    nodes.into_iter().map(|node| (node.name, node.is_live, node.sessions)).collect()
}

#[rstest]
#[tokio::test]
async fn nodes_are_listed_by_name_with_their_live_sessions(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    assert!(store.nodes().await.unwrap().is_empty());
    register(&store, "b").await;
    context.lapse();
    register(&store, "a").await;
    session_at(&store, "a", "one").await;
    session_at(&store, "b", "two").await;
    session_at(&store, "b", "three").await;
    // It held no lease, so nobody looks after it.
    session_at(&store, "unknown", "four").await;
    let short = NewSession::new().node("b").ttl(Duration::from_millis(1));
    store.create(short).await.unwrap();
    context.clock.advance(Duration::from_millis(1));
    let before = context.dump().await;
    let nodes = store.nodes().await.unwrap();
    let now = context.clock.now_ms();
    let ends: Vec<u64> = nodes.iter().map(|node| node.lease_until_ms).collect();
    assert_eq!(ends, [now - 1 + LEASE.as_millis() as u64, now - 1]);
    assert_eq!(told(nodes), [("a".to_owned(), true, 1), ("b".to_owned(), false, 2)]);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["b"]);
    assert_eq!(context.dump().await, before, "a read changed something");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_lease_is_over_at_its_very_end(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "n").await;
    context.clock.advance(LEASE - Duration::from_millis(1));
    assert!(store.nodes().await.unwrap()[0].is_live);
    assert!(store.lapsed_nodes().await.unwrap().is_empty());
    context.clock.advance(Duration::from_millis(1));
    assert!(!store.nodes().await.unwrap()[0].is_live);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["n"]);
}

#[rstest]
#[tokio::test]
async fn more_nodes_than_a_page_has_are_all_listed(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut names = Vec::new();
    for number in 0..2100 {
        let name = format!("n{number:04}");
        // Two leases end in each millisecond, so a page ends between two.
        let length = LEASE + Duration::from_millis(number / 2);
        let holder = NodeIdentity::new(&name).unwrap();
        store.heartbeat(&holder, Heartbeat::register().lease(length)).await.unwrap();
        names.push(name);
    }
    let listed: Vec<String> = store.nodes().await.unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(listed, names);
    context.clock.advance(LEASE + Duration::from_millis(3));
    assert_eq!(store.lapsed_nodes().await.unwrap(), names[..8]);
}

#[tokio::test]
async fn something_foreign_at_a_key_is_corrupt_and_nothing_changes() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "n").await;
    session_at(&store, "n", "one").await;
    let nodes = context.key("nodes");
    assert_eq!(context.foreign_at(&nodes, store.nodes()).await, "nodes");
    assert_eq!(context.foreign_at(&nodes, store.lapsed_nodes()).await, "nodes");
    assert_eq!(context.foreign_at(&context.node_key("n"), store.nodes()).await, "owner");
}

#[tokio::test]
async fn a_node_whose_name_is_no_text_is_passed_over() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let mut planting = redis::cmd("ZADD");
    planting.arg(context.key("nodes")).arg(1).arg(b"\xff");
    let _: i64 = planting.query_async(&mut context.raw()).await.unwrap();
    register(&store, "n").await;
    let _: i64 = planting.query_async(&mut context.raw()).await.unwrap();
    let names: Vec<String> = store.nodes().await.unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["n"]);
    assert!(store.lapsed_nodes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_is_none_of_ours_is_corrupt_and_one_that_is_gone_is_over() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "n").await;
    let until = store.nodes().await.unwrap()[0].lease_until_ms;
    let lease = context.key("node:n:lease");
    let stored = context.string(&lease).await.unwrap();
    context.command::<()>(&["SET", &lease, "garbage"]).await;
    let error = store.nodes().await.unwrap_err();
    assert!(
        matches!(&error, cloakroom::Error::Corrupt { what } if what == "listed_lease of \"n\""),
        "{error:?}"
    );
    let _: i64 = context.command(&["DEL", &lease]).await;
    assert_eq!(context.foreign_at(&lease, store.nodes()).await, "listed_lease of \"n\"");
    let _: i64 = context.command(&["DEL", &lease]).await;
    let nodes = store.nodes().await.unwrap();
    assert_eq!((nodes[0].lease_until_ms, nodes[0].is_live), (until, false));
    let mut set = redis::cmd("SET");
    let _: () = set.arg(&lease).arg(stored).query_async(&mut context.raw()).await.unwrap();
    assert!(store.nodes().await.unwrap()[0].is_live);
}
