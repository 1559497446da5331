//! Faults of the server and of connections: callers see success, or a plain error while nothing else is possible.

mod connections;
mod crash;
mod nodes;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cloakroom::{
    Binding, Error, NewSession, Obstacle, PageRequest, Patch, Rotation, Rules, Selector, Session, SessionId,
    SessionStoreExt as _,
};
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use tokio::task::JoinSet;

use crate::support::Context;
use crate::support::context::Store;

const TASKS: u64 = 8;

/// What a load has done so far.
#[derive(Debug, Default)]
struct Progress {
    rounds: AtomicU64,
    done: AtomicBool,
}

impl Progress {
    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

/// Puts a store under a load that no fault may show in, and meanwhile disturbs it. Each task has a session of its
/// own, so that every answer is known beforehand: what happens twice or not at all is found at once.
async fn undisturbed_under<F: Future<Output = ()>>(
    store: &Store,
    rounds: u64,
    disturb: impl FnOnce(Arc<Progress>) -> F,
) {
    let progress = Arc::new(Progress::default());
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(load(store.clone(), task, rounds, progress.clone()));
    }
    let load = async {
        tasks.join_all().await;
        progress.done.store(true, Ordering::SeqCst);
    };
    tokio::join!(load, disturb(progress.clone()));
}

async fn load(store: Store, task: u64, rounds: u64, progress: Arc<Progress>) {
    let user = format!("user-{task}");
    let new = NewSession::new().user(&user).set("count", &0).unwrap();
    let mut session = store.create(new).await.unwrap().session;
    for round in 1..=rounds {
        let id = session.id().clone();
        let version = session.version().get();
        let patch = || Patch::new().set("round", &round).unwrap();
        once(&store, &id, version, || store.patch(&id, patch()).map_ok(drop).boxed()).await;
        let count = |session: &mut Session| {
            let count: u64 = session.get("count")?.unwrap();
            session.set("count", &(count + 1))
        };
        once(&store, &id, version + 1, || store.modify(&id, count).map_ok(drop).boxed()).await;
        let connection = format!("connection-{task}-{round}");
        let binding = || Binding::new(&connection).node("n");
        once(&store, &id, version + 2, || store.bind(&id, binding()).map_ok(drop).boxed()).await;
        let found = store.session_by_connection(&connection).await.unwrap().unwrap();
        assert_eq!(found.id(), &id);
        once(&store, &id, version + 3, || store.unbind(&id, &connection).map_ok(drop).boxed()).await;
        once(&store, &id, version + 4, || store.rotate(&id, Rotation::new()).map_ok(drop).boxed()).await;
        session = store.get(&id).await.unwrap().expect("live under its new id");
        store.refresh(&session).await.unwrap().expect("live");
        let found = store.get(&id).await.unwrap().expect("live under its old id");
        assert_eq!((found.id(), found.version().get()), (session.id(), version + 5));
        assert_eq!(found.get::<u64>("count").unwrap(), Some(round));
        assert_eq!(found.get::<u64>("round").unwrap(), Some(round));

        let other = store.create(NewSession::new().user(&user)).await.unwrap().session;
        let page = store.list(&Selector::user(&user), &PageRequest::first(10)).await;
        assert_eq!(page.unwrap().sessions.len(), 2);
        assert!(store.delete(other.id()).await.unwrap().is_some(), "deleted once");
        assert_eq!(store.count(&Selector::user(&user)).await.unwrap(), 1);
        progress.rounds.fetch_add(1, Ordering::SeqCst);
    }
    let gone = store.delete_user(&user, None).await.unwrap().removed;
    assert_eq!(gone.len(), 1);
}

/// Makes a call that changes a session of this version, once. A call that is cut is in doubt where four changes were made
/// in the very moment before; then what is stored tells whether it happened.
async fn once<'a>(
    store: &Store,
    id: &SessionId,
    version: u64,
    call: impl Fn() -> BoxFuture<'a, Result<(), Error>>,
) {
    loop {
        let answer = call().await;
        let is_ambiguous = answer.as_ref().is_err_and(Error::is_ambiguous);
        assert!(answer.is_ok() || is_ambiguous, "{answer:?}");
        let now = store.get(id).await.unwrap().expect("live").version().get();
        if now == version + 1 {
            return;
        }
        assert!(is_ambiguous && now == version, "version {now} after a change of {version}");
    }
}

/// Why a call was not executed. Anything else fails the test.
fn obstacle<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Obstacle {
    match outcome {
        Err(Error::NotExecuted { reason, .. }) => reason,
        other => panic!("not a NotExecuted: {other:?}"),
    }
}

/// The causes of an error, as text.
fn causes<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    let error = outcome.unwrap_err();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    let mut text = String::new();
    while let Some(error) = cause {
        text.push_str(&format!("{error}; "));
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn script_flush_in_a_loop_under_load_is_invisible() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    let mut flushes = 0;
    undisturbed_under(&store, 40, async |progress| {
        while !progress.is_done() {
            context.command::<()>(&["SCRIPT", "FLUSH"]).await;
            flushes += 1;
        }
    })
    .await;
    assert!(flushes > 40, "the load was hardly disturbed: {flushes} flushes");
    context.check().await;
}

#[tokio::test]
async fn script_flush_before_each_operation_is_invisible() {
    let context = Context::own(&[]).await;
    let store = context.store_at(Rules::new()).await;
    let flush = || context.command::<()>(&["SCRIPT", "FLUSH", "SYNC"]);
    flush().await;
    let mut session = context.session(&store, "a").await;
    flush().await;
    assert!(store.get(session.id()).await.unwrap().is_some());
    flush().await;
    session.set("color", "red").unwrap();
    store.update(&mut session).await.unwrap();
    flush().await;
    store.patch(&session, Patch::new().set("color", "blue").unwrap()).await.unwrap();
    flush().await;
    assert!(store.refresh(&session).await.unwrap().is_some());
    flush().await;
    assert!(store.refresh_and_get(&session).await.unwrap().is_some());
    flush().await;
    let session = store.rotate(&session, Rotation::new()).await.unwrap().session;
    flush().await;
    store.bind(&session, Binding::new("new")).await.unwrap();
    flush().await;
    assert!(store.session_by_connection("new").await.unwrap().is_some());
    flush().await;
    assert!(store.unbind(&session, "new").await.unwrap());
    flush().await;
    let owner = Selector::user("user-a");
    assert_eq!(store.count(&owner).await.unwrap(), 1);
    flush().await;
    let page = store.list(&owner, &PageRequest::first(10)).await.unwrap();
    assert_eq!(page.sessions.len(), 1);
    flush().await;
    assert!(store.delete(&session).await.unwrap().is_some());
    context.session(&store, "a").await;
    flush().await;
    assert_eq!(store.delete_user("user-a", None).await.unwrap().removed.len(), 1);
    let session = context.session(&store, "a").await;
    context.clock.set_ms(session.expires_at_ms());
    flush().await;
    assert_eq!(store.expired(None, 0, 10).await.unwrap().len(), 1);
    flush().await;
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    context.check().await;
}
