//! A server that is killed in mid-run and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cloakroom::{
    Error, NewSession, Obstacle, PageRequest, Patch, RedisStore, Rules, Selector, SessionId,
    SessionStore as _,
};
use tokio::task::JoinSet;

use super::obstacle;
use crate::support::Context;
use crate::support::context::{Store, eventually};

/// Nothing that was answered is lost.
const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

#[derive(Debug, Default)]
struct Seen {
    successes: AtomicU64,
    errors: AtomicU64,
    done: AtomicBool,
}

impl Seen {
    /// Counts an outcome. An error must say that the server is the trouble, never that a session is not there.
    async fn note<T>(&self, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.successes.fetch_add(1, Ordering::SeqCst);
                Some(value)
            }
            Err(error) => {
                assert!(error.is_not_executed() || error.is_ambiguous(), "{error:?}");
                self.errors.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                None
            }
        }
    }
}

/// A session whose making was answered, and the last value that was.
struct Answered {
    id: SessionId,
    value: u64,
    /// Of patches that ended ambiguously since: any of them may be stored.
    later: u64,
}

async fn run(store: Store, task: usize, seen: Arc<Seen>) -> Vec<Answered> {
    let mut answered: Vec<Answered> = Vec::new();
    let mut number = 0;
    while !seen.done.load(Ordering::SeqCst) {
        number += 1;
        let new = NewSession::new()
            .user(format!("user-{task}"))
            .connection(format!("connection-{task}-{number}"))
            .node("n");
        if let Some(created) = seen.note(store.create(new).await).await {
            answered.push(Answered { id: created.session.id().clone(), value: 0, later: 0 });
        }
        let Some(last) = answered.last_mut() else {
            continue;
        };
        let patch = Patch::new().set("value", &number).unwrap();
        if seen.note(store.patch(&last.id, patch).await).await.is_some() {
            (last.value, last.later) = (number, number);
        } else {
            last.later = number;
        }
        if let Some(found) = seen.note(store.get(&last.id).await).await {
            assert!(found.is_some(), "a live session looked absent");
        }
        if let Some(refreshed) = seen.note(store.refresh(&last.id).await).await {
            assert!(refreshed.is_some(), "a live session looked absent");
        }
        let page = store.list(&Selector::user(format!("user-{task}")), &PageRequest::first(500)).await;
        if let Some(page) = seen.note(page).await {
            assert!(!page.sessions.is_empty(), "a user with live sessions looked without");
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_gives_plain_errors_and_comes_back_with_all_that_was_answered() {
    let mut context = Context::own(DURABLE).await;
    let store = context.store(Rules::new()).await;
    let seen = Arc::new(Seen::default());
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        tasks.spawn(run(store.clone(), task, seen.clone()));
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    eventually("a load", async || count(&seen.successes) > 200).await;
    context.server_mut().kill().await;
    let before = count(&seen.errors);
    eventually("errors while it is down", async || count(&seen.errors) > before + 50).await;
    context.server_mut().restart().await;
    let before = count(&seen.successes);
    eventually("success again, without a new store", async || count(&seen.successes) > before + 200).await;
    seen.done.store(true, Ordering::SeqCst);
    let answered: Vec<Answered> = tasks.join_all().await.into_iter().flatten().collect();

    context.reconnect().await;
    context.check().await;
    assert!(answered.len() > 40);
    for Answered { id, value, later } in answered {
        let session = store.get(&id).await.unwrap().expect("its making had been answered");
        let stored: u64 = session.get("value").unwrap().unwrap_or(0);
        assert!((value..=later).contains(&stored), "{stored} is stored, {value} was answered");
        let connection = session.connection().unwrap();
        let found = store.session_by_connection(connection).await.unwrap().unwrap();
        assert_eq!(found.id(), &id);
    }
}

#[tokio::test]
async fn a_call_while_the_server_is_down_tells_that_there_is_no_connection() {
    let mut context = Context::own(DURABLE).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.server_mut().kill().await;
    // The first use of each connection finds it broken; a write that was on its way may have happened.
    for _ in 0..8 {
        assert!(store.get(session.id()).await.unwrap_err().is_not_executed());
    }
    for _ in 0..4 {
        assert_eq!(obstacle(store.get(session.id()).await), Obstacle::Connect);
        assert_eq!(obstacle(store.delete(&session).await), Obstacle::Connect);
        assert_eq!(obstacle(store.refresh(&session).await), Obstacle::Connect);
        assert_eq!(obstacle(store.create(NewSession::new()).await), Obstacle::Connect);
        assert_eq!(obstacle(store.reap(10).await), Obstacle::Connect);
    }
    context.server_mut().restart().await;
    context.reconnect().await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    store.delete(&session).await.unwrap();
    context.check().await;
}

/// A store that gives up soon, with a connection that is sound.
async fn impatient(context: &Context) -> RedisStore {
    let store = context
        .builder(Rules::new())
        .deadline(Duration::from_secs(1))
        .connect_timeout(Duration::from_millis(500));
    store.build().await.unwrap()
}

/// The outer limit stands for "at once": far more than any deadline here, far less than for ever.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), call).await.expect("the call kept its deadline")
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_call_its_deadline_and_no_more() {
    let mut context = Context::own(&[]).await;
    let session = context.session(&context.store(Rules::new()).await, "a").await;
    let (reader, lister, writer) =
        (impatient(&context).await, impatient(&context).await, impatient(&context).await);
    context.server_mut().freeze().await;
    let owner = Selector::user("user-a");
    // The connection is given up after half a second, and no other can be made.
    assert_eq!(obstacle(in_time(reader.get(session.id())).await), Obstacle::Connect);
    assert_eq!(obstacle(in_time(lister.count(&owner)).await), Obstacle::Connect);
    let patch = Patch::new().set("color", "red").unwrap();
    let error = in_time(writer.patch(&session, patch.clone())).await.unwrap_err();
    let Error::Ambiguous { operation_id, .. } = error else {
        panic!("it was sent, so it may happen: {error:?}");
    };
    // The connection is under suspicion now, so this is not even sent.
    assert!(in_time(writer.delete(&session)).await.unwrap_err().is_not_executed());
    assert!(in_time(reader.get(session.id())).await.unwrap_err().is_not_executed());

    context.server_mut().thaw().await;
    for store in [&reader, &lister, &writer] {
        eventually("the same store works again", async || store.get(session.id()).await.is_ok()).await;
    }
    // It happens now, since the server had it in its buffer, or with the retry, and once.
    let again = writer.with_operation_id(operation_id);
    let patched = again.patch(&session, patch).await.unwrap();
    assert_eq!(patched.version.get(), 2);
    let stored = context.stored(session.id()).await.unwrap();
    assert_eq!(stored.version, 2);
    context.check().await;
}
