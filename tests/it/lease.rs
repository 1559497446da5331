//! A lease and the task that renews it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::nodes::{Heartbeat, HeartbeatReply, Lease, LeaseOptions, LeaseState};
use cloakroom::{Refusal, Rules};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store, eventually};
use crate::support::expect::refusal;
use crate::support::hooked::Hooked;

/// Far longer than a test takes: it is lost by what the store says, not by time.
const LONG: Duration = Duration::from_secs(3600);

fn options(length: Duration) -> LeaseOptions {
    LeaseOptions::new().length(length)
}

async fn hooked(context: &Context) -> (Hooked, Store) {
    let hooked = Hooked::new(context.store(Rules::new()).await);
    (hooked.clone(), Arc::new(hooked))
}

#[rstest]
#[tokio::test]
async fn a_lease_is_held_until_it_is_released_and_then_another_holds_the_node(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let lease = Lease::acquire(store.clone(), "n", options(LONG)).await.unwrap();
    assert!(lease.is_held());
    assert_eq!(lease.identity().node(), "n");
    let taken = refusal(Lease::acquire(store.clone(), "n", options(LONG)).await);
    assert!(matches!(taken, Refusal::Leased { .. }), "{taken:?}");
    lease.release().await;
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["n"]);
    Lease::acquire(store.clone(), "n", options(LONG)).await.unwrap().release().await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn dropping_the_handle_releases_the_lease(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    drop(Lease::acquire(store.clone(), "n", options(LONG)).await.unwrap());
    eventually("it is released", async || store.lapsed_nodes().await.unwrap() == ["n"]).await;
}

#[rstest]
#[tokio::test]
async fn a_lease_is_renewed_again_and_again(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let (hooked, store) = hooked(&context).await;
    // So long that a busy machine does not lose it.
    let lease = Lease::acquire(store.clone(), "n", options(Duration::from_secs(6))).await.unwrap();
    let beats = Cell::new(0);
    eventually("it was renewed twice", async || {
        beats.set(beats.get() + hooked.take_calls().len());
        beats.get() >= 3
    })
    .await;
    assert!(lease.is_held());
    lease.release().await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_lease_that_ran_out_by_the_clock_of_the_store_is_lost_for_good(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let length = Duration::from_secs(3);
    let lease = Lease::acquire(store.clone(), "n", options(length)).await.unwrap();
    context.clock.advance(length);
    tokio::time::timeout(Duration::from_secs(30), lease.lost()).await.unwrap();
    assert_eq!(lease.state(), LeaseState::Lost);
    let renewed = store.heartbeat(lease.identity(), Heartbeat::renew()).await.unwrap();
    assert_eq!(renewed, HeartbeatReply::Lost);
    let another = Lease::acquire(store.clone(), "n", options(LONG)).await.unwrap();
    assert!(!lease.is_held() && another.is_held());
    // What was lost is not the other's to release.
    lease.release().await;
    assert!(store.nodes().await.unwrap()[0].is_live);
    another.release().await;
}

#[tokio::test]
async fn a_lease_is_not_given_up_before_its_time_is_over_however_often_it_cannot_be_renewed() {
    const FAILURES: usize = 100;
    let context = Context::memory(usize::MAX);
    let (hooked, store) = hooked(&context).await;
    let lease = Lease::acquire(store.clone(), "n", options(LONG)).await.unwrap();
    hooked.take_calls();
    for _ in 0..FAILURES {
        hooked.lose_answer("heartbeat");
    }
    // The pauses between renewals are over at once. The lease's own time is that of the machine.
    tokio::time::pause();
    let mut beats = 0;
    while beats <= FAILURES {
        assert!(lease.is_held(), "it was given up after {beats} failures");
        tokio::time::sleep(LONG).await;
        beats += hooked.take_calls().len();
    }
    tokio::time::resume();
    assert!(lease.is_held());
    lease.release().await;
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_lost_when_its_time_is_over() {
    let context = Context::redis().await;
    let (hooked, store) = hooked(&context).await;
    let lease = Lease::acquire(store.clone(), "n", options(Duration::from_secs(2))).await.unwrap();
    hooked.away_after(0);
    tokio::time::timeout(Duration::from_secs(30), lease.lost()).await.unwrap();
    assert!(!lease.is_held());
    hooked.back();
    assert!(!lease.is_held(), "it comes back to life");
}

#[tokio::test]
async fn a_renewal_that_hangs_does_not_keep_a_lease_beyond_its_time() {
    let context = Context::redis().await;
    let (hooked, store) = hooked(&context).await;
    let lease = Lease::acquire(store.clone(), "n", options(Duration::from_secs(1))).await.unwrap();
    let gate = hooked.stop_before("heartbeat");
    gate.reached().await;
    tokio::time::timeout(Duration::from_secs(30), lease.lost()).await.unwrap();
    assert!(!lease.is_held());
    gate.open();
}

#[rstest]
#[tokio::test]
async fn a_lease_with_a_bad_name_or_length_is_refused(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let error = Lease::acquire(store.clone(), "", options(LONG)).await.unwrap_err();
    assert_eq!(error.to_string(), "node id is empty");
    let error = Lease::acquire(store.clone(), "n", options(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.to_string(), "lease is 0ns, must be 1ms to 86400s");
    assert!(context.keys().await.is_empty());
}
