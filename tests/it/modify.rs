//! modify: reads, changes and saves, and repeats if others changed the session meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};

use cloakroom::{Error, Obstacle, Patch, Refusal, Rotation, Rules, Session, SessionStoreExt as _};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id};

/// What a service's own change may come to.
#[derive(Debug, PartialEq)]
enum CartError {
    Full { items: u32 },
    Store(Error),
}

impl From<Error> for CartError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Puts one item into a cart that has room for two.
fn put(session: &mut Session) -> Result<(), CartError> {
    let items = session.get::<u32>("items")?.unwrap_or_default();
    if items == 2 {
        return Err(CartError::Full { items });
    }
    Ok(session.set("items", &(items + 1))?)
}

#[rstest]
#[tokio::test]
async fn an_error_of_the_callers_own_type_comes_back_as_it_is_and_errors_of_the_store_become_it(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    for items in 1..=2 {
        let saved = store.modify(session.id(), put).await.unwrap();
        assert_eq!(saved.get::<u32>("items").unwrap(), Some(items));
    }
    let before = context.dump().await;
    assert_eq!(store.modify(session.id(), put).await, Err(CartError::Full { items: 2 }));
    let missing = CartError::Store(Error::Refused(Refusal::Missing));
    assert_eq!(store.modify(&session_id("never"), put).await, Err(missing));
    assert_eq!(context.dump().await, before, "a change that failed was saved");
    context.check().await;
}

fn increment(session: &mut Session) -> cloakroom::Result<()> {
    let count = session.get::<u32>("count")?.unwrap_or_default();
    session.set("count", &(count + 1))
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_increments_at_once_are_all_counted(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let tasks = (0..20).map(|_| {
        let (store, id) = (store.clone(), session.id().clone());
        tokio::spawn(async move { store.modify(&id, increment).await.unwrap() })
    });
    let mut versions: Vec<u64> = futures::future::try_join_all(tasks)
        .await
        .unwrap()
        .iter()
        .map(|session| session.version().get())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..22).collect::<Vec<_>>());
    let stored = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(stored.get::<u32>("count").unwrap(), Some(20));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn modify_returns_what_it_saved(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let created = store.create(cloakroom::NewSession::new()).await.unwrap().session;
    let saved = store
        .modify(created.id(), |session| {
            session.set_user("ann");
            session.set("color", "blue")
        })
        .await
        .unwrap();
    assert_eq!((saved.version().get(), saved.user()), (2, Some("ann")));
    assert_eq!(store.get(created.id()).await.unwrap(), Some(saved));
    assert_eq!(context.members(&context.user_key("ann")).await.len(), 1);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn modify_of_a_missing_session_is_missing_and_the_closure_does_not_run(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let deleted = context.session(&store, "a").await;
    store.delete(&deleted).await.unwrap();
    let before = context.dump().await;
    for id in [deleted.id(), &session_id("never")] {
        let modified = store.modify(id, |_| panic!("there is nothing to change")).await;
        assert_eq!(refusal(modified), Refusal::Missing);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_error_of_the_closure_passes_and_nothing_is_written(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    let error = store
        .modify(session.id(), |session| {
            session.set("color", "red")?;
            session.get::<u32>("color").map(drop)
        })
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Value { key, .. } if key == "color"), "{error}");
    assert_eq!(context.dump().await, before);
    context.check().await;
}

/// Changes a session in the midst of a modification. The closure is no future, so the change is waited for where it
/// is; that takes a second worker thread.
fn interfere(store: &Store, session: &Session, number: u32) {
    let patch = Patch::new().set("others", &number).unwrap();
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(store.patch(session.id(), patch))
    })
    .unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_runs_the_closure_again_on_a_fresh_copy(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let runs = AtomicU32::new(0);
    let saved = store
        .modify(session.id(), |session| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            assert_eq!(session.get::<u32>("count")?, None, "a copy that was not saved");
            if run < 3 {
                interfere(&store, session, run);
            }
            increment(session)
        })
        .await
        .unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    assert_eq!(saved.get::<u32>("count").unwrap(), Some(1));
    assert_eq!(saved.get::<u32>("others").unwrap(), Some(2), "no change of others is lost");
    assert_eq!(saved.version().get(), 5);
    assert_eq!(store.get(session.id()).await.unwrap(), Some(saved));
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_conflicts_in_a_row_end_in_an_error(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let runs = AtomicU32::new(0);
    let error = store
        .modify(session.id(), |session| {
            interfere(&store, session, runs.fetch_add(1, Ordering::SeqCst));
            increment(session)
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Contended, .. }), "{error}");
    assert_eq!(runs.load(Ordering::SeqCst), 32);
    let stored = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(stored.get::<u32>("count").unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn modify_follows_a_rotated_id(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let saved = store.modify(session.id(), increment).await.unwrap();
    assert_eq!((saved.id(), saved.version().get()), (rotated.id(), 3));
    context.check().await;
}
