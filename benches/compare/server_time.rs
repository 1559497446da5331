//! What an operation costs at the server: the time of its commands against that of a script with the same commands and
//! no rules, of the scripts as they once were, and of a plain GET.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;

use crate::contenders::{self, Contender, OldScripts, is_read};
use crate::measure::{Run, drive, fill, median};
use crate::operation::Operation;
use crate::options::Options;
use crate::payload::Payload;
use crate::supply::Supply;
use crate::table;

const ROUNDS: u64 = 10;
/// Of each in a round.
const CALLS: [(Payload, u64); 2] = [(Payload::SMALL, 1500), (Payload::LARGE, 400)];
/// With how many rotations behind it each operation of a short life meets a session.
const OF_A_LIFE: [(Operation, u32); 3] =
    [(Operation::Create, 0), (Operation::Rotate, 0), (Operation::Delete, 1)];
const OF_THE_CROWD: [Operation; 4] = [Operation::Get, Operation::Refresh, Operation::Patch, Operation::List];

pub(crate) const OURS: &str = "cloakroom";
pub(crate) const BARE: &str = "bare script";
pub(crate) const OLD: &str = "old scripts";
pub(crate) const PLAIN: &str = "plain SET/GET";

/// The microseconds of one caller's calls, a round each.
#[derive(Debug)]
pub(crate) struct ServerTime {
    pub(crate) operation: Operation,
    pub(crate) payload: Payload,
    who: &'static str,
    rounds: Vec<f64>,
}

pub(crate) async fn measure(
    redis: &mut MultiplexedConnection,
    url: &str,
    options: &Options,
) -> Vec<ServerTime> {
    let mut times = Vec::new();
    for (payload, calls) in CALLS {
        redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
        let mut contenders = contenders::all(url, payload).await;
        contenders.retain(|one| [OURS, BARE, PLAIN].contains(&one.name()));
        if let Some(old) = OldScripts::connect(url, payload).await {
            contenders.push(Arc::new(old));
        }
        let (rounds, calls) = if options.quick { (1, 20) } else { (ROUNDS, calls) };
        for contender in contenders.iter().filter(|one| one.name() != PLAIN) {
            fill(redis, contender, rounds * calls).await;
        }
        for round in 0..rounds {
            let first = round * calls;
            for operation in OF_THE_CROWD {
                let supply = || Supply::part_of_crowd(first, first + calls);
                measure_round(redis, &contenders, operation, payload, options, supply, &mut times).await;
            }
            let first = first + rounds * calls;
            for (operation, turn) in OF_A_LIFE {
                let supply = || Supply::made(first, first + calls, turn);
                measure_round(redis, &contenders, operation, payload, options, supply, &mut times).await;
            }
        }
    }
    times
}

async fn measure_round(
    redis: &mut MultiplexedConnection,
    contenders: &[Arc<dyn Contender>],
    operation: Operation,
    payload: Payload,
    options: &Options,
    supply: impl Fn() -> Supply,
    times: &mut Vec<ServerTime>,
) {
    // Who is created must be there for what follows.
    if !options.wants_operation(operation) && !operation.is_of_a_life() {
        return;
    }
    let takes_part = |one: &&Arc<dyn Contender>| {
        one.has(operation) && (one.name() == PLAIN) <= (operation == Operation::Get)
    };
    let mut ours = None;
    for contender in contenders.iter().filter(takes_part) {
        let run = drive(redis, contender, operation, supply(), 1).await;
        add(times, contender.name(), operation, payload, &run);
        match contender.name() {
            OURS => ours = Some(run),
            BARE => assert_same_commands(operation, ours.as_ref().expect("ours is the first"), &run),
            _ => {}
        }
    }
}

fn add(times: &mut Vec<ServerTime>, who: &'static str, operation: Operation, payload: Payload, run: &Run) {
    let micros = run.command_micros();
    let is_it =
        |time: &&mut ServerTime| (time.who, time.operation, time.payload) == (who, operation, payload);
    match times.iter_mut().find(is_it) {
        Some(time) => time.rounds.push(micros),
        None => times.push(ServerTime { operation, payload, who, rounds: vec![micros] }),
    }
}

/// The bare script is a floor only while ours runs the same commands. Some calls renew TTLs too, and ours may read beside
/// its script.
fn assert_same_commands(operation: Operation, ours: &Run, bare: &Run) {
    let few = (ours.operations / 20).max(1);
    let times = |run: &Run, name| run.cost.calls().find(|(of, _)| *of == name).map_or(0, |(_, times)| times);
    for (name, _) in ours.cost.calls().chain(bare.cost.calls()) {
        let (by_ours, by_bare) = (times(ours, name), times(bare, name));
        let is_same = by_bare <= by_ours + few && (is_read(name) || by_ours <= by_bare + few);
        assert!(is_same, "{}: {name} {by_ours} times by ours, {by_bare} by the floor", operation.name());
    }
}

/// The median of the rounds.
pub(crate) fn find(times: &[ServerTime], who: &str, operation: Operation, payload: Payload) -> Option<f64> {
    let is_it = |time: &&ServerTime| (time.who, time.operation, time.payload) == (who, operation, payload);
    Some(median(times.iter().find(is_it)?.rounds.clone()))
}

pub(crate) fn table(times: &[ServerTime]) -> String {
    let row = |ours: &ServerTime| {
        let micros = |who| {
            let micros = find(times, who, ours.operation, ours.payload);
            micros.map_or_else(|| "–".to_owned(), |micros| format!("{micros:.1}"))
        };
        let names = [ours.operation.name().to_owned(), ours.payload.name()];
        [names.as_slice(), [OURS, PLAIN, BARE, OLD].map(micros).as_slice()].concat()
    };
    let head = [
        "operation",
        "attributes",
        "cloakroom µs",
        "plain GET µs",
        "bare script µs",
        "scripts of a483e96 µs",
    ];
    table::markdown(&head, &times.iter().filter(|time| time.who == OURS).map(row).collect::<Vec<_>>())
}
