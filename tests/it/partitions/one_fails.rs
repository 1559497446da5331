//! One partition with a key of a foreign type: the others go on, and the caller gets the error.

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::nodes::{Claim, Lease, LeaseOptions, Recoverer};
use cloakroom::{Error, NewSession, Result, Selector, Session, SessionId};

use super::{HOUR, spread};
use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::leases::register;
use crate::support::sessions::{create_many, ids};

const EVERY: Duration = Duration::from_millis(5);

/// What is corrupt.
fn corrupt<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Corrupt { what, .. }) => what.to_string(),
        other => panic!("not corrupt: {other:?}"),
    }
}

/// Puts a string where something else belongs in a partition, and tells which sessions are in others.
async fn plant(context: &Context, made: &[Session], of: u16, name: &str) -> BTreeSet<SessionId> {
    let partitions = context.partitions();
    let key = format!("{}:{name}", partitions.tag(of));
    context.command::<()>(&["SET", &key, "foreign"]).await;
    let others: BTreeSet<SessionId> =
        ids(made).into_iter().filter(|id| partitions.of(id.as_str()) != of).collect();
    assert!(others.len() < made.len(), "nothing is in the partition");
    others
}

async fn in_all_partitions(store: &Store, new: impl Fn(usize) -> NewSession) -> Vec<Session> {
    create_many(store, 160, new).await
}

#[tokio::test]
async fn what_has_expired_is_reaped_in_the_others_and_then_the_error_is_told() {
    let (context, store) = spread().await;
    let made = in_all_partitions(&store, |_| NewSession::new().ttl(HOUR)).await;
    context.clock.advance(HOUR);
    let others = plant(&context, &made, 5, "expiry").await;
    let mut reaped = BTreeSet::new();
    let error = loop {
        match store.reap(7).await {
            Ok(batch) => {
                assert!(batch.more, "it says that it is done");
                reaped.extend(ids(&batch.sessions));
            }
            error => break error,
        }
    };
    assert_eq!((corrupt(error).as_str(), reaped), ("expiry", others));
}

#[tokio::test]
async fn a_reaper_clears_the_others_away_and_counts_the_error() {
    let (context, store) = spread().await;
    let made = in_all_partitions(&store, |_| NewSession::new().ttl(HOUR)).await;
    context.clock.advance(HOUR);
    let others = plant(&context, &made, 0, "expiry").await;
    let reaper = Reaper::builder(store).every(EVERY).spawn().unwrap();
    eventually("the others are reaped", async || {
        let stats = reaper.stats();
        stats.removed == others.len() as u64 && stats.errors > 0
    })
    .await;
    reaper.stop().await;
}

#[tokio::test]
async fn a_claim_takes_the_sessions_of_the_others_and_tells_of_the_one() {
    for name in ["node:dead:sessions", "node:dead:lease", "nodes"] {
        let (context, store) = spread().await;
        let dead = register(&store, "dead").await;
        let mut made = Vec::new();
        for _ in 0..160 {
            made.push(store.as_node(&dead).create(NewSession::new()).await.unwrap().session);
        }
        context.lapse();
        register(&store, "live").await;
        let others = plant(&context, &made, 5, name).await;
        let (mut taken, mut failed, mut after) = (BTreeSet::new(), 0, None);
        loop {
            let mut claim = Claim::new("dead", "live");
            if let Some(after) = after {
                claim = claim.after(after);
            }
            let claimed = store.recover(claim).await.unwrap();
            taken.extend(claimed.sessions.into_iter().map(|session| session.id));
            failed += claimed.failed;
            after = claimed.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((taken, failed), (others, 1), "{name}");
    }
}

#[tokio::test]
async fn a_claim_of_named_sessions_takes_those_of_the_others() {
    let (context, store) = spread().await;
    let made = in_all_partitions(&store, |_| NewSession::new().node("one")).await;
    register(&store, "live").await;
    let others = plant(&context, &made, 5, "expiry").await;
    let claim = Claim::new("one", "live").even_if_leased().only(ids(&made));
    let claimed = store.recover(claim).await.unwrap();
    let taken: BTreeSet<SessionId> = claimed.sessions.into_iter().map(|session| session.id).collect();
    assert_eq!((taken, claimed.failed), (others, 1));
    let inside = made.iter().find(|session| context.partitions().of(session.id().as_str()) == 5).unwrap();
    let claim = Claim::new("one", "live").even_if_leased().only([inside.id().clone()]);
    assert_eq!(corrupt(store.recover(claim).await), "expiry");
}

#[tokio::test]
async fn a_recoverer_finds_dead_nodes_in_the_others_and_counts_the_error() {
    let (context, store) = spread().await;
    let dead = register(&store, "dead").await;
    let mut made = Vec::new();
    for _ in 0..160 {
        made.push(store.as_node(&dead).create(NewSession::new()).await.unwrap().session);
    }
    context.lapse();
    let options = LeaseOptions::new().length(Duration::from_secs(24 * 3600));
    let lease = Lease::acquire(store.clone(), "live", options).await.unwrap();
    let others = plant(&context, &made, 5, "nodes").await;
    assert_eq!(corrupt(store.nodes().await), "nodes");
    let recoverer = Recoverer::builder(store.clone(), &lease).every(EVERY).spawn().unwrap();
    eventually("the others are taken", async || {
        let stats = recoverer.stats();
        stats.recovered == others.len() as u64 && stats.errors > 0
    })
    .await;
    recoverer.stop().await;
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), others.len() as u64);
    lease.release().await;
}

#[tokio::test]
async fn what_is_on_its_way_is_found_in_the_others_and_then_the_error_is_told() {
    let (context, store) = spread().await;
    let made = create_many(&store, 60, |_| NewSession::new()).await;
    for session in &made {
        context.freeze(session.id()).await;
    }
    let others = plant(&context, &made, 5, "migrations").await;
    let (mut found, mut skip) = (BTreeSet::new(), 0);
    let error = loop {
        match store.migrations(skip, 3).await {
            Ok(page) => {
                found.extend(page.migrations.into_iter().map(|migration| migration.id));
                let next = page.next.expect("the error is not told");
                assert!(next > skip);
                skip = next;
            }
            error => break error,
        }
    };
    assert_eq!((corrupt(error).as_str(), found), ("migrations", others));
}

#[tokio::test]
async fn indexes_behind_a_gap_are_tidied_in_the_others() {
    let (context, store) = spread().await;
    let made = in_all_partitions(&store, |at| NewSession::new().user(format!("user-{at}")).ttl(HOUR)).await;
    context.clock.advance(HOUR);
    for session in &made {
        context.command::<()>(&["DEL", &context.record_key(session.id())]).await;
    }
    let others = plant(&context, &made, 5, "expiry").await;
    let users = async || {
        let keys = context.keys().await;
        keys.iter().filter(|key| key.contains(":user:")).count()
    };
    eventually("the others' are tidied", async || {
        drop(store.reap(200).await);
        users().await == made.len() - others.len()
    })
    .await;
}
