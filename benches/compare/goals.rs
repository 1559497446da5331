//! What is to be reached, as ratios within one run, and what was.

use std::time::Duration;

use crate::batch::Batch;
use crate::expired_scan::ExpiredScan;
use crate::growth::{self, Growth};
use crate::memory::Memory;
use crate::near_cache::{Logouts, NearCache, STALENESS};
use crate::operation::Operation;
use crate::payload::Payload;
use crate::replication::Replication;
use crate::results::{Results, Setting};
use crate::server_time::{self, BARE, OLD, OURS, ServerTime};
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
    pub(crate) growth: Vec<Growth>,
    pub(crate) near_cache: Option<(Vec<NearCache>, Logouts)>,
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
        against_old_scripts(measured),
        large_payload(measured),
        against_bare_scripts(measured),
        requests(measured),
        against_several_commands(measured),
        batch(measured),
        gets(measured),
        near_cache(measured),
        over_a_network(measured),
        expired(measured),
        growth(measured),
        memory(measured),
        replication(measured),
    ];
    let row = |goal: Goal| {
        let met = if goal.is_met { "yes" } else { "no" };
        vec![goal.what, goal.goal, goal.reached, met.to_owned()]
    };
    let rows: Vec<_> = goals.into_iter().flatten().map(row).collect();
    table::markdown(&["what", "goal", "reached", "met"], &rows)
}

/// One goal for several ratios, each with what it is of. None if there are none.
fn at_most(what: &str, most: f64, ratios: &[(String, f64)]) -> Option<Goal> {
    let is_met = ratios.iter().all(|(_, ratio)| *ratio <= most);
    goal_of_all(what, format!("≤ {most}"), is_met, ratios)
}

fn at_least(what: &str, least: f64, ratios: &[(String, f64)]) -> Option<Goal> {
    let is_met = ratios.iter().all(|(_, ratio)| *ratio >= least);
    goal_of_all(what, format!("≥ {least}"), is_met, ratios)
}

fn goal_of_all(what: &str, goal: String, is_met: bool, ratios: &[(String, f64)]) -> Option<Goal> {
    let each: Vec<_> = ratios.iter().map(|(of, ratio)| format!("{of} {ratio:.2}")).collect();
    (!each.is_empty()).then(|| Goal { what: what.to_owned(), goal, reached: each.join(", "), is_met })
}

fn server_micros(measured: &Measured, who: &str, operation: Operation, payload: Payload) -> Option<f64> {
    server_time::find(&measured.server_times, who, operation, payload)
}

fn against_old_scripts(measured: &Measured) -> Vec<Goal> {
    let wanted = [
        (Operation::List, 0.35),
        (Operation::Patch, 0.45),
        (Operation::Rotate, 0.55),
        (Operation::Refresh, 0.65),
        (Operation::Create, 0.65),
        (Operation::Delete, 0.65),
    ];
    let goal = |(operation, most): (Operation, f64)| {
        let ours = server_micros(measured, OURS, operation, Payload::SMALL)?;
        let old = server_micros(measured, OLD, operation, Payload::SMALL)?;
        Some(Goal {
            what: format!("{}, server time ÷ that of the script of a483e96", operation.name()),
            goal: format!("≤ {most}"),
            reached: format!("{:.2} ({ours:.1} ÷ {old:.1} µs)", ours / old),
            is_met: ours / old <= most,
        })
    };
    wanted.into_iter().filter_map(goal).collect()
}

fn large_payload(measured: &Measured) -> Vec<Goal> {
    let ratio = |operation: Operation| {
        let large = server_micros(measured, OURS, operation, Payload::LARGE)?;
        let small = server_micros(measured, OURS, operation, Payload::SMALL)?;
        Some((operation.name().to_owned(), large / small))
    };
    let ratios: Vec<_> =
        [Operation::Patch, Operation::List, Operation::Delete].into_iter().filter_map(ratio).collect();
    at_most("server time with 8 KiB of attributes ÷ with 300 bytes", 1.5, &ratios).into_iter().collect()
}

fn against_bare_scripts(measured: &Measured) -> Vec<Goal> {
    let ratio = |operation: Operation| {
        let ours = server_micros(measured, OURS, operation, Payload::SMALL)?;
        let bare = server_micros(measured, BARE, operation, Payload::SMALL)?;
        Some((operation.name().to_owned(), ours / bare))
    };
    let ratios: Vec<_> = Operation::SINGLE.into_iter().filter_map(ratio).collect();
    let what = "server time ÷ that of a bare script with the same commands, reads included";
    at_most(what, 1.6, &ratios).into_iter().collect()
}

fn near(callers: usize) -> Setting {
    Setting { payload: Payload::SMALL, callers, is_delayed: false }
}

/// Operations per second of ours against those of another.
fn rate(measured: &Measured, operation: Operation, other: &str, callers: usize) -> Option<f64> {
    let ours = measured.results.find("cloakroom", operation, near(callers))?.a_second();
    Some(ours / measured.results.find(other, operation, near(callers))?.a_second())
}

const CALLERS: [usize; 3] = [1, 16, 256];

/// The same at each number of callers.
fn rates(measured: &Measured, operation: Operation, other: &str) -> Vec<(String, f64)> {
    let at = |callers| Some((format!("at {callers}:"), rate(measured, operation, other, callers)?));
    CALLERS.into_iter().filter_map(at).collect()
}

fn against_several_commands(measured: &Measured) -> Vec<Goal> {
    let wanted = [
        (Operation::List, 1.0),
        (Operation::Refresh, 0.85),
        (Operation::Create, 0.85),
        (Operation::Delete, 0.7),
        (Operation::Rotate, 0.65),
        (Operation::Patch, 0.55),
    ];
    let goal = |(operation, least): (Operation, f64)| {
        let ratio = rate(measured, operation, "several commands", 256)?;
        let of = |who| Some(measured.results.find(who, operation, near(256))?.a_second());
        Some(Goal {
            what: format!(
                "{}, operations per second ÷ those of several commands, 256 callers",
                operation.name()
            ),
            goal: format!("≥ {least}"),
            reached: format!("{ratio:.2} ({:.0} ÷ {:.0})", of("cloakroom")?, of("several commands")?),
            is_met: ratio >= least,
        })
    };
    wanted.into_iter().filter_map(goal).collect()
}

fn batch(measured: &Measured) -> Vec<Goal> {
    let goal = |Batch { at_once, several, .. }| Goal {
        what: "`create_many` of 100, sessions per second ÷ 100 creates by several commands, awaited together"
            .to_owned(),
        goal: "≥ 1.5".to_owned(),
        reached: format!("{:.2} ({at_once:.0} ÷ {several:.0})", at_once / several),
        is_met: at_once / several >= 1.5,
    };
    measured.batch.map(goal).into_iter().collect()
}

/// What a request costs the server's thread, reading and answering included; and how many there are.
fn requests(measured: &Measured) -> Vec<Goal> {
    let cpu = |callers| {
        let micros =
            |who| Some(measured.results.find(who, Operation::Request, near(callers))?.server_micros());
        Some((format!("at {callers}:"), micros("cloakroom")? / micros("plain SET/GET")?))
    };
    let ratios: Vec<_> = CALLERS.into_iter().filter_map(cpu).collect();
    let cpu = at_most("request, CPU of the server ÷ that of a plain GET", 1.3, &ratios);
    let what = "request, operations per second ÷ `load` of tower-sessions-redis-store, which notes no use";
    let rates = at_least(what, 1.0, &rates(measured, Operation::Request, "tower-sessions"));
    [cpu, rates].into_iter().flatten().collect()
}

fn gets(measured: &Measured) -> Vec<Goal> {
    let what = "get, operations per second ÷ `load` of tower-sessions-redis-store";
    let ratios = rates(measured, Operation::Get, "tower-sessions");
    let mut goals: Vec<_> = at_least(what, 1.2, &ratios).into_iter().collect();
    if let Some(figure) = measured.results.find("cloakroom", Operation::Get, near(256)) {
        let (p50, p99) = (figure.percentile(50.0), figure.percentile(99.0));
        goals.push(Goal {
            what: "get, p99 ÷ p50, 256 callers".to_owned(),
            goal: "≤ 3".to_owned(),
            reached: format!("{:.2} ({p99:.0} ÷ {p50:.0} µs)", p99 / p50),
            is_met: p99 <= 3.0 * p50,
        });
    }
    goals
}

fn near_cache(measured: &Measured) -> Vec<Goal> {
    let Some((reads, logouts)) = &measured.near_cache else {
        return Vec::new();
    };
    let each = |figure: fn(&NearCache) -> f64| {
        reads.iter().map(|of| (format!("{}:", of.payload.name()), figure(of))).collect::<Vec<_>>()
    };
    let p99 = logouts.percentile(99);
    let (longest, most) = (logouts.longest_cut(), STALENESS + Duration::from_millis(100));
    let mut goals = Vec::new();
    goals.extend(at_most("a `get` from the near cache, µs", 1.0, &each(|of| of.alone)));
    let what = "the same, reads per second of 16 callers ÷ those of gets over the network";
    goals.extend(at_least(what, 20.0, &each(|of| of.speedup)));
    goals.push(Goal {
        what: "from a logout to its refusal by another store's near cache, p99".to_owned(),
        goal: "≤ 5 ms".to_owned(),
        reached: format!("{p99:.2?}"),
        is_met: p99 <= Duration::from_millis(5),
    });
    goals.push(Goal {
        what: format!("the same behind a link that is cut, staleness {STALENESS:?}"),
        goal: format!("≤ {most:?}"),
        reached: format!("{longest:.2?} at most"),
        is_met: longest <= most,
    });
    goals
}

/// One, who waits for the network and not for the proxy, whose threads share the cores with everybody.
pub(crate) const DELAYED_CALLERS: usize = 1;

fn over_a_network(measured: &Measured) -> Vec<Goal> {
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
            what: format!("{}, p50 of several commands ÷ ours, 0.5 ms each way", operation.name()),
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

fn growth(measured: &Measured) -> Vec<Goal> {
    let [least, .., most] = measured.growth.as_slice() else {
        return Vec::new();
    };
    let ratios: Vec<_> =
        growth::ratios(&measured.growth).into_iter().map(|(of, ratio)| (of.to_owned(), ratio)).collect();
    let what =
        format!("server time among {} sessions ÷ among {}: flat within noise", most.sessions, least.sessions);
    at_most(&what, 1.2, &ratios).into_iter().collect()
}

fn memory(measured: &Measured) -> Vec<Goal> {
    let bytes = |contender| Some(measured.memory.iter().find(|of| of.contender == contender)?.bytes);
    let (Some(ours), Some(hash)) = (bytes("cloakroom"), bytes("hash")) else {
        return Vec::new();
    };
    let what = format!("memory per session, {} of attributes, user and connection", Payload::WEIGHED.name());
    vec![
        Goal {
            what: what.clone(),
            goal: "≤ 1,150 bytes".to_owned(),
            reached: format!("{ours:.0} bytes"),
            is_met: ours <= 1150.0,
        },
        Goal {
            what: format!("{what} ÷ that of a hash with a field per attribute"),
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
