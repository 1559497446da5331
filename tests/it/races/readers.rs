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

/// The most rounds that a writer goes on, for readers that have not seen all there is to see.
const MOST: u64 = 100_000;

/// What readers have seen so far of what there is to see.
#[derive(Debug, Default)]
struct Seen([AtomicBool; 4]);

impl Seen {
    fn note(&self, what: usize) {
        self.0[what].store(true, Ordering::SeqCst);
    }

    /// Whether a writer may stop, after so many rounds.
    fn is_enough(&self, rounds: u64) -> bool {
        assert!(rounds < MOST, "seen: {self:?}");
        rounds >= 200 && self.0.iter().all(|seen| seen.load(Ordering::SeqCst))
    }
}

/// Reads the record and the entries of a session at one instant, and tells whether it is live. `None`: they are neither all
/// there nor all gone.
async fn look(context: &Context, id: &SessionId) -> Option<bool> {
    let record = context.record_key(id);
    let [user, expiry, connection] =
        [context.user_key("user-x"), context.key("expiry"), context.connection_key("connection-x")];
    if let Some(snapshot) = context.snapshot() {
        // Nothing in this waits, and the writer may be behind it in the queue.
        tokio::task::yield_now().await;
        let live = matches!(snapshot.get(&record), Some(Stored::String(record)) if record[1] == LIVE);
        let are_there = [user, expiry, connection].map(|key| snapshot.contains_key(&key));
        return (are_there == [live; 3]).then_some(live);
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
    ([in_user.is_some(), in_expiry.is_some(), pointed] == [live; 3]).then_some(live)
}

const TOMBSTONE: Duration = Duration::from_millis(1);

/// Makes and deletes a session over and over, until all readers have seen it and seen it gone.
async fn come_and_go(store: &Store, id: &SessionId, clock: &TestClock, seen: &Seen) {
    let mut rounds = 0;
    while !seen.is_enough(rounds) {
        rounds += 1;
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
    let (done, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let id = SessionId::new("x").unwrap();
    let mut race = Race::new();
    race.add({
        let (store, id, done, clock) = (store.clone(), id.clone(), done.clone(), context.clock.clone());
        let seen = seen.clone();
        async move {
            come_and_go(&store, &id, &clock, &seen).await;
            done.store(true, Ordering::SeqCst);
        }
        .boxed()
    });
    race.add({
        let (context, id, done, seen) = (context.clone(), id.clone(), done.clone(), seen.clone());
        async move {
            while !done.load(Ordering::SeqCst) {
                let is_live = look(&context, &id).await.expect("half a session was seen");
                seen.note(usize::from(is_live));
            }
        }
        .boxed()
    });
    race.add({
        let done = done.clone();
        async move {
            while !done.load(Ordering::SeqCst) {
                let page = other.list(&Selector::user("user-x"), &PageRequest::first(10)).await.unwrap();
                let found = other.session_by_connection("connection-x").await.unwrap();
                seen.note(if found.is_some() { 2 } else { 3 });
                for session in page.sessions.iter().chain(&found) {
                    assert_eq!(session.id(), &id);
                    let routing = (session.user(), session.connection());
                    assert_eq!(routing, (Some("user-x"), Some("connection-x")));
                }
            }
        }
        .boxed()
    });
    race.run().await;
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_a_session_under_a_user_or_node_that_it_left(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let session = context.session(&store, "a").await;
    let (done, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let mut race = Race::new();
    race.add({
        let (store, done, seen, mut session) = (store.clone(), done.clone(), seen.clone(), session.clone());
        async move {
            let mut number = 0;
            while !seen.is_enough(number) {
                number += 1;
                session.set_user(format!("user-{}", number % 2));
                session.set_node(format!("node-{}", number % 3));
                store.update(&mut session).await.unwrap();
            }
            done.store(true, Ordering::SeqCst);
            number
        }
        .boxed()
    });
    for number in 0..2 {
        let (other, done, seen) = (other.clone(), done.clone(), seen.clone());
        race.add(
            async move {
                let (user, node) = (format!("user-{number}"), format!("node-{number}"));
                while !done.load(Ordering::SeqCst) {
                    let page = PageRequest::first(10);
                    for session in other.list(&Selector::user(&user), &page).await.unwrap().sessions {
                        assert_eq!(session.user(), Some(user.as_str()));
                        seen.note(number);
                    }
                    for session in other.list(&Selector::node(&node), &page).await.unwrap().sessions {
                        assert_eq!(session.node(), Some(node.as_str()));
                        seen.note(2 + number);
                    }
                }
                0
            }
            .boxed(),
        );
    }
    let changes = race.run().await[0];
    let session = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(session.version().get(), 1 + changes);
    context.check().await;
}
