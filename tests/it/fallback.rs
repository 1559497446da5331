//! A store that keeps working while another is away, with servers that are cut off, frozen, killed and
//! stopped.

mod breaker;
mod builder;
mod fail_closed;
mod handles;
mod local_only;
mod many;
mod nodes;
mod recovery;
mod serve_stale;
mod under_load;

use std::sync::Arc;
use std::time::Duration;

use cloakroom::fallback::{BreakerState, FallbackPolicy, FallbackStore, FallbackStoreBuilder, Reconciled};
use cloakroom::{Error, Obstacle, RedisStore, Result, Rules, Selector, SessionStore as _};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::Context;
use crate::support::context::{Store, build, eventually};
use crate::support::hooked::Hooked;
use crate::support::proxy::Proxy;

const COOL_DOWN: Duration = Duration::from_millis(20);

/// A store that reaches its server through a proxy, which can cut it off while others still reach it.
struct World {
    context: Context,
    proxy: Proxy,
    /// What the store stands on.
    hooked: Hooked,
    /// Goes straight to the server, as another process does.
    other: Store,
    store: FallbackStore,
    reports: Mutex<UnboundedReceiver<Reconciled>>,
}

impl World {
    async fn new(policy: FallbackPolicy) -> Self {
        Self::with(policy, Rules::new(), |builder| builder).await
    }

    async fn with(
        policy: FallbackPolicy,
        rules: Rules,
        tune: impl FnOnce(FallbackStoreBuilder) -> FallbackStoreBuilder,
    ) -> Self {
        Self::over(Context::own(&[]).await, policy, rules, tune).await
    }

    /// Over a store of several partitions.
    async fn spread(policy: FallbackPolicy) -> Self {
        Self::over(Context::own(&[]).await.spread(), policy, Rules::new(), |builder| builder).await
    }

    async fn over(
        context: Context,
        policy: FallbackPolicy,
        rules: Rules,
        tune: impl FnOnce(FallbackStoreBuilder) -> FallbackStoreBuilder,
    ) -> Self {
        let proxy = Proxy::start(context.server().address()).await;
        let inner = RedisStore::builder(&proxy.url)
            .namespace(&context.namespace)
            .partitions(context.partitions().count)
            .rules(rules.clone())
            .clock(context.clock.clone())
            .deadline(Duration::from_secs(20)) // a busy machine is no failure
            .connect_timeout(Duration::from_secs(10));
        let (sender, reports) = unbounded_channel();
        let hooked = Hooked::new(build(inner).await);
        let builder = FallbackStore::builder(Arc::new(hooked.clone()))
            .policy(policy)
            .failures(2)
            .cool_down(COOL_DOWN)
            .probe_timeout(Duration::from_secs(10))
            .clock(context.clock.clone())
            .on_reconciled(move |reconciled: &Reconciled| sender.send(reconciled.clone()).unwrap());
        let store = tune(builder).build().unwrap();
        let other = context.store_at(rules).await;
        Self { context, proxy, hooked, other, store, reports: Mutex::new(reports) }
    }

    /// The same store, for what takes any.
    fn handle(&self) -> Store {
        Arc::new(self.store.clone())
    }

    /// Cuts the store off from the server.
    async fn cut_off(&self) {
        self.proxy.cut_off(true);
        opens(&self.store).await;
    }

    /// Lets it reach the server again, and waits until that has all that was kept.
    async fn mend(&self) {
        self.proxy.cut_off(false);
        recovers(&self.store).await;
    }

    /// What the last recovery came to.
    async fn report(&self) -> Reconciled {
        let mut reports = self.reports.lock().await;
        tokio::time::timeout(Duration::from_secs(30), reports.recv()).await.unwrap().unwrap()
    }
}

/// Calls until the breaker opens. A count never has an answer but the server's.
async fn opens(store: &FallbackStore) {
    eventually("the breaker opens", async || {
        let _ = store.count(&Selector::user("nobody")).await;
        store.stats().breaker != BreakerState::Closed
    })
    .await;
}

async fn recovers(store: &FallbackStore) {
    eventually("the server has all that was kept", async || {
        let stats = store.stats();
        stats.breaker == BreakerState::Closed && stats.local == 0 && stats.pending_revocations == 0
    })
    .await;
}

/// A store that soon gives up on a server that hangs.
async fn impatient(context: &Context, url: &str) -> Store {
    let builder = || {
        RedisStore::builder(url)
            .namespace(&context.namespace)
            .deadline(Duration::from_secs(1))
            .connect_timeout(Duration::from_millis(500))
    };
    // A busy machine may take longer to begin with.
    loop {
        if let Ok(store) = builder().build().await {
            return Arc::new(store);
        }
    }
}

/// Why a call was not executed. Anything else fails the test.
fn obstacle<T: std::fmt::Debug>(outcome: Result<T>) -> Obstacle {
    match outcome {
        Err(Error::NotExecuted { reason, .. }) => reason,
        other => panic!("not a NotExecuted: {other:?}"),
    }
}
