//! Runtimes: two in a process, one that ends under a call, and none.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::fallback::{BreakerState, FallbackStore};
use cloakroom::migration::MigrationManager;
use cloakroom::nodes::{Lease, LeaseOptions};
use cloakroom::{Error, MemoryStore, NewSession, RedisStore, Rules, SessionStore as _};
use futures::FutureExt as _;
use futures::executor::block_on;
use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};

use crate::support::Context;
use crate::support::context::eventually;
use crate::support::expect::session_id;
use crate::support::proxy::Proxy;

const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Many calls at once, each of which has to succeed.
async fn use_it(store: &RedisStore, calls: usize) {
    let call = async || {
        let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
        assert!(store.get(session.id()).await.unwrap().is_some());
        assert!(store.delete(session.id()).await.unwrap().is_some());
    };
    join_all((0..calls).map(|_| call())).await;
}

#[test]
fn two_runtimes_use_one_store_at_once_and_either_may_end() {
    let servers = runtime();
    let context = servers.block_on(Context::own(&[]));
    let (one, two) = (runtime(), runtime());
    let store = one.block_on(context.builder(Rules::new()).deadline(LONG).build()).unwrap();
    std::thread::scope(|scope| {
        for runtime in [&one, &two] {
            let store = &store;
            scope.spawn(move || {
                runtime.block_on(async {
                    for _ in 0..20 {
                        use_it(store, 10).await
                    }
                })
            });
        }
    });
    // Its connections go with it, and the other makes its own.
    drop(one);
    two.block_on(use_it(&store, 20));
    drop(two);
    let three = runtime();
    three.block_on(use_it(&store, 20));
    servers.block_on(context.check());
}

#[test]
fn a_runtime_that_ends_under_a_call_strands_no_other() {
    let servers = runtime();
    let context = servers.block_on(Context::own(&[]));
    let proxy = servers.block_on(Proxy::start(context.server().address()));
    let other = runtime();
    for is_silent_from_the_start in [true, false] {
        let first = runtime();
        let builder = RedisStore::builder(&proxy.url).namespace(&context.namespace).deadline(LONG);
        let store =
            first.block_on(async { builder.connect_timeout(LONG).pool_size(1).build_lazy().unwrap() });
        if !is_silent_from_the_start {
            first.block_on(use_it(&store, 1));
        }
        proxy.silence_after(0);
        for _ in 0..5 {
            let called = store.clone();
            first.spawn(async move { called.create(NewSession::new()).await });
        }
        servers.block_on(proxy.swallows());
        first.shutdown_background();
        proxy.silence(false);
        other.block_on(use_it(&store, 20));
    }
}

/// A call that finds its connection gone begins to make another, in a runtime that takes no more tasks.
#[test]
fn a_runtime_that_ends_while_calls_are_made_ends() {
    let servers = runtime();
    let context = servers.block_on(Context::own(&[]));
    let id = session_id("none");
    for _ in 0..100 {
        let ending = runtime();
        let store = ending.block_on(context.builder(Rules::new()).build()).unwrap();
        ending.block_on(async { store.get(&id).await.unwrap() });
        for _ in 0..8 {
            let (store, id) = (store.clone(), id.clone());
            ending.spawn(async move {
                loop {
                    let _ = store.get_fresh(&id).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(ending);
            ended.send(())
        });
        end.recv_timeout(LONG).expect("the runtime does not end");
    }
}

/// The task that is to make the connection waits for its turn, and a call of another runtime for the task.
#[test]
fn a_runtime_that_ends_between_two_attempts_to_connect_strands_no_other() {
    let servers = runtime();
    let context = servers.block_on(Context::own(&[]));
    let proxy = servers.block_on(Proxy::start(context.server().address()));
    let (first, other) = (runtime(), runtime());
    let builder = RedisStore::builder(&proxy.url).namespace(&context.namespace).deadline(LONG);
    let store = first.block_on(builder.connect_timeout(LONG).pool_size(1).build()).unwrap();
    let id = session_id("none");
    proxy.cut_off(true);
    first.block_on(async {
        // Each is made half a second after the one before at last.
        for _ in 0..10 {
            assert!(store.get(&id).await.is_err());
        }
        assert!(store.get(&id).now_or_never().is_none());
    });
    let mut call = Box::pin(store.get(&id));
    {
        let _other = other.enter();
        assert!((&mut call).now_or_never().is_none());
    }
    proxy.cut_off(false);
    first.shutdown_background();
    assert!(other.block_on(call).unwrap().is_none());
}

#[test]
fn the_breaker_of_a_fallback_store_closes_though_the_runtime_ended_in_which_it_opened() {
    let servers = runtime();
    let context = servers.block_on(Context::own(&[]));
    let proxy = servers.block_on(Proxy::start(context.server().address()));
    let first = runtime();
    let store = first.block_on(async {
        let builder = RedisStore::builder(&proxy.url).namespace(&context.namespace).deadline(LONG);
        let redis = Arc::new(builder.build().await.unwrap());
        let store =
            FallbackStore::builder(redis).failures(1).cool_down(Duration::from_millis(20)).build().unwrap();
        proxy.cut_off(true);
        while store.stats().breaker == BreakerState::Closed {
            let _ = store.create(NewSession::new()).await;
        }
        store
    });
    first.shutdown_background();
    proxy.cut_off(false);
    let second = runtime();
    second.block_on(eventually("a call succeeds", async || store.create(NewSession::new()).await.is_ok()));
}

#[test]
fn outside_of_a_runtime_there_is_a_plain_error_and_no_panic() {
    let is_runtime = |error: Error| {
        assert_eq!(error.to_string(), "runtime is missing: call this within a Tokio runtime");
    };
    let runtime = runtime();
    let context = runtime.block_on(Context::own(&[]));
    let store = runtime.block_on(context.builder(Rules::new()).build()).unwrap();
    let memory = Arc::new(MemoryStore::builder().build().unwrap());

    is_runtime(RedisStore::builder("redis://127.0.0.1/").build_lazy().unwrap_err());
    is_runtime(block_on(RedisStore::builder("redis://127.0.0.1/").build()).unwrap_err());
    is_runtime(block_on(store.create(NewSession::new())).unwrap_err());
    is_runtime(block_on(store.get(&session_id("a"))).unwrap_err());
    is_runtime(Reaper::builder(memory.clone()).spawn().unwrap_err());
    is_runtime(block_on(Lease::acquire(memory.clone(), "n", LeaseOptions::new())).unwrap_err());
    is_runtime(MigrationManager::builder(memory.clone(), memory.clone()).build().unwrap_err());

    // The store in memory needs none.
    let session = block_on(memory.create(NewSession::new())).unwrap().session;
    assert!(block_on(memory.get(session.id())).unwrap().is_some());
    let fallback = FallbackStore::builder(memory).build().unwrap();
    block_on(fallback.create(NewSession::new())).unwrap();
}
