//! Races of many tasks, each with a final state that must hold for every interleaving. Where a test accepts either order of
//! two, it drives each of them in some rounds, and leaves the others to the machine.

mod batches;
mod imports;
mod indexes;
mod readers;
mod recoveries;
mod sessions;

use std::collections::BTreeMap;

use cloakroom::Rules;
use futures::future::try_join_all;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Context;
use crate::support::context::Store;

/// Tasks that begin together.
struct Race<T>(Vec<Racer<T>>);

/// A task that waits for its start.
struct Racer<T> {
    start: oneshot::Sender<()>,
    task: JoinHandle<T>,
}

impl<T: Send + 'static> Race<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(&mut self, task: impl Future<Output = T> + Send + 'static) {
        let (start, started) = oneshot::channel();
        let task = tokio::spawn(async move {
            started.await.unwrap();
            task.await
        });
        self.0.push(Racer { start, task });
    }

    /// Lets them go, and returns what each came to, in the order in which they were added.
    async fn run(self) -> Vec<T> {
        self.run_as(Start { leader: 0, is_alone: false }).await
    }

    /// The same, one before the others.
    async fn run_as(self, start: Start) -> Vec<T> {
        let Self(mut racers) = self;
        let mut leader = racers.remove(start.leader);
        leader.start.send(()).unwrap();
        let ended = if start.is_alone { Some((&mut leader.task).await.unwrap()) } else { None };
        let mut others = Vec::new();
        for Racer { start, task } in racers {
            start.send(()).unwrap();
            others.push(task);
        }
        let led = async {
            match ended {
                Some(outcome) => Ok(outcome),
                None => leader.task.await,
            }
        };
        // At once, if one of them panics: others may wait for it.
        let (first, mut outcomes) = tokio::try_join!(led, try_join_all(others)).unwrap();
        outcomes.insert(start.leader, first);
        outcomes
    }
}

/// How a round of a race begins.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Which of the racers is let go first.
    leader: usize,
    /// Whether it has ended when the others begin. Otherwise any may come first.
    is_alone: bool,
}

impl Start {
    /// One of two leads in turn: alone for two rounds of four.
    fn of(round: usize) -> Self {
        Self { leader: round % 2, is_alone: round % 4 < 2 }
    }
}

/// Who came first in the rounds of a race.
#[derive(Debug, Default)]
struct Orders {
    driven: BTreeMap<usize, usize>,
    raced: BTreeMap<usize, usize>,
}

impl Orders {
    /// Notes which racer came first, by what all came to. One that was alone must have.
    fn note(&mut self, start: Start, first: usize) {
        assert!(!start.is_alone || first == start.leader, "racer {first} came first, {start:?}");
        let orders = if start.is_alone { &mut self.driven } else { &mut self.raced };
        *orders.entry(first).or_default() += 1;
    }

    /// Fails unless each of two came first.
    fn are_both(&self) {
        eprintln!("who came first: {self:?}");
        assert!(self.driven.contains_key(&0) && self.driven.contains_key(&1), "{self:?}");
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
