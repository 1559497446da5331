//! Every contender doing every operation that it has.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::contenders::Contender;
use crate::measure::{Run, drive, fill};
use crate::operation::{HUNDRED, Operation};
use crate::options::Options;
use crate::results::{Results, Setting};
use crate::supply::Supply;

/// A crowd, and the numbers that sessions with short lives have got so far.
pub(crate) struct Speed<'a> {
    pub(crate) redis: MultiplexedConnection,
    pub(crate) options: &'a Options,
    pub(crate) crowd: u64,
    next_life: u64,
}

impl<'a> Speed<'a> {
    /// Stores the crowd of each contender in an empty server.
    pub(crate) async fn over_crowds(
        mut redis: MultiplexedConnection,
        options: &'a Options,
        contenders: &[Arc<dyn Contender>],
        crowd: u64,
    ) -> Self {
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.unwrap();
        let mut filled = Vec::new();
        for contender in contenders {
            if !filled.contains(&contender.crowd()) {
                fill(&mut redis, contender, crowd).await;
                filled.push(contender.crowd());
            }
        }
        Self::over(redis, options, crowd)
    }

    /// With a crowd that is stored.
    pub(crate) fn over(redis: MultiplexedConnection, options: &'a Options, crowd: u64) -> Self {
        Self { redis, options, crowd, next_life: crowd }
    }

    /// Rounds in which each contender follows the other, for the machine has better and worse moments.
    pub(crate) async fn measure(
        &mut self,
        contenders: &[Arc<dyn Contender>],
        operations: &[Operation],
        setting: Setting,
        lasts: Duration,
        results: &mut Results,
    ) {
        for round in 0..self.options.rounds {
            self.round(contenders, operations, setting, lasts, round, results).await;
        }
    }

    pub(crate) async fn round(
        &mut self,
        contenders: &[Arc<dyn Contender>],
        operations: &[Operation],
        setting: Setting,
        lasts: Duration,
        round: usize,
        results: &mut Results,
    ) {
        for operation in operations.iter().copied().filter(|operation| !operation.is_of_a_life()) {
            for contender in in_turn(contenders, round).filter(|contender| contender.has(operation)) {
                let supply = Supply::crowd(self.crowd, lasts);
                let run = drive(&mut self.redis, contender, operation, supply, setting.callers).await;
                results.add(contender.name(), operation, setting, run);
            }
        }
        for contender in in_turn(contenders, round) {
            for (operation, run) in self.lives(contender, operations, setting.callers, lasts).await {
                results.add(contender.name(), operation, setting, run);
            }
        }
    }

    /// Sessions that are made, rotated and deleted again.
    async fn lives(
        &mut self,
        contender: &Arc<dyn Contender>,
        operations: &[Operation],
        callers: usize,
        lasts: Duration,
    ) -> Vec<(Operation, Run)> {
        let wants = |operation| operations.contains(&operation) && contender.has(operation);
        if !operations.iter().any(|operation| operation.is_of_a_life() && wants(*operation)) {
            return Vec::new();
        }
        let first = self.next_life;
        let redis = &mut self.redis;
        let created =
            drive(redis, contender, Operation::Create, Supply::lives(first, 1, lasts), callers).await;
        let end = first + created.operations;
        self.next_life = end;
        let mut runs = vec![(Operation::Create, created)];
        if wants(Operation::Rotate) {
            let supply = Supply::made(first, end, 0);
            runs.push((Operation::Rotate, drive(redis, contender, Operation::Rotate, supply, callers).await));
        }
        let supply = Supply::made(first, end, u32::from(wants(Operation::Rotate)));
        runs.push((Operation::Delete, drive(redis, contender, Operation::Delete, supply, callers).await));
        runs.retain(|(operation, _)| wants(*operation));
        runs
    }

    /// Sessions by the hundred, one caller.
    pub(crate) async fn hundreds(
        &mut self,
        contenders: &[Arc<dyn Contender>],
        setting: Setting,
        results: &mut Results,
    ) {
        for round in 0..self.options.rounds {
            for operation in [Operation::HundredSingly, Operation::HundredAtOnce] {
                for contender in in_turn(contenders, round).filter(|contender| contender.has(operation)) {
                    let (first, lasts) = (self.next_life, self.options.lasts);
                    let redis = &mut self.redis;
                    let supply = Supply::lives(first, HUNDRED, lasts);
                    let run = drive(redis, contender, operation, supply, setting.callers).await;
                    let end = first + run.operations * HUNDRED;
                    self.next_life = end;
                    drive(redis, contender, Operation::Delete, Supply::made(first, end, 0), 256).await;
                    results.add(contender.name(), operation, setting, run);
                }
            }
        }
    }
}

/// Another one is the first in each round.
fn in_turn(contenders: &[Arc<dyn Contender>], round: usize) -> impl Iterator<Item = &Arc<dyn Contender>> {
    contenders.iter().cycle().skip(round % contenders.len()).take(contenders.len())
}
