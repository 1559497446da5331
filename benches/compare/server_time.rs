//! What rules cost at the server: the time of a script against one with the same writes and no rules, and of a read
//! against a plain GET.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;

use crate::contenders::{self, Contender};
use crate::measure::{Run, Supply, drive, fill, median};
use crate::operation::Operation;
use crate::options::Options;
use crate::payload::Payload;
use crate::table;

/// Calls of each in all, in alternating rounds.
const CALLS: u64 = 20_000;
const ROUNDS: u64 = 10;
const CROWD: u64 = CALLS;

/// The microseconds that the server spends in all commands of one call: medians of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerTime {
    pub(crate) operation: Operation,
    pub(crate) callers: usize,
    pub(crate) ours: f64,
    pub(crate) least: f64,
}

impl ServerTime {
    pub(crate) fn ratio(&self) -> f64 {
        self.ours / self.least
    }
}

/// Ours, and those who do the least that can be done.
struct Pairing<'a> {
    redis: &'a mut MultiplexedConnection,
    ours: Arc<dyn Contender>,
    rounds: u64,
    calls: u64,
}

pub(crate) async fn measure(
    redis: &mut MultiplexedConnection,
    url: &str,
    options: &Options,
) -> Vec<ServerTime> {
    let contenders = contenders::all(url, Payload::SMALL).await;
    let named = |name| contenders.iter().find(|one| one.name() == name).expect("it takes part");
    let (ours, bare, plain) = (named("cloakroom"), named("bare script"), named("plain SET/GET"));
    let (rounds, crowd) = if options.quick { (1, 20) } else { (ROUNDS, CROWD) };
    for contender in [ours, bare] {
        fill(redis, contender, crowd).await;
    }
    let mut pairing = Pairing { redis, ours: ours.clone(), rounds, calls: crowd / rounds };
    let mut times = Vec::new();
    if options.wants_operation(Operation::Get) {
        for callers in options.callers() {
            times.push(pairing.of_the_crowd(plain, Operation::Get, callers).await);
        }
    }
    if options.wants_operation(Operation::Refresh) {
        times.push(pairing.of_the_crowd(bare, Operation::Refresh, 1).await);
    }
    if [Operation::Create, Operation::Rotate, Operation::Delete]
        .iter()
        .any(|one| options.wants_operation(*one))
    {
        times.extend(pairing.of_lives(bare, crowd).await);
    }
    times
}

impl Pairing<'_> {
    async fn of_the_crowd(
        &mut self,
        least: &Arc<dyn Contender>,
        operation: Operation,
        callers: usize,
    ) -> ServerTime {
        let (mut of_ours, mut of_least) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let supply = || Supply::part_of_crowd(round * self.calls, (round + 1) * self.calls);
            let ours = drive(self.redis, &self.ours, operation, supply(), callers).await;
            let least = drive(self.redis, least, operation, supply(), callers).await;
            assert_same_writes(operation, &ours, &least);
            of_ours.push(micros(&ours));
            of_least.push(micros(&least));
        }
        ServerTime { operation, callers, ours: median(of_ours), least: median(of_least) }
    }

    /// Sessions that are created, rotated and deleted, one caller, a user each.
    async fn of_lives(&mut self, least: &Arc<dyn Contender>, after: u64) -> Vec<ServerTime> {
        let operations = [(Operation::Create, 0), (Operation::Rotate, 0), (Operation::Delete, 1)];
        let mut times = operations.map(|(operation, turn)| (operation, turn, Vec::new(), Vec::new()));
        for round in 0..self.rounds {
            let first = after + round * self.calls;
            for (operation, turn, of_ours, of_least) in &mut times {
                let supply = || Supply::made(first, first + self.calls, *turn);
                let ours = drive(self.redis, &self.ours, *operation, supply(), 1).await;
                let least = drive(self.redis, least, *operation, supply(), 1).await;
                assert_same_writes(*operation, &ours, &least);
                of_ours.push(micros(&ours));
                of_least.push(micros(&least));
            }
        }
        let time = |(operation, _, ours, least)| ServerTime {
            operation,
            callers: 1,
            ours: median(ours),
            least: median(least),
        };
        times.map(time).to_vec()
    }
}

fn micros(run: &Run) -> f64 {
    run.cost.command_micros() as f64 / run.operations as f64
}

/// The least is a floor only while it writes what ours writes. Some calls renew the TTL of the expiry index too.
fn assert_same_writes(operation: Operation, ours: &Run, least: &Run) {
    let few = (ours.operations as f64 / 100.0).max(1.0);
    let (ours, least) = (ours.cost.writes(), least.cost.writes());
    for name in ours.keys().chain(least.keys()) {
        let [ours, least] =
            [&ours, &least].map(|writes| writes.get(name).copied().unwrap_or_default() as f64);
        let same = (ours - least).abs() <= few;
        assert!(same, "{}: {name} {ours} times by ours, {least} times by the floor", operation.name());
    }
}

pub(crate) fn table(times: &[ServerTime]) -> String {
    let row = |time: &ServerTime| {
        let figures = [time.ours, time.least, time.ratio()].map(|figure| format!("{figure:.2}"));
        [&[time.operation.name().to_owned(), time.callers.to_string()], figures.as_slice()].concat()
    };
    let head = ["operation", "callers", "ours µs", "plain GET or bare script µs", "ratio"];
    table::markdown(&head, &times.iter().map(row).collect::<Vec<_>>())
}
