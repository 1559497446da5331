//! Readers while others write: none sees half a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::{
    Error, NewSession, Owner, PageRequest, RedisStore, Refusal, Rules, SessionId, SessionStore as _,
};
use futures::future::FutureExt as _;

use super::{Race, two_stores};
use crate::support::Context;

/// Reads the record and the entries of a session at one instant, and tells whether they are all there or all gone.
async fn is_whole(context: &Context, id: &SessionId) -> bool {
    let (user, connection) = ("user-x", "connection-x");
    let (record, in_user, in_expiry, pointer): (Option<Vec<u8>>, Option<f64>, Option<f64>, Option<String>) =
        redis::pipe()
            .atomic()
            .get(context.record_key(id))
            .zscore(context.key(format!("user:{user}:sessions")), id.as_str())
            .zscore(context.key("expiry"), id.as_str())
            .get(context.key(format!("connection:{connection}:session")))
            .query_async(&mut context.raw.clone())
            .await
            .unwrap();
    let live = record.is_some_and(|record| record[1] == crate::support::record::LIVE);
    let pointed = pointer.as_deref() == Some(id.as_str());
    [in_user.is_some(), in_expiry.is_some(), pointed] == [live; 3]
}

/// Makes and deletes a session over and over.
async fn come_and_go(store: &RedisStore, id: &SessionId) {
    for _ in 0..200 {
        let new = NewSession::new().id(id.clone()).user("user-x").connection("connection-x");
        // The tombstone of the round before may not be over.
        let created = loop {
            match store.create(new.clone()).await {
                Err(Error::Refused(Refusal::Gone)) => {}
                created => break created.unwrap(),
            }
        };
        store.refresh(&created.session).await.unwrap().unwrap();
        store.delete(&created.session).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_ever_sees_a_session_without_its_entries_or_one_that_disagrees_with_its_index() {
    let context = Arc::new(Context::new().await);
    let [store, other] = two_stores(&context, Rules::new().tombstone(Duration::from_millis(1))).await;
    let done = Arc::new(AtomicBool::new(false));
    let id = SessionId::new("x").unwrap();
    let mut race = Race::new();
    race.add({
        let (store, id, done) = (store.clone(), id.clone(), done.clone());
        async move {
            come_and_go(&store, &id).await;
            done.store(true, Ordering::SeqCst);
            0
        }
        .boxed()
    });
    race.add({
        let (context, id, done) = (context.clone(), id.clone(), done.clone());
        async move {
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) {
                assert!(is_whole(&context, &id).await, "half a session was seen");
                looks += 1;
            }
            looks
        }
        .boxed()
    });
    race.add({
        let done = done.clone();
        async move {
            let mut seen = 0;
            while !done.load(Ordering::SeqCst) {
                let page = other.list(&Owner::user("user-x"), &PageRequest::first(10)).await;
                let found = other.session_by_connection("connection-x").await.unwrap();
                for session in page.unwrap().sessions.iter().chain(&found) {
                    assert_eq!(session.id(), &id);
                    let routing = (session.user(), session.connection());
                    assert_eq!(routing, (Some("user-x"), Some("connection-x")));
                    seen += 1;
                }
            }
            seen
        }
        .boxed()
    });
    let seen: usize = race.run().await.into_iter().sum();
    assert!(seen > 0, "nobody looked");
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_a_session_under_a_user_or_node_that_it_left() {
    let context = Context::new().await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let session = context.session(&store, "a").await;
    let done = Arc::new(AtomicBool::new(false));
    let mut race = Race::new();
    race.add({
        let (store, done, mut session) = (store.clone(), done.clone(), session.clone());
        async move {
            for number in 0..200 {
                session.set_user(format!("user-{}", number % 2));
                session.set_node(format!("node-{}", number % 3));
                store.update(&mut session).await.unwrap();
            }
            done.store(true, Ordering::SeqCst);
        }
        .boxed()
    });
    for number in 0..2 {
        let (other, done) = (other.clone(), done.clone());
        race.add(
            async move {
                let (user, node) = (format!("user-{number}"), format!("node-{number}"));
                while !done.load(Ordering::SeqCst) {
                    let page = PageRequest::first(10);
                    for session in other.list(&Owner::user(&user), &page).await.unwrap().sessions {
                        assert_eq!(session.user(), Some(user.as_str()));
                    }
                    for session in other.list(&Owner::node(&node), &page).await.unwrap().sessions {
                        assert_eq!(session.node(), Some(node.as_str()));
                    }
                }
            }
            .boxed(),
        );
    }
    race.run().await;
    let session = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(session.version().get(), 201);
    context.check().await;
}
