//! What is to be reached, as ratios within one run, and what was.

use std::time::Duration;

use crate::batch::Batch;
use crate::expired_scan::ExpiredScan;
use crate::memory::Memory;
use crate::operation::Operation;
use crate::payload::Payload;
use crate::replication::Replication;
use crate::results::{Results, Setting};
use crate::server_time::ServerTime;
use crate::table;

/// All that was measured. What was not asked for is empty.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) server_times: Vec<ServerTime>,
    pub(crate) results: Results,
    /// Through the delayed network.
    pub(crate) round_trip: Option<Duration>,
    pub(crate) batch: Option<Batch>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) expired: Vec<ExpiredScan>,
    pub(crate) replication: Vec<Replication>,
}

struct Goal {
    what: String,
    goal: String,
    reached: String,
    is_met: bool,
}

/// A table of the goals for which there are figures.
pub(crate) fn table(measured: &Measured) -> String {
    let goals = [
        server_times(measured),
        get_against_plain(measured),
        requests_against_plain(measured),
        against_tower_sessions(measured),
        against_several_commands(measured),
        expired(measured),
        memory(measured),
        replication(measured),
        batch(measured),
    ];
    let row = |goal: Goal| {
        let met = if goal.is_met { "yes" } else { "no" };
        vec![goal.what, goal.goal, goal.reached, met.to_owned()]
    };
    let rows: Vec<_> = goals.into_iter().flatten().map(row).collect();
    table::markdown(&["what", "goal", "reached", "met"], &rows)
}

fn server_times(measured: &Measured) -> Vec<Goal> {
    let wanted = [Operation::Create, Operation::Refresh, Operation::Delete];
    let times = measured.server_times.iter().filter(|time| wanted.contains(&time.operation));
    let goal = |time: &ServerTime| Goal {
        what: format!("{}, server time ÷ that of a bare script with the same writes", time.operation.name()),
        goal: "≤ 1.25".to_owned(),
        reached: format!("{:.2} ({:.1} ÷ {:.1} µs)", time.ratio(), time.ours, time.least),
        is_met: time.ratio() <= 1.25,
    };
    times.map(goal).collect()
}

fn near(callers: usize) -> Setting {
    Setting { payload: Payload::SMALL, callers, is_delayed: false }
}

/// Operations a second of ours against those of another, at the numbers of callers that there are.
fn rates(measured: &Measured, operation: Operation, other: &str) -> Vec<(usize, f64)> {
    let at = |callers| {
        let ours = measured.results.find("cloakroom", operation, near(callers))?.a_second();
        Some((callers, ours / measured.results.find(other, operation, near(callers))?.a_second()))
    };
    CALLERS.into_iter().filter_map(at).collect()
}

const CALLERS: [usize; 3] = [1, 16, 256];

/// What a request costs the server's thread, reading and answering included.
fn requests_against_plain(measured: &Measured) -> Vec<Goal> {
    let at = |callers| {
        let find = |who| measured.results.find(who, Operation::Request, near(callers));
        Some((callers, find("cloakroom")?.server_micros() / find("plain SET/GET")?.server_micros()))
    };
    let ratios: Vec<_> = CALLERS.into_iter().filter_map(at).collect();
    goal_of("request, CPU of the server ÷ that of a plain GET", "≤ 1.3", &ratios, |ratio| ratio <= 1.3)
}

fn told(ratios: &[(usize, f64)]) -> String {
    let each: Vec<_> = ratios.iter().map(|(callers, ratio)| format!("{ratio:.2} at {callers}")).collect();
    each.join(", ")
}

fn get_against_plain(measured: &Measured) -> Vec<Goal> {
    let gets = measured.server_times.iter().filter(|time| time.operation == Operation::Get);
    let ratios: Vec<_> = gets.map(|time| (time.callers, time.ratio())).collect();
    goal_of("get, server time ÷ that of a plain GET", "≤ 1.3", &ratios, |ratio| ratio <= 1.3)
}

fn against_tower_sessions(measured: &Measured) -> Vec<Goal> {
    let rates = |operation| rates(measured, operation, "tower-sessions");
    let request = "request, operations a second ÷ `load` of tower-sessions-redis-store, which notes no use";
    let get = "get, operations a second ÷ `load` of tower-sessions-redis-store";
    let create =
        "create with all indexes, operations a second ÷ `create` of tower-sessions-redis-store, without any";
    let mut goals = goal_of(get, "≥ 1.2", &rates(Operation::Get), |ratio| ratio >= 1.2);
    goals.extend(goal_of(request, "≥ 1", &rates(Operation::Request), |ratio| ratio >= 1.0));
    goals.extend(goal_of(create, "≥ 0.5", &rates(Operation::Create), |ratio| ratio >= 0.5));
    goals
}

fn goal_of(what: &str, goal: &str, ratios: &[(usize, f64)], is_met: impl Fn(f64) -> bool) -> Vec<Goal> {
    if ratios.is_empty() {
        return Vec::new();
    }
    let is_met = ratios.iter().all(|(_, ratio)| is_met(*ratio));
    vec![Goal { what: what.to_owned(), goal: goal.to_owned(), reached: told(ratios), is_met }]
}

/// One, who waits for the network and not for the proxy, whose threads share the cores with everybody.
pub(crate) const DELAYED_CALLERS: usize = 1;

fn against_several_commands(measured: &Measured) -> Vec<Goal> {
    let setting = Setting { payload: Payload::SMALL, callers: DELAYED_CALLERS, is_delayed: true };
    let wanted = [
        (Operation::Create, 3.0),
        (Operation::Refresh, 3.0),
        (Operation::Delete, 3.0),
        (Operation::List, 2.5),
    ];
    let goal = |(operation, least): (Operation, f64)| {
        let ours = measured.results.find("cloakroom", operation, setting)?.percentile(50.0);
        let other = measured.results.find("several commands", operation, setting)?.percentile(50.0);
        Some(Goal {
            what: format!("{}, p50 of the several-command way ÷ ours, 0.5 ms each way", operation.name()),
            goal: format!("≥ {least}"),
            reached: format!("{:.2} ({:.2} ÷ {:.2} ms)", other / ours, other / 1000.0, ours / 1000.0),
            is_met: other / ours >= least,
        })
    };
    wanted.into_iter().filter_map(goal).collect()
}

fn expired(measured: &Measured) -> Vec<Goal> {
    let mut goals = Vec::new();
    if let Some((scan, took)) = measured.expired.iter().find_map(|scan| Some((scan, scan.by_scan?))) {
        let ratio = took.as_secs_f64() / scan.ours.as_secs_f64();
        goals.push(Goal {
            what: format!("expired sessions among {} live ones, time of SCAN and GET ÷ ours", scan.live),
            goal: "≥ 50".to_owned(),
            reached: format!("{ratio:.0} ({took:.1?} ÷ {:.1?})", scan.ours),
            is_met: ratio >= 50.0,
        });
    }
    if let [first, .., last] = measured.expired.as_slice() {
        let each: Vec<_> =
            measured.expired.iter().map(|scan| format!("{:.1?} at {}", scan.ours, scan.live)).collect();
        goals.push(Goal {
            what: "the same does not grow with the live sessions".to_owned(),
            goal: "≤ 1.3 times".to_owned(),
            reached: each.join(", "),
            is_met: last.ours.as_secs_f64() <= first.ours.as_secs_f64() * 1.3,
        });
    }
    goals
}

fn memory(measured: &Measured) -> Vec<Goal> {
    let bytes = |contender| Some(measured.memory.iter().find(|of| of.contender == contender)?.bytes);
    let (Some(ours), Some(hash)) = (bytes("cloakroom"), bytes("hash")) else {
        return Vec::new();
    };
    let what = format!("memory a session, {} of attributes, user and connection", Payload::WEIGHED.name());
    vec![
        Goal {
            what: what.clone(),
            goal: "≤ 1,150 bytes".to_owned(),
            reached: format!("{ours:.0} bytes"),
            is_met: ours <= 1150.0,
        },
        Goal {
            what: format!("{what} ÷ that of a hash with a field an attribute"),
            goal: "≤ 0.6".to_owned(),
            reached: format!("{:.2} ({ours:.0} ÷ {hash:.0})", ours / hash),
            is_met: ours / hash <= 0.6,
        },
    ]
}

fn replication(measured: &Measured) -> Vec<Goal> {
    let ours: Vec<_> = measured.replication.iter().filter(|of| of.contender == "cloakroom").collect();
    let [small, large] = ours.as_slice() else {
        return Vec::new();
    };
    let each = |of: &Replication| format!("{:.0} bytes at {}", of.bytes, of.payload.name());
    vec![Goal {
        what: "refresh, bytes to a replica, whatever the payload's size".to_owned(),
        goal: "≤ 400".to_owned(),
        reached: format!("{}, {}", each(small), each(large)),
        is_met: small.bytes.max(large.bytes) <= 400.0 && (small.bytes - large.bytes).abs() < 10.0,
    }]
}

fn batch(measured: &Measured) -> Vec<Goal> {
    let Some(batch) = measured.batch else {
        return Vec::new();
    };
    let ratio = batch.at_once / batch.apart;
    vec![Goal {
        what: "a batch of 100 creates, sessions a second ÷ 100 scripts of one each, awaited together"
            .to_owned(),
        goal: "≥ 1.5".to_owned(),
        reached: format!(
            "{ratio:.2}; 100 single calls, which the store gathers: {:.2}",
            batch.singly / batch.apart
        ),
        is_met: ratio >= 1.5,
    }]
}
