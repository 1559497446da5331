//! Creates of callers at once, which share a connection and nothing else.

use cloakroom::{Error, Invalid, NewSession, Refusal, Rules, SessionId};
use futures::future::join_all;

use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::expect::refusal;

/// A store with one connection on a server of its own, which a first session has made warm.
async fn warm() -> (Context, Store) {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1)).await;
    store.create(NewSession::new()).await.unwrap();
    (context, store)
}

fn new(name: usize) -> NewSession {
    NewSession::new().user("ann").connection(name.to_string()).set("name", &name).unwrap()
}

#[tokio::test]
async fn creates_at_once_are_each_made_by_one_script_and_answered_each_for_itself() {
    let (context, store) = warm().await;
    let before = context.count().await;
    let made = join_all((0..150).map(|name| store.create(new(name)))).await;
    assert_eq!(context.cost_since(&before).await.scripts, 150);
    for (name, created) in made.into_iter().enumerate() {
        let session = created.unwrap().session;
        assert_eq!(session.get::<usize>("name").unwrap(), Some(name));
        assert_eq!(store.get(session.id()).await.unwrap(), Some(session));
    }
    context.check().await;
}

#[tokio::test]
async fn of_two_creates_at_once_with_one_id_the_second_is_told_that_it_exists() {
    let (context, store) = warm().await;
    let id = || SessionId::new("s").unwrap();
    let (before, one, other, after) = tokio::join!(
        store.create(new(0)),
        store.create(new(1).id(id())),
        store.create(new(2).id(id())),
        store.create(new(3)),
    );
    assert_eq!(one.unwrap().session.id(), &id());
    assert_eq!(refusal(other), Refusal::Exists);
    assert!(before.is_ok() && after.is_ok());
    context.check().await;
}

#[tokio::test]
async fn what_is_wrong_with_one_of_the_creates_at_once_is_no_matter_of_the_others() {
    let (context, store) = warm().await;
    let key = context.key("user:foreign:sessions");
    context.command::<()>(&["SET", &key, "x"]).await;
    let (first, long, foreign, last) = tokio::join!(
        store.create(new(0)),
        store.create(new(1).user("x".repeat(257))),
        store.create(new(2).user("foreign")),
        store.create(new(3)),
    );
    assert!(first.is_ok() && last.is_ok());
    assert!(matches!(long, Err(Error::Invalid(Invalid { field: "user id", .. }))), "{long:?}");
    assert!(matches!(&foreign, Err(Error::Corrupt { what }) if what == "user"), "{foreign:?}");
    context.command::<()>(&["DEL", &key]).await;
    context.check().await;
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_others_their_sessions() {
    let (context, store) = warm().await;
    let mut first = store.create(new(0));
    let mut second = store.create(new(1));
    let mut third = store.create(new(2));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    assert!(futures::poll!(&mut third).is_pending());
    drop(second);
    assert_eq!(third.await.unwrap().session.connection(), Some("2"));
    assert_eq!(first.await.unwrap().session.connection(), Some("0"));
    // It was given up before it was sent.
    assert!(store.session_by_connection("1").await.unwrap().is_none());
    context.check().await;
}
