//! Races of many tasks, each with a final state that must hold for every interleaving.

mod batches;
mod imports;
mod indexes;
mod readers;
mod recoveries;
mod sessions;

use cloakroom::Rules;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::Context;
use crate::support::context::Store;

/// Tasks that begin together.
struct Race<T> {
    start: watch::Sender<bool>,
    tasks: JoinSet<T>,
}

impl<T: Send + 'static> Race<T> {
    fn new() -> Self {
        Self { start: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    fn add(&mut self, task: impl Future<Output = T> + Send + 'static) {
        let mut started = self.start.subscribe();
        self.tasks.spawn(async move {
            started.wait_for(|started| *started).await.unwrap();
            task.await
        });
    }

    /// Lets them go, and returns what each came to.
    async fn run(self) -> Vec<T> {
        self.start.send_replace(true);
        self.tasks.join_all().await
    }
}

/// Stores that share nothing but the server, as those of two processes do. By the server's clock: a test's clock
/// that stands still while time passes would make TTLs disagree.
async fn two_stores(context: &Context, rules: Rules) -> [Store; 2] {
    [context.store(rules.clone()).await, context.store(rules).await]
}

/// The same by the test's clock.
async fn two_stores_at(context: &Context, rules: Rules) -> [Store; 2] {
    [context.store_at(rules.clone()).await, context.store_at(rules).await]
}
