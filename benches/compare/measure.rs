//! One contender doing one operation, many times, with some callers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connections::Connections;
use crate::contenders::Contender;
use crate::counters::{Cost, Counters};
use crate::operation::{HUNDRED, Operation};
use crate::subject::Subject;

/// Which sessions, and for how long. The callers share it.
#[derive(Debug)]
pub(crate) struct Supply {
    kind: Kind,
    turn: u32,
    until: Option<Instant>,
}

#[derive(Debug)]
enum Kind {
    /// Any of a crowd of that size.
    Crowd(u64),
    /// One after the other, so far apart.
    Each { next: AtomicU64, end: u64, step: u64, stays: bool },
}

impl Supply {
    pub(crate) fn crowd(size: u64, lasts: Duration) -> Self {
        Self { kind: Kind::Crowd(size), turn: 0, until: Some(Instant::now() + lasts) }
    }

    /// Each session of a crowd, once.
    pub(crate) fn whole_crowd(size: u64) -> Self {
        Self::part_of_crowd(0, size)
    }

    /// The same, for those who make a hundred at once.
    pub(crate) fn crowd_by_hundreds(size: u64) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(0), end: size, step: HUNDRED, stays: true };
        Self { kind, turn: 0, until: None }
    }

    /// Those between two numbers.
    pub(crate) fn part_of_crowd(first: u64, end: u64) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(first), end, step: 1, stays: true };
        Self { kind, turn: 0, until: None }
    }

    /// Sessions that nobody had before.
    pub(crate) fn lives(first: u64, step: u64, lasts: Duration) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(first), end: u64::MAX, step, stays: false };
        Self { kind, turn: 0, until: Some(Instant::now() + lasts) }
    }

    /// Sessions that were made, rotated so often.
    pub(crate) fn made(first: u64, end: u64, turn: u32) -> Self {
        let kind = Kind::Each { next: AtomicU64::new(first), end, step: 1, stays: false };
        Self { kind, turn, until: None }
    }

    /// For another process. Of a crowd, how large it is; else the first, and the one behind the last; how much time is left.
    pub(crate) fn to_json(&self) -> Value {
        let (crowd, first, end) = match &self.kind {
            Kind::Crowd(size) => (Some(*size), None, None),
            Kind::Each { next, end: u64::MAX, .. } => (None, Some(next.load(Ordering::Relaxed)), None),
            Kind::Each { next, end, .. } => (None, Some(next.load(Ordering::Relaxed)), Some(*end)),
        };
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        json!({ "crowd": crowd, "first": first, "end": end, "millis": left.map(|left| left.as_secs_f64() * 1e3) })
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn next(&self) -> Option<Subject> {
        match &self.kind {
            Kind::Crowd(size) => Some(Subject::of_the_crowd(fastrand::u64(..size))),
            Kind::Each { next, end, step, stays } => {
                let number = next.fetch_add(*step, Ordering::Relaxed);
                (number < *end).then_some(Subject { number, turn: self.turn, stays: *stays })
            }
        }
    }
}

/// What came of it.
pub(crate) struct Run {
    pub(crate) operations: u64,
    pub(crate) took: Duration,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) cost: Cost,
}

impl Run {
    pub(crate) fn a_second(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }

    /// Of the server's commands, for one operation.
    pub(crate) fn command_micros(&self) -> f64 {
        self.cost.command_micros() as f64 / self.operations as f64
    }
}

/// What the callers tell.
pub(crate) struct Driven {
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) took: Duration,
    /// Of another process, where they were in one.
    pub(crate) client_cpu: Option<Duration>,
}

/// An empty histogram, of two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(2).unwrap()
}

pub(crate) async fn drive(
    redis: &mut MultiplexedConnection,
    contender: &Arc<dyn Contender>,
    operation: Operation,
    supply: Supply,
    callers: usize,
) -> Run {
    let before = Counters::read(redis).await;
    let driven = match contender.process() {
        Some(process) => process.drive(operation, &supply, callers).await,
        None => drive_here(contender, operation, supply, callers).await,
    };
    let mut cost = before.since(redis).await;
    cost.client_cpu = driven.client_cpu.unwrap_or(cost.client_cpu);
    Run { operations: driven.latency.len(), took: driven.took, latency: driven.latency, cost }
}

async fn drive_here(
    contender: &Arc<dyn Contender>,
    operation: Operation,
    supply: Supply,
    callers: usize,
) -> Driven {
    let supply = Arc::new(supply);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(call(contender.clone(), operation, supply.clone()));
    }
    let mut latency = histogram();
    while let Some(of_one) = tasks.join_next().await {
        latency.add(of_one.unwrap()).unwrap();
    }
    Driven { latency, took: start.elapsed(), client_cpu: None }
}

async fn call(contender: Arc<dyn Contender>, operation: Operation, supply: Arc<Supply>) -> Histogram<u64> {
    let mut latency = histogram();
    while let Some(subject) = supply.next() {
        let start = Instant::now();
        contender.run(operation, subject).await;
        latency.record(start.elapsed().as_nanos() as u64).unwrap();
        // Behind the first, so that each caller does one, however slow it is.
        if supply.is_over() {
            break;
        }
    }
    latency
}

/// Stores the crowd of a contender.
pub(crate) async fn fill(redis: &mut MultiplexedConnection, contender: &Arc<dyn Contender>, size: u64) {
    let run = drive(redis, contender, Operation::Create, Supply::whole_crowd(size), 256).await;
    assert_eq!(run.operations, size);
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// What a PING takes, the median of some.
pub(crate) async fn round_trip(url: &str) -> Duration {
    let mut redis = Connections::open(url).await.get();
    let mut times = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        redis::cmd("PING").query_async::<()>(&mut redis).await.unwrap();
        times.push(start.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(median(times))
}
