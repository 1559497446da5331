//! refresh: records a use of a live session, and extends it when enough of its idle time has passed.

mod by_read;

use std::time::Duration;

use cloakroom::{NewSession, Patch, Refusal, Rotation, Rules, Session};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::context::{On, Store};
use crate::support::expect::{ms, refusal, session_id};

const MINUTE: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(60 * 60);

/// Refreshes after a time, and checks the reply against the record and the expiry index. Returns whether it was
/// changed, and how long ago the session was used and how long it has to live, by its record.
async fn after(context: &Context, store: &Store, session: &Session, by: Duration) -> (bool, u64, u64) {
    context.clock.advance(by);
    let refreshed = store.refresh(session).await.unwrap().unwrap();
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!(
        (&refreshed.id, refreshed.version.get(), refreshed.last_active_ms, refreshed.expires_at_ms),
        (session.id(), stored.version, stored.last_active, stored.expires_at)
    );
    assert_eq!(context.expiry_of(session.id()).await, Some(stored.expires_at));
    let now = context.clock.now_ms();
    (refreshed.changed, now - stored.last_active, stored.expires_at - now)
}

#[rstest]
#[tokio::test]
async fn refresh_extends_only_when_less_than_half_of_the_ttl_is_left(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let millisecond = Duration::from_millis(1);
    assert_eq!(after(&context, &store, &session, TTL / 2).await, (true, 0, ms(TTL / 2)));
    assert_eq!(after(&context, &store, &session, millisecond).await, (true, 0, ms(TTL)));
    assert_eq!(context.stored(session.id()).await.unwrap().version, 1, "a refresh does not count");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_threshold_of_one_always_slides(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let session = context.session(&store, "a").await;
    for by in [Duration::from_millis(1), MINUTE, TTL - MINUTE] {
        assert_eq!(after(&context, &store, &session, by).await, (true, 0, ms(TTL)));
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_low_threshold_extends_late(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(0.1)).await;
    let session = context.session(&store, "a").await;
    let late = TTL - TTL / 10;
    assert_eq!(after(&context, &store, &session, late).await, (true, 0, ms(TTL / 10)));
    assert_eq!(after(&context, &store, &session, Duration::from_millis(1)).await, (true, 0, ms(TTL)));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn within_the_touch_interval_nothing_is_written(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().touch_interval(MINUTE).refresh_threshold(1.0)).await;
    let session = context.session(&store, "a").await;
    context.clock.advance(MINUTE - Duration::from_millis(1));
    let before = context.dump().await;
    let refreshed = store.refresh(&session).await.unwrap().unwrap();
    assert!(!refreshed.changed);
    assert_eq!(refreshed.last_active_ms, session.created_at_ms());
    assert_eq!(refreshed.expires_at_ms, session.expires_at_ms());
    assert_eq!(store.refresh_and_get(&session).await.unwrap().as_ref(), Some(&session));
    assert_eq!(context.dump().await, before);
    assert_eq!(after(&context, &store, &session, Duration::from_millis(1)).await, (true, 0, ms(TTL)));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_would_expire_within_the_touch_interval_is_extended(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = Rules::new().ttl(MINUTE * 2).touch_interval(MINUTE);
    let store = context.store_at(rules.refresh_threshold(0.6)).await;
    let session = context.session(&store, "a").await;
    // Used a moment ago, but another touch interval would be too late.
    let almost = MINUTE - Duration::from_millis(1);
    assert!(!after(&context, &store, &session, almost).await.0);
    let patch = Patch::new().ttl(MINUTE);
    store.patch(&session, patch).await.unwrap();
    assert_eq!(after(&context, &store, &session, MINUTE / 2).await, (true, 0, ms(MINUTE)));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn extension_stops_at_the_lifetime_and_an_active_session_expires_there(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let lifetime = TTL * 2;
    let store = context.store_at(Rules::new().max_lifetime(lifetime).refresh_threshold(1.0)).await;
    let session = context.session(&store, "a").await;
    let deadline = session.created_at_ms() + ms(lifetime);
    assert_eq!(session.deadline_ms(), Some(deadline));
    let mut used = Duration::ZERO;
    while used + MINUTE * 5 < lifetime {
        used += MINUTE * 5;
        let (changed, ago, left) = after(&context, &store, &session, MINUTE * 5).await;
        assert_eq!((changed, ago, left), (true, 0, ms(TTL).min(ms(lifetime - used))), "after {used:?}");
    }
    context.check().await;
    context.clock.set_ms(deadline);
    let before = context.dump().await;
    assert_eq!(store.refresh(&session).await.unwrap(), None);
    assert_eq!(store.get(session.id()).await.unwrap(), None);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_clock_that_is_set_back_takes_what_is_too_far_off_back_with_it(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let session = context.session(&store, "a").await;
    after(&context, &store, &session, MINUTE * 10).await;
    context.clock.set_ms(session.created_at_ms() - 1000);
    let refreshed = store.refresh(&session).await.unwrap().unwrap();
    assert_eq!(refreshed.last_active_ms, session.created_at_ms() - 1000);
    assert_eq!(refreshed.expires_at_ms, session.created_at_ms() - 1000 + ms(TTL));
    context.check().await;
    // As long as less is left than a ttl, the deadline of a session moves forward only.
    context.clock.set_ms(session.created_at_ms() + ms(MINUTE * 10) + 1);
    assert_eq!(after(&context, &store, &session, Duration::ZERO).await, (true, 0, ms(TTL)));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn refresh_after_expiry_never_revives_though_the_record_is_stored(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.clock.advance(TTL);
    let before = context.dump().await;
    assert_eq!(store.refresh(&session).await.unwrap(), None);
    assert_eq!(store.refresh(session.id()).await.unwrap(), None);
    assert_eq!(store.refresh_and_get(&session).await.unwrap(), None);
    assert!(context.exists(&context.record_key(session.id())).await);
    assert_eq!(context.dump().await, before);
    assert_eq!(store.expired(None, 0, 10).await.unwrap()[0].id, *session.id());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn refresh_of_what_never_was_or_was_deleted_is_none_and_writes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    store.delete(&session).await.unwrap();
    let before = context.dump().await;
    for id in [session.id(), &session_id("never")] {
        assert_eq!(store.refresh(id).await.unwrap(), None);
        assert_eq!(store.refresh_and_get(id).await.unwrap(), None);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn refresh_and_get_returns_what_get_returns(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().touch_interval(MINUTE)).await;
    let session = context.session(&store, "a").await;
    let big = "x".repeat(100_000);
    let patch = Patch::new().set("big", &big).unwrap();
    let patch = patch.set_extension("layer", &[1, 2]).unwrap();
    store.patch(&session, patch).await.unwrap();
    // Nothing written, only the time of use, extended, and with TTLs renewed.
    let begin = session.created_at_ms();
    let mut at = Duration::ZERO;
    for (by, used, extended) in [
        (MINUTE / 2, false, false),
        (MINUTE, true, false),
        (TTL - MINUTE * 2, true, true),
        (TTL - MINUTE, true, true),
    ] {
        context.clock.advance(by);
        at += by;
        let before = store.get(session.id()).await.unwrap().unwrap();
        let refreshed = store.refresh_and_get(&session).await.unwrap().unwrap();
        let times = |used, extended| {
            (
                if used { begin + ms(at) } else { before.last_active_ms() },
                if extended { begin + ms(at + TTL) } else { before.expires_at_ms() },
            )
        };
        assert_eq!((refreshed.last_active_ms(), refreshed.expires_at_ms()), times(used, extended));
        assert_eq!(store.get(session.id()).await.unwrap(), Some(refreshed));
    }
    context.check().await;
}

/// Refreshes a session up to where more than half of the grace is used up, once with the copy or the id in hand.
async fn renewed(bare: bool) {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let first = context.stored(session.id()).await.unwrap().stored_until;
    assert_eq!(first, session.expires_at_ms() + ms(GRACE));
    let refresh = async || {
        if bare {
            store.refresh(session.id()).await.unwrap().unwrap()
        } else {
            store.refresh(&session).await.unwrap().unwrap()
        }
    };
    // Half of the grace is left: enough, the TTLs stay.
    context.clock.advance(TTL / 2 + MINUTE);
    refresh().await;
    assert_eq!(context.stored(session.id()).await.unwrap().stored_until, first);
    context.assert_ttl(&context.record_key(session.id()), TTL + GRACE).await;
    context.check().await;

    context.clock.advance(TTL / 2 + MINUTE);
    let refreshed = refresh().await;
    assert_eq!(refreshed.expires_at_ms, context.clock.now_ms() + ms(TTL));
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!(stored.stored_until, stored.expires_at + ms(GRACE));
    assert_eq!(stored.version, 1);
    context.assert_ttl(&context.record_key(session.id()), TTL + GRACE).await;
    context.check().await;
}

#[tokio::test]
async fn the_ttl_of_the_record_is_renewed_once_half_of_the_grace_is_used_up() {
    renewed(false).await;
}

#[tokio::test]
async fn the_ttl_is_renewed_with_a_bare_id_too() {
    renewed(true).await;
}

#[tokio::test]
async fn user_connection_and_node_are_renewed_with_the_record() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let keys =
        [context.user_key("user-a"), context.connection_key("connection-a"), context.node_key("node-a")];
    let expiry = context.key("expiry");
    // Nearly over, as after a long time at the server.
    for key in keys.iter().chain([&expiry, &context.record_key(session.id())]) {
        let _: i64 = context.command(&["PEXPIRE", key, "60000"]).await;
    }
    // The expiry index notes its deadline by whole graces: more than one goes by.
    for _ in 0..4 {
        context.clock.advance(TTL - MINUTE);
        store.refresh(session.id()).await.unwrap().unwrap();
    }
    for key in &keys {
        context.assert_ttl(key, TTL + GRACE * 2).await;
    }
    let left = context.pttl(&expiry).await;
    assert!(left > i64::try_from(ms(TTL + GRACE)).unwrap(), "{left}");
    context.check().await;
}

#[tokio::test]
async fn a_stale_copy_renews_the_keys_that_the_session_has_now() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let stale = context.session(&store, "a").await;
    let mut moved = stale.clone();
    moved.set_user("user-b");
    moved.set_connection("connection-b");
    moved.set_node("node-b");
    store.update(&mut moved).await.unwrap();
    for key in [context.user_key("user-b"), context.connection_key("connection-b")] {
        let _: i64 = context.command(&["PEXPIRE", &key, "60000"]).await;
    }
    context.clock.advance(TTL / 2 + MINUTE);
    store.refresh(&stale).await.unwrap().unwrap();
    context.clock.advance(TTL - MINUTE);
    store.refresh(&stale).await.unwrap().unwrap();
    for key in [context.user_key("user-b"), context.connection_key("connection-b")] {
        context.assert_ttl(&key, TTL + GRACE * 2).await;
    }
    assert!(!context.exists(&context.user_key("user-a")).await);
    context.check().await;
}

#[tokio::test]
async fn refresh_of_a_frozen_session_is_refused_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.freeze(session.id()).await;
    context.clock.advance(TTL - MINUTE);
    let before = context.dump().await;
    assert_eq!(refusal(store.refresh(&session).await), Refusal::Frozen);
    assert_eq!(refusal(store.refresh_and_get(&session).await), Refusal::Frozen);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn refresh_follows_a_rotated_id_once_and_names_the_new_one(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().rotation_grace(TTL)).await;
    let session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    context.clock.advance(TTL - MINUTE);
    let refreshed = store.refresh(&session).await.unwrap().unwrap();
    assert_eq!(&refreshed.id, rotated.id());
    assert_eq!(refreshed.expires_at_ms, context.clock.now_ms() + ms(TTL));
    let got = store.refresh_and_get(session.id()).await.unwrap().unwrap();
    assert_eq!(got.id(), rotated.id());
    store.rotate(&rotated, Rotation::new()).await.unwrap();
    assert_eq!(store.refresh(session.id()).await.unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_against_delete_leaves_nothing_in_either_order(
    #[values(Redis, Near, Memory)] on: On,
    #[values(Duration::ZERO, MINUTE)] touch: Duration,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().refresh_threshold(1.0).touch_interval(touch)).await;
    for _ in 0..50 {
        let new = NewSession::new().user("ann").connection("socket").node("gateway");
        let session = store.create(new).await.unwrap().session;
        let refreshing = {
            let (store, session) = (store.clone(), session.clone());
            tokio::spawn(async move { store.refresh(&session).await.unwrap() })
        };
        store.delete(&session).await.unwrap();
        refreshing.await.unwrap();
        assert_eq!(store.get(session.id()).await.unwrap(), None);
        assert_eq!(context.expiry_of(session.id()).await, None);
    }
    for key in [context.user_key("ann"), context.connection_key("socket"), context.node_key("gateway")] {
        assert!(!context.exists(&key).await, "{key}");
    }
    context.check().await;
}
