use std::time::Duration;

use cloakroom::migration::{Direction, Freezing, Import, Leftover, Phase, TaskId};
use cloakroom::{Refusal, Rules, Session};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::refusal;

const SPAN: Duration = Duration::from_secs(30);

/// Two stores, a session frozen in the one, and its copy, incoming in the other.
struct World {
    source: (Context, Store),
    target: (Context, Store),
    session: Session,
    import: Import,
    task: TaskId,
    until: u64,
}

async fn world(on: On) -> World {
    let source = Context::on(on).await;
    let target = source.another(on).await;
    let (there, here) = (source.store_at(Rules::new()).await, target.store_at(Rules::new()).await);
    let session = source.session(&there, "a").await;
    let task = TaskId::random();
    let frozen = there.freeze(&session, Freezing::new(task, "target").span(SPAN)).await.unwrap();
    let until = frozen.until_ms;
    let import = Import::new(frozen.export).incoming(task, until, "source");
    here.import(import.clone()).await.unwrap();
    World { source: (source, there), target: (target, here), session, import, task, until }
}

#[rstest]
#[tokio::test]
async fn a_copy_that_is_not_to_be_goes_without_a_tombstone_so_that_it_may_come_again(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let World { target: (context, store), session, import, task, until, .. } = world(on).await;
    let copy = Leftover::Copy { until_ms: until };
    let clean = async |task, what| store.clean(session.id(), task, what).await.unwrap();
    let before = context.dump().await;
    assert!(!clean(TaskId::random(), copy).await);
    let other = Leftover::Copy { until_ms: until + 1 };
    assert!(!clean(task, other).await, "it was made under another freeze");
    assert!(!clean(task, Leftover::Departed).await);
    assert!(!clean(task, Leftover::Deleted).await);
    assert_eq!(context.dump().await, before);
    assert!(clean(task, copy).await);
    assert!(context.keys_but_expiry().await.is_empty());
    assert!(!clean(task, copy).await);
    assert!(store.import(import).await.unwrap());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn what_was_thawed_or_is_frozen_at_its_source_is_no_leftover(#[values(Redis, Spread, Memory)] on: On) {
    let World { source: (from, there), target: (context, store), session, task, until, .. } = world(on).await;
    store.thaw(session.id(), task, Direction::Incoming).await.unwrap();
    for (context, store) in [(&context, &store), (&from, &there)] {
        let before = context.dump().await;
        for what in [Leftover::Copy { until_ms: until }, Leftover::Departed, Leftover::Deleted] {
            assert!(!store.clean(&session, task, what).await.unwrap());
        }
        assert_eq!(context.dump().await, before);
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn where_a_session_went_is_told_for_the_grace_of_a_tombstone_once_it_is_cleaned_up(
    #[values(Redis, Memory)] on: On,
) {
    let World { source: (context, store), session, task, until, .. } = world(on).await;
    store.depart(&session, task, until).await.unwrap();
    assert_eq!(store.migration(session.id()).await.unwrap().unwrap().phase, Phase::Departed);
    assert!(store.clean(session.id(), task, Leftover::Departed).await.unwrap());
    assert!(!store.clean(session.id(), task, Leftover::Departed).await.unwrap());
    assert_eq!(store.migration(session.id()).await.unwrap(), None);
    assert!(!context.exists(&context.key("migrations")).await);
    let place = Refusal::Departed { place: "target".to_owned() };
    assert_eq!(refusal(store.get(session.id()).await), place);
    context.assert_ttl(&context.record_key(session.id()), Duration::from_secs(30)).await;
    context.clock.advance(Duration::from_secs(30));
    assert_eq!(store.get(session.id()).await.unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn that_a_copy_was_deleted_is_told_until_its_migration_is_cleaned_up(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let World { target: (context, store), session, import, task, until, .. } = world(on).await;
    let copy = Leftover::Copy { until_ms: until };
    store.delete(&session).await.unwrap();
    context.clock.advance(Duration::from_secs(600));
    let migration = store.migration(session.id()).await.unwrap().unwrap();
    assert_eq!((migration.task, migration.phase), (task, Phase::Deleted));
    assert_eq!(store.migrations(0, 10).await.unwrap().migrations, [migration]);
    assert!(store.import(import).await.unwrap(), "it came, and was deleted");
    assert_eq!(store.get(session.id()).await.unwrap(), None);
    assert!(!store.clean(&session, task, copy).await.unwrap());
    assert!(store.clean(&session, task, Leftover::Deleted).await.unwrap());
    assert_eq!(store.migration(session.id()).await.unwrap(), None);
    assert_eq!(context.stored(session.id()).await.unwrap().freeze, None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_comes_back_at_once_where_it_went_from_and_was_cleaned_up(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let World { source: (context, store), target: (_there, other), session, task, until, .. } =
        world(on).await;
    store.depart(&session, task, until).await.unwrap();
    other.thaw(session.id(), task, Direction::Incoming).await.unwrap();
    let back = TaskId::random();
    let frozen = other.freeze(&session, Freezing::new(back, "source").span(SPAN)).await.unwrap();
    let import = Import::new(frozen.export).incoming(back, frozen.until_ms, "target");
    let place = Refusal::Departed { place: "target".to_owned() };
    assert_eq!(refusal(store.import(import.clone()).await), place, "nothing may hide that it went");
    store.clean(&session, task, Leftover::Departed).await.unwrap();
    assert!(store.import(import).await.unwrap());
    other.depart(&session, back, frozen.until_ms).await.unwrap();
    store.thaw(session.id(), back, Direction::Incoming).await.unwrap();
    assert_eq!(store.get(session.id()).await.unwrap(), Some(session));
    context.check().await;
}

#[tokio::test]
async fn clean_names_what_is_corrupt_and_changes_nothing() {
    let World { target: (context, store), session, task, until, .. } = world(Redis).await;
    let copy = Leftover::Copy { until_ms: until };
    for (key, part) in [
        (context.record_key(session.id()), "record"),
        (context.key("expiry"), "expiry"),
        (context.key("migrations"), "migrations"),
        (context.user_key("user-a"), "user"),
        (context.connection_key("connection-a"), "connection"),
        (context.node_key("node-a"), "node"),
    ] {
        assert_eq!(context.foreign_at(&key, store.clean(&session, task, copy)).await, part);
    }
    context.check().await;
}
