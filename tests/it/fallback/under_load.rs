//! No logout storm: whatever happens to the server, no live session ever looks absent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore};
use cloakroom::{Binding, Error, Patch, Refusal, Session, SessionStore as _};
use rstest::rstest;
use tokio::task::JoinSet;

use super::{COOL_DOWN, impatient, recovers};
use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::proxy::Proxy;
use crate::support::stopped_time::polls;

const AGE: Duration = Duration::from_secs(600);
const TASKS: usize = 8;
const SESSIONS: usize = 16;

/// What becomes of the server.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Frozen,
    ShutDown,
    CutOff,
}

#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU64,
    errors: AtomicU64,
    absent: AtomicU64,
    /// Calls of the first outage that were answered when they were made, and those that waited.
    at_once: AtomicU64,
    waited: AtomicU64,
    done: AtomicBool,
}

impl Seen {
    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Makes a call, and notes what it came to, and whether it waited for a store that was known to be away.
    async fn call<T>(
        &self,
        store: &FallbackStore,
        call: impl Future<Output = Result<T, Error>>,
        is_absent: impl FnOnce(&T) -> bool,
    ) {
        // Later, a call may have to wait for a session of the first outage that is on its way to the store.
        let is_first_outage = || {
            let stats = store.stats();
            stats.opened == 1 && stats.breaker != BreakerState::Closed
        };
        let was_away = is_first_outage();
        let (polls, outcome) = polls(call).await;
        if was_away && is_first_outage() {
            let counter = if polls == 1 { &self.at_once } else { &self.waited };
            counter.fetch_add(1, Ordering::SeqCst);
        }
        self.note(outcome, is_absent);
    }

    fn note<T>(&self, outcome: Result<T, Error>, is_absent: impl FnOnce(&T) -> bool) {
        let counter = match &outcome {
            Ok(answer) if is_absent(answer) => &self.absent,
            Err(Error::Refused(Refusal::Missing)) => &self.absent,
            Ok(_) => &self.answered,
            Err(_) => &self.errors,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Calls on live sessions for as long as asked.
async fn load(store: FallbackStore, sessions: Arc<Vec<Session>>, seen: Arc<Seen>) {
    let mut number = 0_u64;
    while !seen.done.load(Ordering::SeqCst) {
        number += 1;
        let session = &sessions[fastrand::usize(..sessions.len())];
        let id = session.id();
        match number % 7 {
            0 => seen.call(&store, store.get(id), Option::is_none).await,
            1 => seen.call(&store, store.refresh(session), Option::is_none).await,
            2 => seen.call(&store, store.refresh_and_get(id), Option::is_none).await,
            3 => {
                let patch = Patch::new().set("n", &number).unwrap();
                seen.call(&store, store.patch(id, patch), |_| false).await;
            }
            // It answers the same for a session that is not there, and one that is not never has this connection.
            4 => seen.call(&store, store.unbind(session, "another"), |unbound| *unbound).await,
            // What it has already, so nothing changes.
            5 => {
                let binding = Binding::new(session.connection().unwrap()).node(session.node().unwrap());
                seen.call(&store, store.bind(session, binding), |_| false).await;
            }
            _ => {
                let found = store.session_by_connection(session.connection().unwrap());
                seen.call(&store, found, Option::is_none).await;
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn begin(fault: Fault, context: &mut Context, proxy: &Proxy) {
    match fault {
        Fault::Killed => context.server_mut().kill().await,
        Fault::Frozen => context.server_mut().freeze().await,
        // It answers nothing, it goes.
        Fault::ShutDown => drop(context.try_command::<()>(&["SHUTDOWN", "NOSAVE"]).await),
        Fault::CutOff => proxy.cut_off(true),
    }
}

async fn end(fault: Fault, context: &mut Context, proxy: &Proxy) {
    match fault {
        Fault::Killed | Fault::ShutDown => {
            context.server_mut().restart().await;
            context.reconnect().await;
        }
        Fault::Frozen => context.server_mut().thaw().await,
        Fault::CutOff => proxy.cut_off(false),
    }
}

/// A store on a server that loses nothing by a restart, and sessions in it.
async fn begun(policy: FallbackPolicy) -> (Context, Proxy, FallbackStore, Arc<Vec<Session>>) {
    let context = Context::own(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let proxy = Proxy::start(context.server().address()).await;
    let inner: Store = impatient(&context, &proxy.url).await;
    let builder = FallbackStore::builder(inner).policy(policy).failures(3).cool_down(COOL_DOWN);
    let store = builder.probe_timeout(Duration::from_millis(200)).build().unwrap();
    let through: Store = Arc::new(store.clone());
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        sessions.push(context.session(&through, &number.to_string()).await);
    }
    (context, proxy, store, Arc::new(sessions))
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_live_session_ever_looks_absent_and_no_call_waits_for_a_server_that_is_away(
    #[values(
        FallbackPolicy::FailClosed,
        FallbackPolicy::ServeStale { max_age: AGE },
        FallbackPolicy::LocalOnly { ttl: AGE }
    )]
    policy: FallbackPolicy,
    #[values(Fault::Killed, Fault::Frozen, Fault::ShutDown, Fault::CutOff)] fault: Fault,
) {
    let (mut context, proxy, store, sessions) = begun(policy).await;
    let seen = Arc::new(Seen::default());
    let tasks: JoinSet<_> = (0..TASKS).map(|_| load(store.clone(), sessions.clone(), seen.clone())).collect();
    eventually("a load", async || seen.answered() > 200).await;
    begin(fault, &mut context, &proxy).await;
    // About a second: a probe of a server that hangs takes until it is given up.
    let probes = if matches!(fault, Fault::Frozen) { 5 } else { 40 };
    eventually("an outage of some length", async || store.stats().probes >= probes).await;
    let before = seen.errors.load(Ordering::SeqCst) + seen.answered();
    eventually("a load while it is away", async || {
        seen.errors.load(Ordering::SeqCst) + seen.answered() > before + 5_000
    })
    .await;
    end(fault, &mut context, &proxy).await;
    recovers(&store).await;
    let before = seen.answered();
    eventually("success again, without a new store", async || seen.answered() > before + 500).await;
    seen.done.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    assert_eq!(seen.absent.load(Ordering::SeqCst), 0, "a live session looked absent");
    let [at_once, waited] = [&seen.at_once, &seen.waited].map(|counter| counter.load(Ordering::SeqCst));
    assert!(at_once > 0, "no call was made while the store was away");
    assert_eq!(waited, 0, "calls waited for a store that is away, and {at_once} did not");
    let stats = store.stats();
    assert_eq!((stats.dropped, stats.revoked, stats.breaker), (0, 0, BreakerState::Closed), "{stats:?}");
    recovers(&store).await;
    for session in sessions.iter() {
        assert!(store.get(session.id()).await.unwrap().is_some());
    }
    context.check().await;
}
