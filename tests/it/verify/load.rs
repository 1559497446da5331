//! Others at work on the namespace that is verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloakroom::migration::{Direction, Freezing, TaskId};
use cloakroom::{Binding, NewSession, Patch, Rotation, SessionId};
use tokio::task::JoinHandle;

use crate::support::context::Store;

/// Tasks that make sessions, change them in each way that moves what leads to them, and end them.
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Duration>>>,
    began: Instant,
}

/// What they did.
pub(crate) struct Done {
    pub(crate) rounds: usize,
    pub(crate) per_second: f64,
    /// Of the longest calls, how long 99 of 100 took at most.
    pub(crate) p99: Duration,
}

impl Load {
    pub(crate) fn start(store: &Store, tasks: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let work = |number| tokio::spawn(work(store.clone(), ends.clone(), number));
        Self { tasks: (0..tasks).map(work).collect(), ends, began: Instant::now() }
    }

    pub(crate) async fn stop(self) -> Done {
        self.ends.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for task in self.tasks {
            took.extend(task.await.unwrap());
        }
        took.sort_unstable();
        let per_second = took.len() as f64 / self.began.elapsed().as_secs_f64();
        Done { rounds: took.len(), per_second, p99: took[took.len() * 99 / 100] }
    }
}

/// Lives of sessions, one behind the other; how long each took.
async fn work(store: Store, ends: Arc<AtomicBool>, number: usize) -> Vec<Duration> {
    let (mut took, mut round) = (Vec::new(), 0_u32);
    while !ends.load(Ordering::Relaxed) || round == 0 {
        let began = Instant::now();
        live(&store, number, round % 3).await;
        took.push(began.elapsed());
        round += 1;
    }
    took
}

/// One user per task, and connections that go from session to session.
async fn live(store: &Store, number: usize, variant: u32) {
    let node = format!("load-{variant}");
    let new =
        NewSession::new().user(format!("load-{number}")).connection(format!("load-{number}")).node(&node);
    let session = store.create(new).await.unwrap().session;
    store.patch(&session, Patch::new().set("a", &"x".repeat(600)).unwrap()).await.unwrap();
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let second = store.create(NewSession::new().user(format!("load-{number}"))).await.unwrap().session;
    let binding = Binding::new(format!("load-{number}")).node("load-other").take_over();
    store.bind(second.id(), binding).await.unwrap();
    if variant == 0 {
        let task = TaskId::random();
        store.freeze(&second, Freezing::new(task, "elsewhere")).await.unwrap();
        store.thaw(second.id(), task, Direction::Outgoing).await.unwrap();
    }
    store.unbind(second.id(), &format!("load-{number}")).await.unwrap();
    end(store, rotated.id()).await;
    if variant == 1 {
        store.delete_user(&format!("load-{number}"), None).await.unwrap();
    } else {
        end(store, second.id()).await;
    }
}

async fn end(store: &Store, id: &SessionId) {
    assert!(store.delete(id).await.unwrap().is_some());
}
