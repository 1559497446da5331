use std::time::Duration;

use cloakroom::migration::{Direction, Freezing, Phase, TaskId};
use cloakroom::{Error, Patch, Refusal, Rules, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{refusal, session_id};

const SPAN: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(3600);

fn rules() -> Rules {
    Rules::new().ttl(TTL)
}

#[rstest]
#[tokio::test]
async fn a_frozen_session_is_read_and_not_changed_until_its_freeze_is_over(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let session = context.session(&store, "a").await;
    let task = TaskId::random();
    let frozen = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    assert_eq!(frozen.export.session(), &session, "as it was before");
    assert_eq!(frozen.until_ms, context.clock.now_ms() + 30_000);
    let found = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!((found.status(), found.version()), (Status::Migrating, session.version()));
    let patch = Patch::new().set("color", "red").unwrap();
    assert_eq!(refusal(store.patch(&session, patch.clone()).await), Refusal::Frozen);
    assert_eq!(refusal(store.refresh(&session).await), Refusal::Frozen);

    context.clock.advance(SPAN);
    let found = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(found.status(), Status::Active);
    assert!(store.refresh(&session).await.unwrap().is_some());
    assert_eq!(store.patch(&session, patch).await.unwrap().version.get(), 2);
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!((stored.status, stored.freeze), (1, None), "the change stored it thawed");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_is_stored_says_by_which_task_until_when_and_where_to(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let session = context.session(&store, "a").await;
    let before = context.stored(session.id()).await.unwrap();
    let task = TaskId::new([7; 8]).unwrap();
    let freezing = Freezing::new(task, "elsewhere").node("m").span(SPAN);
    let frozen = store.freeze(&session, freezing).await.unwrap();
    let after = context.stored(session.id()).await.unwrap();
    let freeze = after.freeze.clone().unwrap();
    assert_eq!((freeze.task, freeze.until), ([7; 8], frozen.until_ms));
    assert_eq!((freeze.status, freeze.direction, &*freeze.place, &*freeze.node), (1, 1, "elsewhere", "m"));
    let migration = store.migration(session.id()).await.unwrap().unwrap();
    assert_eq!((migration.place.as_str(), migration.node.as_deref()), ("elsewhere", Some("m")));
    assert_eq!(store.migrations(0, 200).await.unwrap().migrations, [migration]);
    let mut thawed = after;
    (thawed.status, thawed.freeze) = (1, None);
    assert_eq!(thawed, before, "nothing else is changed, no version counted");
    let migrations = context.members(&context.key("migrations")).await;
    assert_eq!(
        migrations.into_iter().collect::<Vec<_>>(),
        [(session.id().as_str().to_owned(), frozen.until_ms)]
    );
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_task_freezes_once_and_another_is_refused(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let session = context.session(&store, "a").await;
    let task = TaskId::random();
    let first = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    context.clock.advance(SPAN / 2);
    let before = context.dump().await;
    assert_eq!(store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap(), first);
    let other = store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere").span(SPAN)).await;
    assert_eq!(refusal(other), Refusal::Frozen);
    assert_eq!(context.dump().await, before);
    context.clock.advance(SPAN / 2);
    let again = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    assert!(again.until_ms > first.until_ms, "it is another freeze");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn freeze_of_an_id_without_a_live_session_is_refused_and_changes_nothing(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let ids = context.not_live(&store, TTL).await;
    let before = context.dump().await;
    for id in &ids {
        let frozen = store.freeze(id, Freezing::new(TaskId::random(), "elsewhere").span(SPAN)).await;
        assert_eq!(refusal(frozen), Refusal::Missing);
        assert_eq!(store.migration(id).await.unwrap(), None);
    }
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn freeze_by_an_id_that_was_rotated_away_freezes_the_session(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, cloakroom::Rotation::new()).await.unwrap().session;
    let frozen =
        store.freeze(session.id(), Freezing::new(TaskId::random(), "elsewhere").span(SPAN)).await.unwrap();
    assert_eq!(frozen.export.session().id(), rotated.id());
    let migration = store.migration(rotated.id()).await.unwrap().unwrap();
    assert_eq!(migration.phase, Phase::Outgoing { until_ms: frozen.until_ms });
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_delete_and_a_log_out_everywhere_win_over_a_freeze(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    for everywhere in [false, true] {
        let session = context.session(&store, "a").await;
        let task = TaskId::random();
        let frozen = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
        if everywhere {
            assert_eq!(store.delete_user("user-a", None).await.unwrap().removed.len(), 1);
        } else {
            assert!(store.delete(&session).await.unwrap().is_some());
        }
        assert_eq!(store.get(session.id()).await.unwrap(), None);
        let departed = store.depart(&session, task, frozen.until_ms).await.unwrap();
        assert!(!departed);
        let thawed = store.thaw(session.id(), task, Direction::Outgoing).await;
        assert_eq!(refusal(thawed), Refusal::Missing);
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_freeze_takes_a_millisecond_to_an_hour_and_a_place_of_256_bytes(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let before = context.dump().await;
    let id = session_id("s");
    for (place, span) in [
        ("elsewhere", Duration::ZERO),
        ("elsewhere", TTL + Duration::from_millis(1)),
        (&*"x".repeat(257), SPAN),
    ] {
        let error = store.freeze(&id, Freezing::new(TaskId::random(), place).span(span)).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    assert!(TaskId::new([0; 8]).is_err());
    assert_eq!(context.dump().await, before);
}
