//! Events with several servers: the slot of a stream moves, and another server becomes the master.

use cloakroom::{RedisStore, SessionStore as _};

use super::*;
use crate::support::cluster::Cluster;
use crate::support::sentinels::Watched;

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_read_wherever_their_slots_are_and_behind_one_that_moves() {
    let cluster = Cluster::start().await;
    let builder = RedisStore::builder(cluster.url()).namespace("told").partitions(16).rules(telling());
    let store = builder.deadline(Duration::from_secs(20)).build().await.unwrap();
    let mut events = store.events(EventsFrom::Now).await.unwrap();
    let create_all = async || {
        for nth in 0..16 {
            store.create(NewSession::new().user(format!("user-{nth}"))).await.unwrap();
        }
    };
    let users_told = async |events: &mut EventStream| {
        let mut users = Vec::new();
        for _ in 0..16 {
            users.push(next(events).await.user.unwrap());
        }
        users.sort();
        users
    };
    let mut all: Vec<String> = (0..16).map(|nth| format!("user-{nth}")).collect();
    all.sort();
    create_all().await;
    assert_eq!(users_told(&mut events).await, all);

    let slot = cluster.slot("{told:0}:events").await;
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    cluster.begin_to_move(slot, from, to).await;
    // Nobody writes there until it has moved: new keys are not served.
    while cluster.move_keys(slot, from, to, 10).await > 0 {}
    cluster.end_move(slot, to, from).await;
    create_all().await;
    assert_eq!(users_told(&mut events).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_at_the_next_master_and_is_told_if_that_lacks_what_it_has_read() {
    let mut watched = Watched::start().await;
    let builder = RedisStore::builder(watched.url()).namespace("t").rules(telling());
    let store = builder.deadline(Duration::from_secs(20)).build().await.unwrap();
    let mut events = store.events(EventsFrom::Now).await.unwrap();
    let first = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(next(&mut events).await.id, *first.id());
    watched.servers[0].kill().await;
    watched.switched().await;
    let second = store.create(NewSession::new()).await.unwrap().session;
    loop {
        match tokio::time::timeout(Duration::from_secs(20), events.next()).await {
            // The first may be told again, or be lost.
            Ok(Some(Told::Event(event))) if event.id == *second.id() => break,
            Ok(Some(Told::Event(event))) => assert_eq!(event.id, *first.id()),
            Ok(Some(Told::Lagged { partition: 0 })) => {}
            other => panic!("{other:?}"),
        }
    }
}
