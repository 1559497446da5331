//! A peer that falls silent: a load balancer that dropped a connection silently, a server that stalls. Whatever the
//! callers' deadlines are, the store notices by itself and connects again.

use std::time::{Duration, Instant};

use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore};
use cloakroom::{NewSession, Patch, RedisStore, Rules, SessionId, SessionStore as _};
use futures::future::join_all;
use rstest::rstest;

use crate::support::Context;
use crate::support::context::{Store, build, eventually};
use crate::support::delayed::Delayed;
use crate::support::expect::causes;
use crate::support::proxy::Proxy;

/// What a connection may take, in the store's settings and so in the promise.
const CONNECT: Duration = Duration::from_secs(1);

const CONNECTIONS: u32 = 4;

struct Behind {
    context: Context,
    proxy: Proxy,
    store: Store,
    id: SessionId,
}

impl Behind {
    async fn new(deadline: Duration) -> Self {
        let context = Context::own(&[]).await;
        let proxy = Proxy::start(context.server().address()).await;
        let builder = RedisStore::builder(&proxy.url).namespace(&context.namespace);
        let builder = builder.pool_size(CONNECTIONS).connect_timeout(CONNECT).deadline(deadline);
        // The first store of a process prepares the scripts, which takes a debug build longer than some deadlines.
        let id = context.session(&context.store(Rules::new()).await, "a").await.id().clone();
        let store = build(builder).await;
        Self { context, proxy, store, id }
    }

    /// Calls at once, so that every connection of the pool is there.
    async fn warm_up(&self) {
        join_all((0..64).map(|_| self.store.get(&self.id))).await;
    }
}

/// Calls until one is answered.
async fn first_answer(store: &Store, id: &SessionId) {
    while store.get(id).await.is_err() {}
}

/// The bound is the promise: a second, and what a connection takes.
#[rstest]
#[tokio::test]
async fn connections_that_fell_silent_are_replaced_whatever_the_deadline_is(
    #[values(200, 700, 2000, 5000)] deadline_ms: u64,
    #[values(1, 64)] callers: usize,
) {
    let behind = Behind::new(Duration::from_millis(deadline_ms)).await;
    behind.warm_up().await;
    behind.proxy.forget_connections();
    let began = Instant::now();
    let answers = (0..callers).map(|_| first_answer(&behind.store, &behind.id));
    let first = Box::pin(futures::future::select_all(answers.map(Box::pin)));
    tokio::time::timeout(Duration::from_secs(20), first).await.expect("it never recovers");
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(1) + CONNECT, "the first answer came after {took:?}");
    // And so it goes on.
    join_all((0..callers).map(|_| first_answer(&behind.store, &behind.id))).await;
    behind.store.patch(&behind.id, Patch::new().set("a", &1).unwrap()).await.unwrap();
    behind.context.check().await;
}

#[tokio::test]
async fn a_write_on_a_connection_that_fell_silent_is_sent_again_and_happens_once() {
    let behind = Behind::new(Duration::from_secs(20)).await;
    behind.warm_up().await;
    behind.proxy.forget_connections();
    let patched = behind.store.patch(&behind.id, Patch::new().set("a", &1).unwrap()).await.unwrap();
    assert_eq!(patched.version.get(), 2);
    behind.proxy.silence(true);
    let again = behind.store.patch(&behind.id, Patch::new().set("a", &2).unwrap());
    let (again, ()) = tokio::join!(again, async {
        behind.proxy.swallows().await;
        behind.proxy.forget_connections();
        behind.proxy.silence(false);
    });
    assert_eq!(again.unwrap().version.get(), 3, "its reply was swallowed, and it happened once");
}

#[tokio::test]
async fn what_was_never_sent_is_not_executed_and_the_error_says_that_the_server_is_silent() {
    let behind = Behind::new(Duration::from_millis(700)).await;
    behind.warm_up().await;
    behind.proxy.silence(true);
    let patch = || behind.store.patch(&behind.id, Patch::new().set("a", &1).unwrap());
    let sent = patch().await.unwrap_err();
    assert!(sent.is_ambiguous(), "{}", causes(&sent));
    // The others are on their way by now, or were asked: from here on nothing is sent on any of them.
    while patch().await.unwrap_err().is_ambiguous() {}
    for error in join_all((0..16).map(|_| patch())).await {
        let error = error.unwrap_err();
        assert!(error.is_not_executed(), "{}", causes(&error));
        assert!(causes(&error).contains("silent"), "{}", causes(&error));
    }
    behind.proxy.silence(false);
    eventually("it recovers", async || patch().await.is_ok()).await;
    behind.context.check().await;
}

/// The stall is as long as it says: it is what is tested, and no wait for something to settle.
#[tokio::test]
async fn a_server_that_stalls_for_a_second_makes_no_call_ambiguous_and_costs_no_connection() {
    let mut behind = Behind::new(Duration::from_secs(20)).await;
    behind.warm_up().await;
    let store = behind.store.clone();
    let sessions = join_all((0..32).map(|_| store.create(NewSession::new()))).await;
    let ids: Vec<_> = sessions.into_iter().map(|created| created.unwrap().session.id().clone()).collect();
    behind.context.server_mut().freeze().await;
    let patches = join_all(ids.iter().map(|id| store.patch(id, Patch::new().set("a", &1).unwrap())));
    let (patched, ()) = tokio::join!(patches, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        behind.context.server_mut().thaw().await;
    });
    for patched in patched {
        assert_eq!(patched.unwrap().version.get(), 2, "once");
    }
    eventually("there are no more connections than there were to be", async || {
        let clients: String = behind.context.command(&["CLIENT", "LIST", "TYPE", "normal"]).await;
        clients.lines().count() <= CONNECTIONS as usize + 1
    })
    .await;
}

#[tokio::test]
async fn callers_who_find_nobody_there_make_few_connections_however_many_they_are() {
    let behind = Behind::new(Duration::from_millis(200)).await;
    behind.warm_up().await;
    for out_of_reach in [Proxy::silence, Proxy::cut_off] {
        let before = behind.proxy.accepted();
        out_of_reach(&behind.proxy, true);
        let began = Instant::now();
        let calls = (0..64).map(|_| async {
            while began.elapsed() < Duration::from_secs(1) {
                let _ = behind.store.get(&behind.id).await;
            }
        });
        join_all(calls).await;
        let made = behind.proxy.accepted() - before;
        // A place begins at most 8 connections in a second, and each of them again where it is cut, 5 times in all.
        let most = u64::from(CONNECTIONS) * 8 * 5;
        assert!(made <= most, "{made} connections");
        out_of_reach(&behind.proxy, false);
        eventually("it recovers", async || behind.store.get(&behind.id).await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_fallback_store_on_a_peer_that_fell_silent_closes_its_breaker_again() {
    let behind = Behind::new(Duration::from_millis(300)).await;
    behind.warm_up().await;
    let store = FallbackStore::builder(behind.store.clone())
        .policy(FallbackPolicy::FailClosed)
        .cool_down(Duration::from_millis(100))
        .probe_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    behind.proxy.silence(true);
    eventually("the breaker opens", async || {
        let _ = store.get(&behind.id).await;
        store.stats().breaker != BreakerState::Closed
    })
    .await;
    behind.proxy.forget_connections();
    behind.proxy.silence(false);
    eventually("the breaker closes", async || store.stats().breaker == BreakerState::Closed).await;
    assert!(store.get(&behind.id).await.unwrap().is_some());
}

/// A number out of INFO.
async fn told(context: &Context, section: &str, before: &str) -> u64 {
    let info: String = context.command(&["INFO", section]).await;
    let number = info.lines().find_map(|line| line.strip_prefix(before));
    number.map_or(0, |number| number.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_server_that_is_far_away_is_not_taken_for_a_silent_one() {
    let context = Context::own(&[]).await;
    let delayed = Delayed::start(context.server().address(), Duration::from_millis(150)).await;
    let connections = || told(&context, "stats", "total_connections_received:");
    let before = connections().await;
    let builder = RedisStore::builder(&delayed.url).namespace(&context.namespace).pool_size(CONNECTIONS);
    let store = build(builder).await;
    let pings = || told(&context, "commandstats", "cmdstat_ping:calls=");
    let pings_before = pings().await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    for _ in 0..8 {
        let calls = join_all((0..32).map(|_| store.get(session.id()))).await;
        assert!(calls.into_iter().all(|found| found.unwrap().is_some()));
        store.patch(session.id(), Patch::new().set("a", &1).unwrap()).await.unwrap();
    }
    let (made, asked) = (connections().await - before, pings().await - pings_before);
    assert!(made <= u64::from(CONNECTIONS), "{made} connections were made");
    assert!(asked <= u64::from(CONNECTIONS), "{asked} times they were asked whether they are alive");
}
