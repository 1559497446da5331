//! get: one live session by its id, or by its connection.

use std::time::Duration;

use cloakroom::{Binding, Error, Invalid, NewSession, Rotation, Rules, SessionId, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::expect::session_id as id;

const MINUTE: Duration = Duration::from_secs(60);

fn new(name: &str) -> NewSession {
    NewSession::new().id(id(name)).user("ann").connection("socket").node("gateway")
}

fn to(name: &str) -> Rotation {
    Rotation::new().new_id(id(name))
}

#[rstest]
#[tokio::test]
async fn get_returns_the_whole_session_and_changes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(60 * MINUTE)).await;
    let created = store.create(new("s").set("n", &1).unwrap()).await.unwrap().session;
    let before = context.dump().await;
    context.clock.advance(MINUTE);
    assert_eq!(store.get(&id("s")).await.unwrap(), Some(created.clone()));
    assert_eq!(store.session_by_connection("socket").await.unwrap(), Some(created));
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn an_unknown_a_deleted_and_an_expired_id_are_none() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    assert_eq!(store.get(&id("unknown")).await.unwrap(), None);
    store.create(NewSession::new().id(id("deleted"))).await.unwrap();
    store.delete(&id("deleted")).await.unwrap();
    assert_eq!(store.get(&id("deleted")).await.unwrap(), None);

    store.create(new("s")).await.unwrap();
    context.clock.advance(MINUTE - Duration::from_millis(1));
    assert!(store.get(&id("s")).await.unwrap().is_some());
    context.clock.advance(Duration::from_millis(1));
    let before = context.dump().await;
    assert_eq!(store.get(&id("s")).await.unwrap(), None);
    assert_eq!(store.session_by_connection("socket").await.unwrap(), None);
    // Its record is there all the same, for the reaper.
    assert!(context.stored(&id("s")).await.is_some());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_id_that_was_rotated_away_leads_to_the_session_under_its_new_id(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("old").set("n", &1).unwrap()).await.unwrap();
    let rotated = store.rotate(&id("old"), to("new")).await.unwrap().session;
    let found = store.get(&id("old")).await.unwrap().unwrap();
    assert_eq!(found.id(), &id("new"));
    assert_eq!(found, rotated);
    assert_eq!(store.session_by_connection("socket").await.unwrap(), Some(found));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_id_that_was_rotated_away_twice_leads_nowhere(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("first")).await.unwrap();
    store.rotate(&id("first"), to("second")).await.unwrap();
    store.rotate(&id("second"), to("third")).await.unwrap();
    assert_eq!(store.get(&id("first")).await.unwrap(), None);
    let found = store.get(&id("second")).await.unwrap().unwrap();
    assert_eq!(found.id(), &id("third"));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_id_that_was_rotated_away_to_a_session_that_is_gone_leads_nowhere(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(MINUTE)).await;
    for name in ["deleted", "expired"] {
        let old = format!("old-{name}");
        let fresh = NewSession::new().id(id(&old));
        store.create(fresh).await.unwrap();
        store.rotate(&id(&old), to(name)).await.unwrap();
    }
    store.delete(&id("deleted")).await.unwrap();
    assert_eq!(store.get(&id("old-deleted")).await.unwrap(), None);
    context.clock.advance(MINUTE);
    assert_eq!(store.get(&id("old-expired")).await.unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_old_id_is_none_once_its_grace_has_passed_and_the_session_lives_on(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().rotation_grace(MINUTE)).await;
    store.create(new("old")).await.unwrap();
    store.rotate(&id("old"), to("new")).await.unwrap();
    context.clock.advance(MINUTE);
    assert_eq!(store.get(&id("old")).await.unwrap(), None);
    assert!(store.get(&id("new")).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn a_frozen_session_can_be_read() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("s")).await.unwrap();
    context.freeze(&id("s")).await;
    let session = store.get(&id("s")).await.unwrap().unwrap();
    assert_eq!(session.status(), Status::Migrating);
    context.check().await;
}

#[tokio::test]
async fn a_stale_pointer_of_a_connection_is_no_answer() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("s")).await.unwrap();
    store.create(NewSession::new().id(id("unconnected"))).await.unwrap();
    let pointer = context.connection_key("stale");
    for leads_to in ["s", "unconnected", "nobody"] {
        let _: () = context.command(&["SET", &pointer, leads_to, "PX", "60000"]).await;
        assert_eq!(store.session_by_connection("stale").await.unwrap(), None, "{leads_to}");
    }
    assert_eq!(store.session_by_connection("unknown").await.unwrap(), None);
    let _: i64 = context.command(&["DEL", &pointer]).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_connection_that_was_left_leads_nowhere_and_the_new_one_to_the_session(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("s")).await.unwrap();
    store.bind(&id("s"), Binding::new("other")).await.unwrap();
    assert_eq!(store.session_by_connection("socket").await.unwrap(), None);
    let session = store.session_by_connection("other").await.unwrap().unwrap();
    assert_eq!(session.id(), &id("s"));
    store.delete(&session).await.unwrap();
    assert_eq!(store.session_by_connection("other").await.unwrap(), None);
    context.check().await;
}

#[tokio::test]
async fn what_is_no_record_or_no_pointer_is_corrupt_and_not_absent() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(new("s")).await.unwrap();
    let (record, pointer) = (context.record_key(&id("s")), context.connection_key("socket"));
    context.foreign_at(&record, store.get(&id("s"))).await;
    context.foreign_at(&record, store.session_by_connection("socket")).await;
    context.foreign_at(&pointer, store.session_by_connection("socket")).await;
    context.check().await;

    let whole: Vec<u8> = context.command(&["GET", &record]).await;
    for broken in [&b""[..], b"garbage", &whole[..whole.len() - 1]] {
        let _: () = redis::cmd("SET").arg(&record).arg(broken).query_async(&mut context.raw()).await.unwrap();
        let error = store.get(&id("s")).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { what } if what == "record"), "{error:?}");
    }
    // An id that cannot be one: too long.
    let _: () = context.command(&["SET", &pointer, &"x".repeat(129)]).await;
    let error = store.session_by_connection("socket").await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { what } if what == "connection"), "{error:?}");
}

#[rstest]
#[tokio::test]
async fn a_connection_id_that_is_empty_or_too_long_is_invalid(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    for name in [String::new(), "x".repeat(257)] {
        let error = store.session_by_connection(&name).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field: "connection id", .. })), "{error:?}");
    }
    assert!(SessionId::new("").is_err());
}
