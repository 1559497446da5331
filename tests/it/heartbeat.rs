//! heartbeat: registers, renews or releases a node's lease.
//!
//! Twice: the same state, by the time of the second; a release answers the same. Raced: of two processes that register
//! one node, one holds it and the other learns that; for `recover` see there. A foreign type at a key: corrupt,
//! nothing changed.

use std::time::Duration;

use cloakroom::nodes::{Heartbeat, HeartbeatReply, NodeIdentity};
use cloakroom::{Error, Rules};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::leases::{LEASE, register};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MS: Duration = Duration::from_millis(1);

fn held(context: &Context, from_now: Duration) -> HeartbeatReply {
    HeartbeatReply::Held { until_ms: until(context, from_now) }
}

fn until(context: &Context, from_now: Duration) -> u64 {
    context.clock.now_ms() + u64::try_from(from_now.as_millis()).unwrap()
}

async fn beat(store: &Store, holder: &NodeIdentity, beat: Heartbeat) -> HeartbeatReply {
    store.heartbeat(holder, beat.lease(LEASE)).await.unwrap()
}

/// A call that is answered so and changes nothing.
async fn assert_idle(
    context: &Context,
    store: &Store,
    holder: &NodeIdentity,
    with: Heartbeat,
    answer: HeartbeatReply,
) {
    let before = context.dump().await;
    assert_eq!(beat(store, holder, with).await, answer);
    assert_eq!(context.dump().await, before, "a refused call changed something");
}

#[rstest]
#[tokio::test]
async fn a_node_that_registers_holds_its_lease_for_its_length(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let holder = NodeIdentity::new("n").unwrap();
    assert_eq!(beat(&store, &holder, Heartbeat::register()).await, held(&context, LEASE));
    assert_eq!(context.leases().await, [("n".to_owned(), until(&context, LEASE))]);
    let lease = context.string(&context.lease_key("n")).await.unwrap();
    assert_eq!(lease[8..16], until(&context, LEASE).to_be_bytes());
    assert_eq!(lease[16..], (LEASE.as_millis() as u64).to_be_bytes());
    assert_eq!(
        context.keys().await,
        [context.lease_key("n"), context.key("nodes"), context.key("nodes:kept")]
    );
    context.assert_ttl(&context.lease_key("n"), LEASE + DAY).await;
    context.assert_ttl(&context.key("nodes"), LEASE + DAY * 2).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_that_is_held_is_taken_for_another_lease_and_nothing_changes(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "n").await;
    let taken = HeartbeatReply::HeldByAnother { until_ms: until(&context, LEASE) };
    context.clock.advance(LEASE - MS);
    let other = NodeIdentity::new("n").unwrap();
    assert_idle(&context, &store, &other, Heartbeat::register(), taken).await;
    assert_idle(&context, &store, &other, Heartbeat::renew(), HeartbeatReply::Lost).await;
    assert_idle(&context, &store, &other, Heartbeat::release(), HeartbeatReply::Lost).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_lease_is_renewed_until_the_millisecond_before_its_end_and_never_later(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let holder = register(&store, "n").await;
    context.clock.advance(LEASE - MS);
    assert_eq!(beat(&store, &holder, Heartbeat::renew()).await, held(&context, LEASE));
    assert_eq!(context.leases().await, [("n".to_owned(), until(&context, LEASE))]);
    context.clock.advance(LEASE);
    assert_idle(&context, &store, &holder, Heartbeat::renew(), HeartbeatReply::Lost).await;
    // Not by registering either: what was sent under it before must stay refused.
    assert_idle(&context, &store, &holder, Heartbeat::register(), HeartbeatReply::Lost).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_whose_lease_ran_out_is_registered_anew_and_the_old_lease_stays_lost(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let old = register(&store, "n").await;
    context.lapse();
    let new = register(&store, "n").await;
    for late in [Heartbeat::renew(), Heartbeat::release()] {
        assert_idle(&context, &store, &old, late, HeartbeatReply::Lost).await;
    }
    let taken = HeartbeatReply::HeldByAnother { until_ms: until(&context, LEASE) };
    assert_idle(&context, &store, &old, Heartbeat::register(), taken).await;
    assert_eq!(beat(&store, &new, Heartbeat::renew()).await, held(&context, LEASE));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_call_that_comes_twice_holds_the_lease_from_the_second(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let holder = register(&store, "n").await;
    for again in [Heartbeat::register(), Heartbeat::renew(), Heartbeat::renew()] {
        context.clock.advance(MS);
        assert_eq!(beat(&store, &holder, again).await, held(&context, LEASE));
    }
    assert_eq!(context.leases().await.len(), 1);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_lease_that_is_released_ends_now_and_a_second_release_answers_the_same(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let holder = register(&store, "n").await;
    let ended = held(&context, MS);
    context.clock.advance(MS);
    assert_eq!(beat(&store, &holder, Heartbeat::release()).await, ended);
    context.assert_ttl(&context.lease_key("n"), DAY).await;
    let before = context.dump().await;
    context.clock.advance(MS);
    assert_eq!(beat(&store, &holder, Heartbeat::release()).await, ended);
    assert_eq!(context.dump().await, before);
    assert_eq!(beat(&store, &holder, Heartbeat::renew()).await, HeartbeatReply::Lost);
    register(&store, "n").await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_goes_from_the_list_when_its_lease_has_been_over_for_long_enough(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "old").await;
    context.clock.advance(LEASE + DAY - MS);
    register(&store, "new").await;
    assert_eq!(context.leases().await.len(), 2);
    context.clock.advance(MS);
    let other = NodeIdentity::new("other").unwrap();
    beat(&store, &other, Heartbeat::register()).await;
    let names: Vec<String> = context.leases().await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["new", "other"]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_register_one_node_at_once_one_holds_it(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let attempts = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(
            async move { beat(&store, &NodeIdentity::new("n").unwrap(), Heartbeat::register()).await },
        )
    });
    let mut statuses = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        statuses.push(attempt.await.unwrap());
    }
    let until_ms = until(&context, LEASE);
    let held = statuses.iter().filter(|status| **status == HeartbeatReply::Held { until_ms }).count();
    let taken =
        statuses.iter().filter(|status| **status == HeartbeatReply::HeldByAnother { until_ms }).count();
    assert_eq!((held, taken), (1, 19));
    context.check().await;
}

#[tokio::test]
async fn something_foreign_at_a_key_is_corrupt_and_nothing_changes() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let holder = register(&store, "n").await;
    for (key, named) in [
        (context.lease_key("n"), "lease"),
        (context.key("nodes"), "nodes"),
        (context.key("nodes:kept"), "kept"),
    ] {
        for with in [Heartbeat::register(), Heartbeat::renew(), Heartbeat::release()] {
            let call = async || store.heartbeat(&holder, with.clone()).await;
            assert_eq!(context.foreign_at(&key, call()).await, named);
        }
    }
    let key = context.lease_key("n");
    let _: () = context.command(&["SET", &key, "fifteen bytes!!", "PX", "60000"]).await;
    let before = context.dump().await;
    let error = store.heartbeat(&holder, Heartbeat::renew()).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { what } if what == "lease"), "{error:?}");
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn bad_times_and_names_are_refused_with_their_limits(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let holder = NodeIdentity::new(&"é".repeat(128)).unwrap();
    let too_long = DAY + MS;
    for (beat, expected) in [
        (Heartbeat::register().lease(Duration::ZERO), "lease is 0ns, must be 1ms to 86400s"),
        (Heartbeat::renew().lease(too_long), "lease is 86400.001s, must be 1ms to 86400s"),
        (Heartbeat::register().keep(MS), "keep is 1ms, must be 1s to 315360000s"),
    ] {
        assert_eq!(store.heartbeat(&holder, beat).await.unwrap_err().to_string(), expected);
    }
    assert_eq!(NodeIdentity::new("").unwrap_err().to_string(), "node id is empty");
    let long = NodeIdentity::new(&"x".repeat(257)).unwrap_err().to_string();
    assert_eq!(long, "node id is 257 bytes, at most 256");
    assert!(context.keys().await.is_empty());
    assert_eq!(beat(&store, &holder, Heartbeat::register()).await, held(&context, LEASE));
    assert_eq!(format!("{holder:?}"), format!("NodeIdentity {{ node: {:?}, .. }}", "é".repeat(128)));
}
