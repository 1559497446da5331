//! A node emptied into the other store.

use std::time::Duration;

use cloakroom::migration::Destination;
use cloakroom::{Error, NewSession, Selector};
use rstest::rstest;

use super::World;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::sessions::create_many;

#[rstest]
#[tokio::test]
async fn a_drained_node_has_no_session_left_and_the_other_store_has_them_all(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let world = World::new(on, on).await;
    let new = |number: usize| {
        let node = if number < 250 { "leaves" } else { "stays" };
        NewSession::new().user(format!("user-{}", number % 7)).node(node).connection(format!("c-{number}"))
    };
    create_many(&world.local, 260, new).await;
    let manager = world.manager();
    let mut drain = manager.drain_node("leaves", Destination::Remote, 1_000_000).unwrap();
    let progress = drain.done().await.unwrap();
    assert_eq!((progress.moved, progress.failed, progress.missing), (250, 0, 0));
    assert!(progress.is_done);
    manager.close().await;
    for (store, node, count) in
        [(&world.local, "leaves", 0), (&world.local, "stays", 10), (&world.remote, "leaves", 250)]
    {
        assert_eq!(store.count(&Selector::node(node)).await.unwrap(), count, "{node}");
    }
    world.is_settled().await;
}

#[tokio::test]
async fn a_drain_keeps_to_its_rate_and_ends_with_its_handle() {
    let world = World::new(Memory, Memory).await;
    create_many(&world.local, 40, |_| NewSession::new().node("n")).await;
    let manager = world.manager();
    // In memory there is nothing to wait for but the time, which jumps from one timer to the next.
    tokio::time::pause();
    let drain = manager.drain_node("n", Destination::Remote, 100).unwrap();
    for submitted in [10, 20, 30] {
        tokio::time::sleep(Duration::from_millis(if submitted == 10 { 95 } else { 100 })).await;
        assert_eq!(drain.progress().submitted, submitted, "the first at once, and then a hundred a second");
    }
    drop(drain);
    tokio::time::resume();
    manager.close().await;
    assert_eq!(world.local.count(&Selector::node("n")).await.unwrap(), 10, "it went on");
    world.is_settled().await;
}

#[tokio::test]
async fn a_drain_whose_sessions_do_not_move_ends_and_says_so() {
    let world = World::new(Memory, Memory).await;
    create_many(&world.local, 3, |number| NewSession::new().node("n").connection(format!("c-{number}")))
        .await;
    world.remote.create(NewSession::new().connection("c-1")).await.unwrap();
    let manager = world.manager();
    let mut drain = manager.drain_node("n", Destination::Remote, 1000).unwrap();
    let progress = drain.done().await.unwrap();
    assert_eq!(progress.moved, 2);
    assert!(progress.failed >= 1);
    assert_eq!(world.local.count(&Selector::node("n")).await.unwrap(), 1);
    for (node, rate) in [("", 1), ("n", 0)] {
        let refused = manager.drain_node(node, Destination::Remote, rate);
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
}
