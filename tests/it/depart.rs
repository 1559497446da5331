use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::{
    Binding, Error, NewSession, PageRequest, Patch, Refusal, Rotation, Rules, Selector, Session,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::refusal;

const SPAN: Duration = Duration::from_secs(30);

async fn frozen(context: &Context, store: &Store, task: TaskId) -> (Session, u64) {
    let session = context.session(store, "a").await;
    let frozen = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    (session, frozen.until_ms)
}

/// That the session has gone, as a refusal says it.
fn elsewhere() -> Refusal {
    Refusal::Departed { place: "elsewhere".to_owned() }
}

#[rstest]
#[tokio::test]
async fn what_departed_leaves_no_entry_and_every_call_is_told_where_it_went(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let task = TaskId::random();
    let (session, until) = frozen(&context, &store, task).await;
    assert!(store.depart(&session, task, until).await.unwrap());
    let mut keys = vec![context.key("migrations"), context.record_key(session.id())];
    keys.sort();
    assert_eq!(context.keys_but_expiry().await, keys);
    assert!(store.session_by_connection("connection-a").await.unwrap().is_none());
    let page = store.list(&Selector::user("user-a"), &PageRequest::first(10)).await.unwrap();
    assert!(page.sessions.is_empty());

    let before = context.dump().await;
    let (id, mut copy) = (session.id(), session.clone());
    let patch = Patch::new().set("color", "red").unwrap();
    let answers = [
        refusal(store.get(id).await),
        refusal(store.export(id).await),
        refusal(store.update(&mut copy).await),
        refusal(store.patch(id, patch).await),
        refusal(store.refresh(id).await),
        refusal(store.refresh_and_get(id).await),
        refusal(store.rotate(id, Rotation::new()).await),
        refusal(store.bind(id, Binding::new("c")).await),
        refusal(store.unbind(id, "c").await),
        refusal(store.delete(id).await),
        refusal(store.freeze(id, Freezing::new(TaskId::random(), "there").span(SPAN)).await),
        refusal(store.create(NewSession::new().id(id.clone())).await),
    ];
    for (at, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, elsewhere(), "call {at}");
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_task_departs_once_and_another_is_told_that_it_did(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let task = TaskId::random();
    let (session, until) = frozen(&context, &store, task).await;
    store.depart(&session, task, until).await.unwrap();
    let before = context.dump().await;
    context.clock.advance(SPAN * 2);
    assert!(store.depart(session.id(), task, until).await.unwrap());
    assert_eq!(refusal(store.depart(&session, TaskId::random(), until).await), elsewhere());
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn only_the_freeze_that_the_copy_was_made_under_lets_a_session_go(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let task = TaskId::random();
    let (session, until) = frozen(&context, &store, task).await;
    let refused = async |task, until| {
        let before = context.dump().await;
        let answer = refusal(store.depart(&session, task, until).await);
        assert!(matches!(answer, Refusal::Conflict { .. }), "{answer:?}");
        assert_eq!(context.dump().await, before);
    };
    refused(TaskId::random(), until).await;
    refused(task, until + 1).await;
    context.clock.advance(SPAN);
    refused(task, until).await;
    // Changed meanwhile, and frozen anew: the copy that was made under the first freeze is old.
    store.patch(&session, Patch::new().set("color", "red").unwrap()).await.unwrap();
    let again = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    refused(task, until).await;
    assert!(store.depart(&session, task, again.until_ms).await.unwrap());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn where_it_went_is_told_as_long_as_the_session_would_have_been_stored(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let rules = Rules::new().grace(Duration::from_secs(600));
    let store = context.store_at(rules).await;
    let task = TaskId::random();
    let (session, until) = frozen(&context, &store, task).await;
    let kept = context.stored(session.id()).await.unwrap().stored_until;
    store.depart(&session, task, until).await.unwrap();
    assert_eq!(context.stored(session.id()).await.unwrap().stored_until, kept);
    context.assert_ttl(&context.record_key(session.id()), Duration::from_secs(30 * 60 + 600)).await;
    context.clock.set_ms(kept - 1);
    assert_eq!(refusal(store.get(session.id()).await), elsewhere());
    context.clock.set_ms(kept);
    assert_eq!(store.get(session.id()).await.unwrap(), None);
}

#[tokio::test]
async fn depart_names_what_is_corrupt_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    let task = TaskId::random();
    let (session, until) = frozen(&context, &store, task).await;
    for (key, part) in [
        (context.record_key(session.id()), "record"),
        (context.key("expiry"), "expiry"),
        (context.user_key("user-a"), "user"),
        (context.connection_key("connection-a"), "connection"),
        (context.node_key("node-a"), "node"),
    ] {
        assert_eq!(context.foreign_at(&key, store.depart(&session, task, until)).await, part);
    }
    let error = store.depart(&session, task, until + 1).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)));
    context.check().await;
}
