//! The server's clock is set back, or was ahead for a while: calls correct the times that were written
//! meanwhile.

use std::time::Duration;

use cloakroom::migration::{Direction, Freezing, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, HeartbeatReply, NodeIdentity};
use cloakroom::{Binding, NewSession, Patch, Refusal, Rules};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{ms, refusal};
use crate::support::leases::{LEASE, register, session_at};
use crate::support::sessions::create_many;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TTL: Duration = Duration::from_secs(30 * 60);

#[rstest]
#[tokio::test]
async fn a_session_that_was_made_three_days_ahead_lives_for_its_ttl_from_its_next_use_on(
    #[values(Redis, Spread, Memory)] on: On,
    #[values(Duration::ZERO, MINUTE)] touch: Duration,
    #[values(false, true)] whole: bool,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().touch_interval(touch)).await;
    let now = context.clock.now_ms();
    context.clock.advance(3 * DAY);
    let session = context.session(&store, "a").await;
    context.set_back(3 * DAY);
    assert!(session.expires_at_ms() > now + ms(3 * DAY));
    let expires_at_ms = if whole {
        store.refresh_and_get(&session).await.unwrap().unwrap().expires_at_ms()
    } else {
        let refreshed = store.refresh(&session).await.unwrap().unwrap();
        assert_eq!((refreshed.changed, refreshed.last_active_ms), (true, now));
        refreshed.expires_at_ms
    };
    assert_eq!(expires_at_ms, now + ms(TTL));
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!((stored.last_active, stored.expires_at), (now, now + ms(TTL)));
    assert_eq!(stored.stored_until, now + ms(TTL + HOUR));
    context.assert_ttl(&context.record_key(session.id()), TTL + HOUR).await;
    context.check().await;
    // And the touch interval runs by the clock that there is.
    context.clock.advance(touch / 2);
    let again = store.refresh(&session).await.unwrap().unwrap();
    assert_eq!((again.changed, again.last_active_ms), (touch.is_zero(), now));
    context.clock.advance(TTL - touch / 2);
    assert_eq!(store.refresh(&session).await.unwrap(), None);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_clock_that_goes_back_by_less_than_the_touch_interval_makes_nobody_write(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().touch_interval(MINUTE)).await;
    let session = context.session(&store, "a").await;
    context.set_back(MINUTE - Duration::from_millis(1));
    let before = context.dump().await;
    assert!(!store.refresh(&session).await.unwrap().unwrap().changed);
    assert_eq!(context.dump().await, before);
    context.set_back(Duration::from_millis(1));
    assert!(store.refresh(&session).await.unwrap().unwrap().changed);
    assert_eq!(context.stored(session.id()).await.unwrap().last_active, context.clock.now_ms());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_that_was_extended_ahead_is_brought_back_but_never_past_its_deadline(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0).max_lifetime(40 * MINUTE)).await;
    let session = context.session(&store, "a").await;
    let now = context.clock.now_ms();
    context.clock.advance(20 * MINUTE);
    assert_eq!(store.refresh(&session).await.unwrap().unwrap().expires_at_ms, now + ms(40 * MINUTE));
    context.set_back(19 * MINUTE);
    let refreshed = store.refresh(&session).await.unwrap().unwrap();
    assert_eq!(refreshed.expires_at_ms, now + ms(MINUTE + TTL));
    context.clock.advance(15 * MINUTE);
    assert_eq!(store.refresh(&session).await.unwrap().unwrap().expires_at_ms, now + ms(40 * MINUTE));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_new_ttl_begins_by_the_clock_that_there_is(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    context.clock.advance(DAY);
    let (patched, mut saved) = (context.session(&store, "a").await, context.session(&store, "b").await);
    context.set_back(DAY);
    let now = context.clock.now_ms();
    store.patch(&patched, Patch::new().ttl(HOUR)).await.unwrap();
    saved.set_ttl(HOUR);
    store.update(&mut saved).await.unwrap();
    for session in [&patched, &saved] {
        let stored = context.stored(session.id()).await.unwrap();
        assert_eq!((stored.last_active, stored.expires_at), (now, now + ms(HOUR)));
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_a_recovered_session_was_given_to_come_back_is_not_too_far_off(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    register(&store, "dead").await;
    let session = session_at(&store, "dead", "s").await;
    context.lapse();
    register(&store, "live").await;
    let now = context.clock.now_ms();
    assert_eq!(store.recover(Claim::new("dead", "live").reconnect(HOUR)).await.unwrap().sessions.len(), 1);
    let waiting = store.refresh(session.id()).await.unwrap().unwrap();
    assert_eq!(waiting.expires_at_ms, now + ms(HOUR), "a late call of the old node takes nothing from it");
    store.bind(session.id(), Binding::new("other").node("live")).await.unwrap();
    let back = store.refresh(session.id()).await.unwrap().unwrap();
    assert_eq!(back.expires_at_ms, now + ms(MINUTE), "its client is back");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_freeze_that_began_by_a_clock_that_was_set_back_since_is_over(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let (task, span) = (TaskId::random(), Duration::from_secs(30));
    let frozen = store.freeze(&session, Freezing::new(task, "there").span(span)).await.unwrap();
    assert_eq!(refusal(store.refresh(&session).await), Refusal::Frozen);
    context.set_back(HOUR);
    assert_eq!(store.get(session.id()).await.unwrap(), Some(session.clone()));
    assert_eq!(store.migration(session.id()).await.unwrap(), None);
    let version = session.version();
    let departed = store.depart(&session, task, frozen.until_ms).await;
    assert_eq!(refusal(departed), Refusal::Conflict { current: version });
    store.patch(&session, Patch::new().set("color", "red").unwrap()).await.unwrap();
    // It is over for good, though the clock come into its time again.
    context.clock.advance(HOUR);
    assert!(store.depart(&session, task, frozen.until_ms).await.is_err());
    assert!(!store.thaw(session.id(), task, Direction::Outgoing).await.unwrap());
    assert!(store.refresh(&session).await.unwrap().is_some());
    assert!(store.migrations(0, 10).await.unwrap().migrations.is_empty());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_freeze_whose_clock_is_set_back_within_its_length_lasts_no_longer_than_that(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    let freezing = Freezing::new(TaskId::random(), "there").span(Duration::from_secs(30));
    store.freeze(&session, freezing).await.unwrap();
    context.clock.advance(Duration::from_secs(20));
    context.set_back(Duration::from_secs(20));
    assert_eq!(refusal(store.refresh(&session).await), Refusal::Frozen);
    context.clock.advance(Duration::from_secs(30));
    assert!(store.refresh(&session).await.unwrap().is_some());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_lease_that_was_renewed_by_a_clock_that_was_set_back_since_is_over(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let dead = register(&store, "dead").await;
    let session = session_at(&store, "dead", "s").await;
    context.set_back(HOUR);
    register(&store, "live").await;
    let nodes = store.nodes().await.unwrap();
    let told: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.is_live)).collect();
    assert_eq!(told, [("dead", false), ("live", true)]);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["dead"]);
    let late = store.as_node(&dead).patch(&session, Patch::new().set("color", "red").unwrap()).await;
    assert_eq!(refusal(late), Refusal::Fenced);
    let renewed = store.heartbeat(&dead, Heartbeat::renew().lease(LEASE)).await.unwrap();
    assert_eq!(renewed, HeartbeatReply::Lost);
    assert_eq!(store.recover(Claim::new("dead", "live")).await.unwrap().sessions.len(), 1);
    let anew = NodeIdentity::new("dead").unwrap();
    let until_ms = context.clock.now_ms() + ms(LEASE);
    let registered = store.heartbeat(&anew, Heartbeat::register().lease(LEASE)).await.unwrap();
    assert_eq!(registered, HeartbeatReply::Held { until_ms });
    assert!(store.lapsed_nodes().await.unwrap().is_empty());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_lease_whose_clock_is_set_back_within_its_length_is_held(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let holder = register(&store, "n").await;
    context.clock.advance(LEASE / 2);
    context.set_back(LEASE / 2);
    assert!(store.nodes().await.unwrap()[0].is_live);
    let until_ms = context.clock.now_ms() + ms(LEASE);
    let renewed = store.heartbeat(&holder, Heartbeat::renew().lease(LEASE)).await.unwrap();
    assert_eq!(renewed, HeartbeatReply::Held { until_ms });
    context.set_back(Duration::from_millis(1));
    assert!(!store.nodes().await.unwrap()[0].is_live, "its end is further off than it is long");
}

#[rstest]
#[tokio::test]
async fn a_log_out_everywhere_ends_what_was_made_ahead_too(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    context.clock.advance(DAY);
    create_many(&store, 450, |_| NewSession::new().user("ann")).await;
    context.set_back(DAY);
    assert_eq!(store.delete_user("ann", None).await.unwrap().removed.len(), 450);
    assert_eq!(store.count(&cloakroom::Selector::user("ann")).await.unwrap(), 0);
    context.check().await;
}
