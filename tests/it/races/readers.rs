//! Readers while others write: none sees half a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::testing::{Stored, TestClock};
use cloakroom::{NewSession, PageRequest, Rules, Selector, SessionId};
use futures::future::FutureExt as _;
use rstest::rstest;

use super::{Race, two_stores, two_stores_at};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{On, Store};
use crate::support::record::LIVE;

/// Reads the record and the entries of a session at one instant, and tells whether they are all there or all gone.
async fn is_whole(context: &Context, id: &SessionId) -> bool {
    let record = context.record_key(id);
    let [user, expiry, connection] =
        [context.user_key("user-x"), context.key("expiry"), context.connection_key("connection-x")];
    if let Some(snapshot) = context.snapshot() {
        // Nothing in this waits, and the writer may be behind it in the queue.
        tokio::task::yield_now().await;
        let live = matches!(snapshot.get(&record), Some(Stored::String(record)) if record[1] == LIVE);
        return [user, expiry, connection].iter().all(|key| snapshot.contains_key(key) == live);
    }
    let (record, in_user, in_expiry, pointer): (Option<Vec<u8>>, Option<f64>, Option<f64>, Option<String>) =
        redis::pipe()
            .atomic()
            .get(record)
            .zscore(user, id.as_str())
            .zscore(expiry, id.as_str())
            .get(connection)
            .query_async(&mut context.raw())
            .await
            .unwrap();
    let live = record.is_some_and(|record| record[1] == LIVE);
    let pointed = pointer.as_deref() == Some(id.as_str());
    [in_user.is_some(), in_expiry.is_some(), pointed] == [live; 3]
}

const TOMBSTONE: Duration = Duration::from_millis(1);

/// Makes and deletes a session over and over.
async fn come_and_go(store: &Store, id: &SessionId, clock: &TestClock) {
    for _ in 0..200 {
        let new = NewSession::new().id(id.clone()).user("user-x").connection("connection-x");
        // The tombstone of the round before is over.
        clock.advance(TOMBSTONE);
        let created = store.create(new).await.unwrap();
        store.refresh(&created.session).await.unwrap().unwrap();
        store.delete(&created.session).await.unwrap();
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_reader_ever_sees_a_session_without_its_entries_or_one_that_disagrees_with_its_index(
    #[values(Redis, Memory)] on: On,
) {
    let context = Arc::new(Context::on(on).await);
    let [store, other] = two_stores_at(&context, Rules::new().tombstone(TOMBSTONE)).await;
    let done = Arc::new(AtomicBool::new(false));
    let id = SessionId::new("x").unwrap();
    let mut race = Race::new();
    race.add({
        let (store, id, done, clock) = (store.clone(), id.clone(), done.clone(), context.clock.clone());
        async move {
            come_and_go(&store, &id, &clock).await;
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
                let page = other.list(&Selector::user("user-x"), &PageRequest::first(10)).await;
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

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_a_session_under_a_user_or_node_that_it_left(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
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
                    for session in other.list(&Selector::user(&user), &page).await.unwrap().sessions {
                        assert_eq!(session.user(), Some(user.as_str()));
                    }
                    for session in other.list(&Selector::node(&node), &page).await.unwrap().sessions {
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
