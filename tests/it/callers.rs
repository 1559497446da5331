//! Callers do not affect each other. A call that is dropped or not polled holds nobody up. However many calls wait for
//! a stalled server, the store probes it once per connection.

use std::time::Duration;

use cloakroom::{NewSession, Patch, Rules};
use futures::future::join_all;

use crate::support::Context;
use crate::support::context::{build, eventually};
use crate::support::proxy::Proxy;

#[tokio::test]
async fn a_create_that_is_not_polled_holds_no_other_create_up() {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1)).await;
    let mut kept: Vec<_> = (0..3).map(|_| store.create(NewSession::new())).collect();
    for create in &mut kept {
        assert!(futures::poll!(create).is_pending());
    }
    for _ in 0..3 {
        store.create(NewSession::new().user("ann")).await.unwrap();
    }
    for create in kept {
        create.await.unwrap();
    }
    context.check().await;
}

#[tokio::test]
async fn a_read_that_is_not_polled_holds_no_other_read_up() {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1)).await;
    let id = context.session(&store, "a").await.id().clone();
    // The first is sent by its own caller, the next two by a task.
    let mut kept: Vec<_> = (0..3).map(|_| store.get(&id)).collect();
    for get in &mut kept {
        assert!(futures::poll!(get).is_pending());
    }
    for _ in 0..3 {
        assert!(store.get(&id).await.unwrap().is_some());
    }
    for get in kept {
        assert!(get.await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_done_holds_no_other_up() {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1)).await;
    let id = context.session(&store, "a").await.id().clone();
    for _ in 0..100 {
        let (mut get, mut create) = (store.get(&id), store.create(NewSession::new()));
        assert!(futures::poll!(&mut get).is_pending() && futures::poll!(&mut create).is_pending());
        drop((get, create));
        assert!(store.get(&id).await.unwrap().is_some());
    }
    context.check().await;
}

#[tokio::test]
async fn a_server_that_stalls_is_probed_once_per_connection_however_many_calls_wait() {
    let context = Context::own(&[]).await;
    let proxy = Proxy::start(context.server().address()).await;
    let builder = cloakroom::RedisStore::builder(&proxy.url).namespace(&context.namespace).pool_size(1);
    let store = build(builder.deadline(Duration::from_secs(2))).await;
    let session = context.session(&store, "a").await;
    let before = context.count().await;
    proxy.silence(true);
    // Two seconds pass at once: nothing answers, so there is nothing else to wait for.
    tokio::time::pause();
    let patches = (0..1000).map(|n: u32| store.patch(&session, Patch::new().set("n", &n).unwrap()));
    let answers = join_all(patches).await;
    tokio::time::resume();
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(cloakroom::Error::is_ambiguous)));
    proxy.silence(false);
    let pings = async || context.cost_since(&before).await.checks;
    eventually("a probe to reach the server", async || pings().await > 0).await;
    // After 200 ms, and a second later.
    assert!(pings().await <= 2, "{} probes", pings().await);
}
