use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::migration::{Freezing, Phase, TaskId};
use cloakroom::{Error, Rules, SessionId};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};

const SPAN: Duration = Duration::from_secs(30);

#[rstest]
#[tokio::test]
async fn pages_go_through_all_that_are_on_their_way(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut expected = BTreeSet::new();
    for number in 0..7 {
        let session = context.session(&store, &number.to_string()).await;
        context.clock.advance(Duration::from_millis(1));
        if number != 3 {
            store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere").span(SPAN)).await.unwrap();
            expected.insert(session.id().clone());
        }
    }
    let (mut found, mut next) = (BTreeSet::<SessionId>::new(), Some(0));
    while let Some(skip) = next {
        let page = store.migrations(skip, 3).await.unwrap();
        assert!(page.migrations.iter().all(|it| it.place == "elsewhere"));
        found.extend(page.migrations.into_iter().map(|it| it.id));
        next = page.next;
    }
    assert_eq!(found, expected);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn one_that_was_deleted_at_its_source_is_told_no_longer(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere").span(SPAN)).await.unwrap();
    store.delete(&session).await.unwrap();
    assert!(store.migrations(0, 10).await.unwrap().migrations.is_empty());
    assert!(!context.exists(&context.key("migrations")).await, "and its entry is dropped");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn one_that_has_expired_is_passed_over_until_it_is_reaped(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().ttl(SPAN)).await;
    let session = context.session(&store, "a").await;
    store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere").span(SPAN * 2)).await.unwrap();
    context.clock.advance(SPAN);
    assert!(store.migrations(0, 10).await.unwrap().migrations.is_empty());
    assert_eq!(store.migration(session.id()).await.unwrap(), None);
    context.check().await;
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    assert!(store.migrations(0, 10).await.unwrap().migrations.is_empty());
    assert!(!context.exists(&context.key("migrations")).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_freeze_that_is_over_is_told_in_the_list_and_not_of_the_session(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let task = TaskId::random();
    let frozen = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    let phase = Phase::Outgoing { until_ms: frozen.until_ms };
    assert_eq!(store.migration(session.id()).await.unwrap().unwrap().phase, phase);
    context.clock.advance(SPAN);
    assert_eq!(store.migration(session.id()).await.unwrap(), None);
    let told = store.migrations(0, 10).await.unwrap().migrations;
    assert_eq!(told.into_iter().map(|it| (it.task, it.phase)).collect::<Vec<_>>(), [(task, phase)]);
}

#[rstest]
#[tokio::test]
async fn a_page_has_1_to_200(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for limit in [0, 201] {
        assert!(matches!(store.migrations(0, limit).await, Err(Error::Invalid(_))));
    }
    assert!(store.migrations(0, 200).await.unwrap().migrations.is_empty());
}

#[tokio::test]
async fn a_foreign_type_in_the_place_of_the_list_is_corrupt() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let key = context.key("migrations");
    assert_eq!(context.foreign_at(&key, store.migrations(0, 10)).await, "migrations");
}

#[tokio::test]
async fn only_what_may_lead_nowhere_takes_the_script() {
    let context = Context::own(&[]).await;
    let store = context.store_at(Rules::new()).await;
    let mut all = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let session = context.session(&store, name).await;
        store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere").span(SPAN)).await.unwrap();
        all.insert(session.id().clone());
    }
    let told = async |expected: &BTreeSet<SessionId>, scripts| {
        let before = context.count().await;
        let page = store.migrations(0, 10).await.unwrap();
        assert_eq!(context.cost_since(&before).await.scripts, scripts);
        let ids: BTreeSet<SessionId> = page.migrations.into_iter().map(|it| it.id).collect();
        assert_eq!(&ids, expected);
    };
    told(&all, 0).await;
    let key = context.key("migrations");
    let _: i64 = context.command(&["ZADD", &key, "1", "ghost"]).await;
    told(&all, 1).await;
    told(&all, 0).await;
    // What is corrupt or foreign stays, and is passed over.
    for (id, plant) in all.clone().iter().zip([["SET", "garbage"], ["LPUSH", "x"]]) {
        let record = context.record_key(id);
        let _: i64 = context.command(&["DEL", &record]).await;
        context.command::<redis::Value>(&[plant[0], &record, plant[1]]).await;
        all.remove(id);
        told(&all, 1).await;
    }
    assert_eq!(context.members(&key).await.len(), 3);
}
