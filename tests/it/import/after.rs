//! A session that was imported lives on as one that was made there.

use cloakroom::migration::Import;
use cloakroom::{Binding, NewSession, OperationId, Patch, Rotation, Rules, Selector};
use rstest::rstest;

use super::{HOUR, MINUTE, TTL, bring, export, named, patch, places};
use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis};
use crate::support::expect::ms;
use crate::support::record::DELETED;

#[rstest]
#[tokio::test]
async fn its_deadline_still_ends_it_and_its_ttl_still_extends_it(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store_at(Rules::new().max_lifetime(HOUR)).await;
    let target = to.store_at(Rules::new().ttl(MINUTE)).await;
    let session = source.create(named("s").ttl(TTL)).await.unwrap().session;
    from.clock.advance(20 * MINUTE);
    bring(&source, &target, session.id()).await.unwrap();
    let refreshed = target.refresh(session.id()).await.unwrap().unwrap();
    assert_eq!(refreshed.expires_at_ms, from.clock.now_ms() + ms(TTL), "by its own ttl");
    to.check().await;
    from.clock.advance(25 * MINUTE);
    let refreshed = target.refresh(session.id()).await.unwrap().unwrap();
    assert_eq!(refreshed.expires_at_ms, session.created_at_ms() + ms(HOUR), "no later than its deadline");
    let longer = target.patch(session.id(), Patch::new().ttl(4 * HOUR)).await.unwrap();
    assert_eq!(longer.expires_at_ms, session.created_at_ms() + ms(HOUR));
    to.check().await;
    from.clock.advance(15 * MINUTE);
    assert!(target.refresh(session.id()).await.unwrap().is_none());
    let reaped = target.reap(10).await.unwrap().sessions;
    assert_eq!(reaped.len(), 1);
    assert!(to.keys_but_expiry().await.is_empty());
}

#[tokio::test]
async fn a_session_brought_in_by_a_clock_that_was_behind_is_read_used_and_reaped() {
    let from = Context::redis().await;
    let mut to = Context::redis().await;
    to.clock = cloakroom::testing::TestClock::new();
    to.clock.set_ms(from.clock.now_ms() - ms(MINUTE));
    let [source, target] = [from.store_at(Rules::new()).await, to.store_at(Rules::new()).await];
    let session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    // It was used a minute from now. From its first use here on it lives by the clock that is here.
    let refreshed = target.refresh(session.id()).await.unwrap().unwrap();
    assert_eq!(refreshed.last_active_ms, to.clock.now_ms());
    assert_eq!(refreshed.expires_at_ms, to.clock.now_ms() + ms(TTL));
    to.check().await;
    to.clock.advance(TTL);
    assert_eq!(target.reap(10).await.unwrap().sessions.len(), 1);
    assert!(to.keys_but_expiry().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn every_operation_works_on_it_and_leaves_clean_indexes(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    let mut copy = target.get(session.id()).await.unwrap().unwrap();
    copy.set_user("ann");
    copy.set_ttl(HOUR);
    target.update(&mut copy).await.unwrap();
    assert_eq!(copy.version().get(), 2);
    to.check().await;
    assert_eq!(patch(&target, &session, "red").await, 3);
    let bound = target.bind(session.id(), Binding::new("socket").node("gateway")).await.unwrap();
    assert_eq!(bound.previous_connection.as_deref(), Some("connection-s"));
    to.check().await;
    assert!(target.unbind(session.id(), "socket").await.unwrap());
    let rotated = target.rotate(session.id(), Rotation::new().user("bob")).await.unwrap().session;
    assert_eq!(rotated.version().get(), 6);
    assert_eq!(target.count(&Selector::user("bob")).await.unwrap(), 1);
    to.check().await;
    assert!(target.delete(rotated.id()).await.unwrap().is_some());
    let stored = to.stored(rotated.id()).await.unwrap();
    assert_eq!((stored.kind, stored.version), (DELETED, 7));
    to.check().await;

    let other = source.create(named("other")).await.unwrap().session;
    bring(&source, &target, other.id()).await.unwrap();
    assert_eq!(target.delete_user("user-other", None).await.unwrap().removed.len(), 1);
    // What is left besides are the tombstones and the id from before the rotation.
    let left = to.keys_but_expiry().await;
    assert!(left.iter().all(|key| key.starts_with(&to.key("session:"))), "{left:?}");
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_change_whose_reply_was_lost_at_the_old_place_is_recognized_at_the_new_one(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    let calls = [(); 4].map(|()| OperationId::random());
    let patch = |call: usize| Patch::new().set("call", &call).unwrap();
    for (number, call) in calls.iter().enumerate() {
        let store = source.with_operation_id(*call);
        store.patch(session.id(), patch(number)).await.unwrap();
    }
    bring(&source, &target, session.id()).await.unwrap();
    let before = to.dump().await;
    // All but the second newest, in whose place the import is noted.
    for number in [3, 1, 0] {
        let again = target.with_operation_id(calls[number]);
        let patched = again.patch(session.id(), patch(number)).await.unwrap();
        assert_eq!(patched.version.get(), number as u64 + 2, "call {number}");
        assert_eq!(to.dump().await, before, "call {number} happened again");
    }
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_create_that_is_repeated_at_the_new_place_finds_its_session(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let call = OperationId::random();
    let [source, target] = [from.store_at(Rules::new()).await, to.store_at(Rules::new()).await];
    let created = source.with_operation_id(call).create(NewSession::new().user("ann")).await.unwrap();
    bring(&source, &target, created.session.id()).await.unwrap();
    let again = target.with_operation_id(call).create(NewSession::new().user("ann")).await.unwrap();
    assert_eq!(again.session, created.session);
    assert_eq!(target.count(&Selector::user("ann")).await.unwrap(), 1);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_goes_away_and_comes_back_with_what_it_became(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, _to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    assert_eq!(patch(&target, &session, "red").await, 2);
    from.clock.advance(20 * MINUTE);
    target.refresh(session.id()).await.unwrap().unwrap();
    let back = Import::new(export(&target, session.id()).await).if_at(session.version());
    assert!(source.import(back).await.unwrap());
    assert_eq!(source.get(session.id()).await.unwrap(), target.get(session.id()).await.unwrap());
    from.check().await;
}
