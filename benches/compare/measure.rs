//! One contender doing one operation, many times, with some callers at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::connections::Connections;
use crate::contenders::Contender;
use crate::counters::{Cost, Counters};
use crate::driven::{Driven, histogram};
use crate::operation::Operation;
use crate::supply::Supply;

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
