//! Imports that are refused, and what is in their way.

use std::time::Duration;

use cloakroom::migration::Import;
use cloakroom::{Error, Invalid, NewSession, Refusal, Rotation, Rules, Session};
use rstest::rstest;

use super::{HOUR, MINUTE, TTL, bring, export, named, patch, places};
use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis};
use crate::support::expect::{refusal, session_id as id};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Where a session is exported and where it is imported, with one session exported.
async fn pair(there: On, here: On) -> (Context, Context, Session, Import) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store_at(Rules::new()).await;
    let session = source.create(named("s")).await.unwrap().session;
    let import = Import::new(export(&source, session.id()).await);
    (from, to, session, import)
}

#[rstest]
#[tokio::test]
async fn an_expired_session_is_missing_from_its_last_moment_on_and_nothing_is_written(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, session, import) = pair(there, here).await;
    let target = to.store_at(Rules::new()).await;
    to.clock.advance(TTL);
    assert_eq!(refusal(target.import(import.clone()).await), Refusal::Missing);
    assert!(to.keys().await.is_empty());
    to.clock.set_ms(session.expires_at_ms() - 1);
    assert!(target.import(import).await.unwrap());
    to.clock.advance(MILLISECOND);
    assert_eq!(target.get(session.id()).await.unwrap(), None);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn the_clock_of_the_importing_store_decides_what_has_expired(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, _, session, import) = pair(there, here).await;
    let to = Context::on(here).await;
    to.clock.set_ms(from.clock.now_ms() + 3_600_000);
    let target = to.store_at(Rules::new()).await;
    assert_eq!(refusal(target.import(import.clone()).await), Refusal::Missing);
    assert!(to.keys().await.is_empty());
    to.clock.set_ms(from.clock.now_ms() - 3_600_000);
    assert!(target.import(import).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), Some(session));
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_that_was_deleted_here_a_moment_ago_is_gone_until_the_end_of_its_tombstone(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, session, import) = pair(there, here).await;
    let target = to.store_at(Rules::new().tombstone(MINUTE)).await;
    target.import(import.clone()).await.unwrap();
    assert!(target.delete(session.id()).await.unwrap().is_some());
    to.clock.advance(MINUTE - MILLISECOND);
    let before = to.dump().await;
    for import in [import.clone(), import.clone().if_absent(), import.clone().if_at(session.version())] {
        assert_eq!(refusal(target.import(import).await), Refusal::Gone);
    }
    assert_eq!(to.dump().await, before);
    to.clock.advance(MILLISECOND);
    assert!(target.import(import).await.unwrap());
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_that_was_rotated_away_here_is_refused_with_its_new_id(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, session, import) = pair(there, here).await;
    let target = to.store_at(Rules::new().rotation_grace(MINUTE)).await;
    target.import(import.clone()).await.unwrap();
    let rotated = target.rotate(session.id(), Rotation::new()).await.unwrap().session;
    let visit = target.create(NewSession::new()).await.unwrap().session;
    let before_login = Import::new(export(&target, visit.id()).await);
    target.rotate(&visit, Rotation::new().user("ann")).await.unwrap();
    let before = to.dump().await;
    let moved = Refusal::Rotated { to: Some(rotated.id().clone()) };
    assert_eq!(refusal(target.import(import.clone()).await), moved);
    // What was before a login must not come back.
    assert_eq!(refusal(target.import(before_login).await), Refusal::Gone);
    assert_eq!(to.dump().await, before);
    to.clock.advance(MINUTE);
    // The rotated one still has the connection.
    assert_eq!(refusal(target.import(import).await), Refusal::Taken);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn an_import_that_is_refused_reaps_nothing_that_is_in_its_way(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, session, import) = pair(there, here).await;
    let target = to.store_at(Rules::new()).await;
    target.create(NewSession::new().id(session.id().clone()).ttl(MINUTE)).await.unwrap();
    to.clock.advance(MINUTE);
    target.create(NewSession::new().id(id("holder")).connection("connection-s")).await.unwrap();
    let before = to.dump().await;
    assert_eq!(refusal(target.import(import.clone()).await), Refusal::Taken);
    assert_eq!(to.dump().await, before);
    target.delete(&id("holder")).await.unwrap();
    assert!(target.import(import).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), Some(session));
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn the_connection_of_another_live_session_is_taken_and_nothing_changes(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, to, session, import) = pair(there, here).await;
    let [source, target] = [from.store_at(Rules::new()).await, to.store_at(Rules::new()).await];
    let holder = NewSession::new().id(id("holder")).connection("connection-s");
    target.create(holder).await.unwrap();
    let before = to.dump().await;
    assert_eq!(refusal(target.import(import).await), Refusal::Taken);
    assert_eq!(to.dump().await, before);

    // So it is for a version that comes later and has got that connection.
    let mut other = source.create(named("other")).await.unwrap().session;
    bring(&source, &target, other.id()).await.unwrap();
    source.delete(session.id()).await.unwrap();
    other.set_connection("connection-s");
    source.update(&mut other).await.unwrap();
    let before = to.dump().await;
    assert_eq!(refusal(bring(&source, &target, other.id()).await), Refusal::Taken);
    assert_eq!(to.dump().await, before);
    target.delete(&id("holder")).await.unwrap();
    assert!(bring(&source, &target, other.id()).await.unwrap());
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn an_import_reaps_the_expired_session_of_its_id_and_the_expired_holder_of_its_connection(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, to, session, import) = pair(there, here).await;
    let target = to.store_at(Rules::new()).await;
    to.clock.set_ms(from.clock.now_ms() - 3_600_000);
    // Both expire before the exported one was made.
    target.create(named("s").user("before").connection("before").node("before")).await.unwrap();
    let holder = NewSession::new().id(id("holder")).user("holder").connection("connection-s");
    target.create(holder).await.unwrap();
    to.clock.advance(HOUR);
    assert!(target.import(import).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), Some(session));
    for gone in [to.user_key("before"), to.node_key("before"), to.connection_key("before")] {
        assert!(!to.exists(&gone).await, "{gone}");
    }
    assert!(!to.exists(&to.record_key(&id("holder"))).await);
    assert!(target.reap(10).await.unwrap().sessions.is_empty());
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn what_is_to_replace_an_expired_version_is_missing_and_leaves_it_to_the_reaper(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    from.clock.advance(TTL - MINUTE);
    source.refresh(session.id()).await.unwrap().unwrap();
    patch(&source, &session, "red").await;
    let import = Import::new(export(&source, session.id()).await);
    from.clock.advance(MINUTE);
    let before = to.dump().await;
    let at = import.clone().if_at(session.version());
    assert_eq!(refusal(target.import(at).await), Refusal::Missing);
    assert_eq!(to.dump().await, before);
    assert!(target.import(import).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), source.get(session.id()).await.unwrap());
    to.check().await;
}

#[tokio::test]
async fn a_stale_pointer_of_the_connection_is_not_in_the_way() {
    let (_from, to, session, import) = pair(Redis, Redis).await;
    let target = to.store_at(Rules::new()).await;
    let other = target.create(named("other")).await.unwrap().session;
    for points_to in ["nobody", other.id().as_str(), "s"] {
        let pointer = to.connection_key("connection-s");
        let _: () = to.command(&["SET", &pointer, points_to, "PX", "600000"]).await;
        assert!(target.import(import.clone()).await.unwrap(), "{points_to}");
        to.check().await;
        let _: i64 = to.command(&["DEL", &to.record_key(session.id())]).await;
    }
}

#[tokio::test]
async fn a_frozen_session_is_neither_replaced_nor_brought_in() {
    let (from, to, session, import) = pair(Redis, Redis).await;
    let [source, target] = [from.store_at(Rules::new()).await, to.store_at(Rules::new()).await];
    target.import(import.clone()).await.unwrap();
    to.freeze(session.id()).await;
    patch(&source, &session, "red").await;
    let newer = Import::new(export(&source, session.id()).await);
    let before = to.dump().await;
    for import in [import.clone(), newer] {
        assert_eq!(refusal(target.import(import).await), Refusal::Frozen);
    }
    let other = to.another(Redis).await;
    let frozen = Import::new(export(&target, session.id()).await);
    assert_eq!(refusal(other.store_at(Rules::new()).await.import(frozen).await), Refusal::Frozen);
    assert!(other.keys().await.is_empty());
    assert_eq!(to.dump().await, before);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn what_is_larger_than_this_store_allows_is_refused_and_nothing_is_written(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, _session, import) = pair(there, here).await;
    // An entry of five bytes, "color", and "green" in quotes.
    let small = to.store_at(Rules::new().session_bytes(16)).await;
    assert_eq!(refusal(small.import(import.clone()).await), Refusal::TooLarge { bytes: 17, entries: 1 });
    let small = to.store_at(Rules::new().value_bytes(6)).await;
    let error = small.import(import.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "attribute value of \"color\" is 7 bytes, at most 6");
    assert!(to.keys().await.is_empty());
    let enough = to.store_at(Rules::new().session_bytes(17).value_bytes(7)).await;
    assert!(enough.import(import).await.unwrap());
    to.check().await;
}

#[tokio::test]
async fn a_ttl_that_no_store_gives_is_invalid_and_nothing_is_written() {
    let (from, to, session, _import) = pair(Redis, Redis).await;
    let [source, target] = [from.store_at(Rules::new()).await, to.store_at(Rules::new()).await];
    // Where the ttl stands in the record.
    let _: u64 = from.command(&["SETRANGE", &from.record_key(session.id()), "73", &"\0".repeat(5)]).await;
    let error = bring(&source, &target, session.id()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(Invalid { field: "ttl", .. })), "{error:?}");
    assert!(to.keys().await.is_empty());
}
