//! get_many, refresh_many and delete_many: many calls together, each answered as if it came alone.

use std::time::Duration;

use cloakroom::{Error, NewSession, Obstacle, OperationId, Rotation, Rules, Session, SessionId, SessionRef};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{Store, build};
use crate::support::expect::session_id as id;
use crate::support::sessions::{create_many, ids};

/// Shorter than the old id of a rotation leads on.
const MOMENT: Duration = Duration::from_secs(10);

fn named(at: usize) -> NewSession {
    NewSession::new().id(id(&format!("{at:04}"))).user("ann").connection(at.to_string()).node("n")
}

fn targets<T: SessionRef>(all: &[T]) -> Vec<&dyn SessionRef> {
    all.iter().map(|target| target as &dyn SessionRef).collect()
}

/// Sessions in number, and among them ids that no live session has.
async fn mixed(context: &Context, store: &Store) -> (Vec<Session>, Vec<SessionId>) {
    let sessions = create_many(store, 450, named).await;
    let mut asked = ids(&sessions);
    store.delete(&asked[7]).await.unwrap();
    store.rotate(&asked[300], Rotation::new().new_id(id("new"))).await.unwrap();
    asked[200] = id("never");
    assert_eq!(context.members(&context.user_key("ann")).await.len(), 449);
    (sessions, asked)
}

#[rstest]
#[tokio::test]
async fn many_are_read_in_order_and_those_that_are_not_there_are_none(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let (sessions, asked) = mixed(&context, &store).await;
    let answers = store.get_many(&asked).await;
    assert_eq!(answers.len(), asked.len());
    for (at, answer) in answers.into_iter().enumerate() {
        let found = answer.unwrap();
        match at {
            7 | 200 => assert_eq!(found, None),
            300 => assert_eq!(found.unwrap().id(), &id("new"), "it was rotated"),
            _ => assert_eq!(found.as_ref(), Some(&sessions[at])),
        }
    }
    assert!(store.get_many(&[]).await.is_empty());
}

#[rstest]
#[tokio::test]
async fn many_are_refreshed_in_order(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let (_, asked) = mixed(&context, &store).await;
    context.clock.advance(MOMENT);
    let now = context.clock.now_ms();
    for (at, answer) in store.refresh_many(&targets(&asked)).await.into_iter().enumerate() {
        match (at, answer.unwrap()) {
            (7 | 200, refreshed) => assert_eq!(refreshed, None),
            (_, refreshed) => {
                let refreshed = refreshed.unwrap();
                let expected = if at == 300 { id("new") } else { asked[at].clone() };
                assert_eq!(
                    (refreshed.id, refreshed.last_active_ms, refreshed.changed),
                    (expected, now, true)
                );
            }
        }
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn many_are_deleted_by_session_and_by_id(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let (sessions, asked) = mixed(&context, &store).await;
    let by_session = store.delete_many(&targets(&sessions[..100])).await;
    let by_id = store.delete_many(&targets(&asked[100..])).await;
    for (at, answer) in by_session.into_iter().chain(by_id).enumerate() {
        assert_eq!(answer.unwrap().is_some(), ![7, 200].contains(&at), "{at}");
    }
    // That one was asked for by another id.
    assert_eq!(context.entries(&context.user_key("ann")).await, ["0200"]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_deletion_of_many_that_is_repeated_answers_the_same(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let sessions = create_many(&store, 50, named).await;
    let call = store.with_operation_id(OperationId::random());
    for _ in 0..2 {
        for answer in call.delete_many(&targets(&sessions)).await {
            assert!(answer.unwrap().is_some());
        }
    }
    for answer in store.delete_many(&targets(&sessions)).await {
        assert!(answer.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_foreign_type_is_the_answer_of_its_session_only() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let sessions = create_many(&store, 5, named).await;
    let key = context.record_key(sessions[2].id());
    let _: () = context.command(&["RENAME", &key, "aside:of-many"]).await;
    let _: i64 = context.command(&["RPUSH", &key, "x"]).await;
    let is_corrupt = |at: usize, error: Option<Error>| {
        let corrupt = matches!(&error, Some(Error::Corrupt { what }) if what == "record");
        assert_eq!((corrupt, error.is_some()), (at == 2, at == 2), "{at}: {error:?}");
    };
    let asked = ids(&sessions);
    for (at, answer) in store.get_many(&asked).await.into_iter().enumerate() {
        is_corrupt(at, answer.err());
    }
    for (at, answer) in store.refresh_many(&targets(&asked)).await.into_iter().enumerate() {
        is_corrupt(at, answer.err());
    }
    for (at, answer) in store.delete_many(&targets(&asked)).await.into_iter().enumerate() {
        is_corrupt(at, answer.err());
    }
    let _: i64 = context.command(&["DEL", &key, "aside:of-many"]).await;
}

#[rstest]
#[tokio::test]
async fn a_closed_store_says_so_of_each(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let asked = ids(&create_many(&store, 3, named).await);
    store.close().await;
    let read = store.get_many(&asked).await.into_iter().map(|answer| answer.map(drop));
    let refreshed = store.refresh_many(&targets(&asked)).await.into_iter().map(|answer| answer.map(drop));
    let deleted = store.delete_many(&targets(&asked)).await.into_iter().map(|answer| answer.map(drop));
    let answers: Vec<_> = read.chain(refreshed).chain(deleted).collect();
    assert_eq!(answers.len(), 9);
    for answer in answers {
        assert!(matches!(answer, Err(Error::NotExecuted { reason: Obstacle::Closed, .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_flushed_script_cache_is_invisible() {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).clock(context.clock.clone())).await;
    let sessions = create_many(&store, 250, named).await;
    let _: () = context.command(&["SCRIPT", "FLUSH"]).await;
    assert!(store.refresh_many(&targets(&sessions)).await.iter().all(|answer| matches!(answer, Ok(Some(_)))));
    let _: () = context.command(&["SCRIPT", "FLUSH"]).await;
    assert!(store.delete_many(&targets(&sessions)).await.iter().all(|answer| matches!(answer, Ok(Some(_)))));
    context.check().await;
}
