//! Connections that break, fall silent, or deliver a reply together with the report of a change.

use std::time::{Duration, Instant};

use cloakroom::{NewSession, Patch, RedisStore, RedisStoreBuilder, Session};

use super::{HOUR, asks, rules};
use crate::support::Context;
use crate::support::context::{Store, build, eventually};
#[cfg(target_os = "linux")]
use crate::support::faketime::FakeTime;
use crate::support::proxy::Proxy;

/// A store behind a proxy, and another process that reaches the server.
struct Behind {
    context: Context,
    proxy: Proxy,
    store: Store,
    other: Store,
}

impl Behind {
    async fn new(setting: impl FnOnce(RedisStoreBuilder) -> RedisStoreBuilder) -> Self {
        let context = Context::own(&[]).await;
        let proxy = Proxy::start(context.server().address()).await;
        let builder = RedisStore::builder(&proxy.url).namespace(&context.namespace).rules(rules());
        let builder = builder.near_cache(1000).near_cache_staleness(HOUR).deadline(Duration::from_secs(10));
        let store = build(setting(builder)).await;
        let other = context.store(rules()).await;
        Self { context, proxy, store, other }
    }

    async fn read(&self) -> Session {
        let session = self.other.create(NewSession::new()).await.unwrap().session;
        self.store.get(session.id()).await.unwrap().unwrap();
        assert_eq!(asks(&self.context, self.store.get(session.id())).await.1, 0);
        session
    }
}

#[tokio::test]
async fn a_reply_that_its_own_invalidation_overtook_is_not_kept() {
    let behind = Behind::new(|builder| builder.pool_size(1)).await;
    // The connection is made.
    behind.read().await;
    let session = behind.other.create(NewSession::new()).await.unwrap().session;
    behind.proxy.hold(true);
    let store = behind.store.clone();
    let id = session.id().clone();
    let reads = tokio::spawn(async move { store.get(&id).await });
    behind.proxy.holds(b"OK").await; // the reply to CLIENT CACHING, and with it that to GET
    behind.other.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap();
    behind.proxy.holds(b"invalidate").await;
    behind.proxy.hold(false);
    let crossed = reads.await.unwrap().unwrap().unwrap();
    assert_eq!(crossed.version(), session.version(), "it was so when the server read it");
    let now = behind.store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(now.get("a").unwrap(), Some(1));
}

#[tokio::test]
async fn a_connection_that_broke_takes_what_was_read_on_it_with_it() {
    let behind = Behind::new(|builder| builder).await;
    let session = behind.read().await;
    behind.other.delete(&session).await.unwrap();
    let session = behind.read().await;
    behind.proxy.cut_off(true);
    eventually("nothing is answered", async || behind.store.get(session.id()).await.is_err()).await;
    behind.other.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap();
    behind.proxy.cut_off(false);
    let now = behind.store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(now.get("a").unwrap(), Some(1));
}

#[tokio::test]
async fn a_connection_that_the_server_ends_takes_what_was_read_on_it_with_it() {
    let behind = Behind::new(|builder| builder.pool_size(1)).await;
    let session = behind.read().await;
    behind.context.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let asked = async || asks(&behind.context, behind.store.get(session.id())).await.1 > 0;
    eventually("it is asked for anew", asked).await;
    assert_eq!(asks(&behind.context, behind.store.get(session.id())).await.1, 0, "on another connection");
}

/// How late a logout is seen at most: checked as promised, however busy the machine is.
#[tokio::test]
async fn a_silent_link_serves_nobody_for_longer_than_the_staleness() {
    const STALENESS: Duration = Duration::from_millis(300);
    let setting =
        |builder: RedisStoreBuilder| builder.near_cache_staleness(STALENESS).deadline(Duration::from_secs(3));
    let behind = Behind::new(setting).await;
    let session = behind.other.create(NewSession::new()).await.unwrap().session;
    eventually("it is kept", async || {
        behind.store.get(session.id()).await.is_ok_and(|_| true)
            && asks(&behind.context, behind.store.get(session.id())).await.1 == 0
    })
    .await;
    behind.proxy.silence(true);
    behind.other.delete(&session).await.unwrap();
    let logged_out = Instant::now();
    loop {
        let began = Instant::now();
        match behind.store.get(session.id()).await {
            Ok(Some(_)) => assert!(began < logged_out + STALENESS, "{:?} late", began - logged_out),
            Ok(None) => panic!("nobody can know"),
            Err(_) => break,
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_link_that_is_slow_for_a_while_serves_what_it_brought_once_all_of_it_is_there() {
    const STALENESS: Duration = Duration::from_millis(300);
    let behind = Behind::new(|builder| builder.near_cache_staleness(STALENESS).pool_size(1)).await;
    let [one, other] = [(), ()].map(|()| behind.other.create(NewSession::new()));
    let (one, other) = (one.await.unwrap().session, other.await.unwrap().session);
    for session in [&one, &other] {
        behind.store.get(session.id()).await.unwrap().unwrap();
    }
    behind.proxy.hold(true);
    behind.other.delete(&one).await.unwrap();
    behind.proxy.holds(b"invalidate").await;
    tokio::time::sleep(2 * STALENESS).await;
    behind.proxy.hold(false);
    assert_eq!(behind.store.get(one.id()).await.unwrap(), None);
    assert!(behind.store.get(other.id()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_connection_without_traffic_is_probed_and_keeps_what_was_read_on_it() {
    const STALENESS: Duration = Duration::from_millis(400);
    let behind = Behind::new(|builder| builder.near_cache_staleness(STALENESS).pool_size(1)).await;
    let session = behind.other.create(NewSession::new()).await.unwrap().session;
    eventually("it is kept for longer than the staleness", async || {
        behind.store.get(session.id()).await.unwrap().unwrap();
        // On a busy machine the connection may not be heard of in time.
        tokio::time::sleep(2 * STALENESS).await;
        asks(&behind.context, behind.store.get(session.id())).await.1 == 0
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_session_expires_by_the_clock_of_the_server_and_not_by_this_machines() {
    let clock = FakeTime::new(0.0);
    let context = Context::own_by(&clock).await;
    let store =
        build(context.builder(rules()).near_cache(10).near_cache_staleness(Duration::from_secs(2))).await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    assert!(store.get(session.id()).await.unwrap().is_some());
    clock.set(3600.0);
    // Nobody touches the session: that its time is over comes with the server's time.
    eventually("it has expired", async || store.get(session.id()).await.unwrap().is_none()).await;
    clock.set(0.0);
    assert!(store.get(session.id()).await.unwrap().is_some());
}
