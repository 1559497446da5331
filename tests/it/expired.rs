//! expired: lists the sessions that expired before a time, oldest first.

use std::time::Duration;

use cloakroom::background::Expired;
use cloakroom::{Error, Invalid, NewSession, Patch, Rules, SessionId};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::session_id as id;
use crate::support::sessions::create_many;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn lasting(name: &str, seconds: u32) -> NewSession {
    NewSession::new().id(id(name)).user("ann").ttl(seconds * SECOND)
}

fn found(expired: &[Expired]) -> Vec<SessionId> {
    expired.iter().map(|expired| expired.id.clone()).collect()
}

/// Sessions that expire after 1, 2, 2 and 3 seconds, and one that does after 100; all made now.
async fn create_five(store: &Store) {
    for (name, seconds) in [("d", 3), ("a", 1), ("c", 2), ("b", 2), ("live", 100)] {
        store.create(lasting(name, seconds)).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn what_has_expired_is_found_oldest_first_with_its_time_and_nothing_is_changed(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let start = context.clock.now_ms();
    create_five(&store).await;
    assert!(store.expired(None, 0, 10).await.unwrap().is_empty());
    context.clock.advance(10 * SECOND);
    let before = context.dump().await;
    let expired = store.expired(None, 0, 10).await.unwrap();
    let pairs: Vec<_> =
        expired.iter().map(|expired| (expired.id.as_str(), expired.expired_at_ms - start)).collect();
    assert_eq!(pairs, [("a", 1000), ("b", 2000), ("c", 2000), ("d", 3000)]);
    assert_eq!(context.dump().await, before);
    // It is there as long as nobody reaps it.
    assert_eq!(store.expired(None, 0, 10).await.unwrap(), expired);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_has_expired_from_the_millisecond_that_it_is_no_longer_live(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    store.create(lasting("s", 1)).await.unwrap();
    context.clock.advance(SECOND - Duration::from_millis(1));
    assert!(store.get(&id("s")).await.unwrap().is_some());
    assert!(store.expired(None, 0, 10).await.unwrap().is_empty());
    context.clock.advance(Duration::from_millis(1));
    assert!(store.get(&id("s")).await.unwrap().is_none());
    assert_eq!(found(&store.expired(None, 0, 10).await.unwrap()), [id("s")]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_earlier_time_bounds_what_is_found_and_a_later_one_counts_as_now(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let start = context.clock.now_ms();
    create_five(&store).await;
    context.clock.advance(10 * SECOND);
    for (before, expected) in [
        (0, &[][..]),
        (start + 999, &[]),
        (start + 1000, &["a"]),
        (start + 2500, &["a", "b", "c"]),
        (start + 10_000, &["a", "b", "c", "d"]),
        (start + 1_000_000, &["a", "b", "c", "d"]),
    ] {
        let expired = store.expired(Some(before), 0, 10).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|name| id(name)).collect();
        assert_eq!(found(&expired), expected, "before {before}");
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_page_passes_over_some_and_is_limited(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    create_five(&store).await;
    context.clock.advance(10 * SECOND);
    for (skip, limit, expected) in
        [(0, 1, &["a"][..]), (1, 2, &["b", "c"]), (3, 1000, &["d"]), (4, 10, &[]), (100, 10, &[])]
    {
        let expired = store.expired(None, skip, limit).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|name| id(name)).collect();
        assert_eq!(found(&expired), expected, "{limit} after {skip}");
    }
    create_many(&store, 1001, |_| NewSession::new().ttl(SECOND)).await;
    context.clock.advance(SECOND);
    assert_eq!(store.expired(None, 0, 1000).await.unwrap().len(), 1000);
    assert_eq!(store.expired(None, 1000, 1000).await.unwrap().len(), 5);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn sessions_that_were_extended_shortened_or_deleted_are_found_where_they_are_now(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    for name in ["extended", "shortened", "deleted", "plain"] {
        store.create(lasting(name, 10)).await.unwrap();
    }
    context.clock.advance(5 * SECOND);
    store.refresh(&id("extended")).await.unwrap().unwrap();
    store.patch(&id("shortened"), Patch::new().ttl(SECOND)).await.unwrap();
    store.delete(&id("deleted")).await.unwrap();
    context.clock.advance(5 * SECOND);
    let expired = store.expired(None, 0, 10).await.unwrap();
    assert_eq!(found(&expired), ["shortened", "plain"].map(id));
    context.clock.advance(5 * SECOND);
    let expired = store.expired(None, 0, 10).await.unwrap();
    assert_eq!(found(&expired), ["shortened", "plain", "extended"].map(id));
    context.check().await;
}

#[tokio::test]
async fn the_note_of_the_index_itself_is_never_found() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new().grace(SECOND)).await;
    store.create(lasting("s", 60)).await.unwrap();
    let note = context.members(&context.key("expiry")).await[""];
    context.clock.set_ms(note + 1);
    assert_eq!(found(&store.expired(None, 0, 10).await.unwrap()), [id("s")]);
    assert!(store.expired(None, 1, 10).await.unwrap().is_empty());
    let reaped = store.reap(10).await.unwrap();
    assert_eq!((reaped.sessions.len(), reaped.dropped), (1, 0));
    assert_eq!(context.members(&context.key("expiry")).await[""], note);
    assert!(store.expired(None, 0, 10).await.unwrap().is_empty());
    let reaped = store.reap(1).await.unwrap();
    assert!(reaped.sessions.is_empty() && reaped.dropped == 0 && !reaped.more);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_page_size_outside_1_to_1000_is_invalid(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    for limit in [0, 1001] {
        let error = store.expired(None, 0, limit).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field: "page size", .. })), "{error:?}");
    }
    assert!(store.expired(None, 0, 1000).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_foreign_type_at_the_index_is_corrupt() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    store.create(NewSession::new()).await.unwrap();
    let key = context.key("expiry");
    assert_eq!(context.foreign_at(&key, store.expired(None, 0, 10)).await, "expiry");
    context.check().await;
}
