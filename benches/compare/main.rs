//! cloakroom against other ways to keep sessions in Redis, in one run on one freshly started server.
//!
//! `cargo bench --bench compare` measures everything, in some eight minutes, prints tables in Markdown, the goals last,
//! and draws `benches/compare.svg`. `BENCHMARKS.md` keeps them. Words restrict it, in any number and order: parts
//! (`server-time`, `speed`, `delay`, `batch`, `memory`, `expired`, `replication`, `growth`, `near-cache`), operations
//! (`create`, `get`, `refresh`, `request`, `patch`, `by-connection`, `list`, `rotate`, `delete`), numbers of callers (`16`),
//! and `--goals` leaves out what no goal needs:
//!
//!     cargo bench --bench compare -- server-time create refresh
//!     cargo bench --bench compare -- speed get 256 --goals
//!
//! `CLOAKROOM_BENCH_SESSIONS` is how many sessions are stored, 100,000 if not set; 1,000,000 is worth a run, takes a
//! quarter of an hour and some 8 GB. Of those of 8 KiB there is a tenth.
//!
//! connect-redis takes part where Node is and `npm ci` was run in `benches/compare/connect-redis`.
//!
//! Everybody has the same runtime, the same number of connections, the same attributes and the same ttl. A figure is the
//! median of rounds in which the contenders follow each other.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)] // a program, not a library

mod batch;
mod chart;
mod connections;
mod contenders;
mod counters;
mod driven;
mod expired_scan;
mod goals;
mod growth;
mod measure;
mod memory;
mod near_cache;
mod operation;
mod options;
mod payload;
mod proxy;
mod replication;
mod results;
mod server_time;
mod speed;
mod subject;
mod supply;
mod table;

#[allow(dead_code)] // the tests need more of it
#[path = "../../tests/it/support/server.rs"]
mod server;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use contenders::Contender;
use goals::{DELAYED_CALLERS, Measured};
use operation::Operation;
use options::{Options, Part};
use payload::Payload;
use redis::aio::MultiplexedConnection;
use results::Setting;
use server::Server;
use speed::Speed;

const CHART: &str = "benches/compare.svg";
/// From the package's directory, where Cargo runs a bench.
const ROOT: &str = "..";

#[tokio::main]
async fn main() {
    let options = Options::from_arguments();
    let server = Server::spawn(&[]).await;
    let redis = &mut server.connect().await;
    let tell = |head: &str, text: String| {
        if !options.quick && !text.is_empty() {
            println!("## {head}\n\n{text}");
        }
    };
    tell("Where", where_it_is(redis, &options).await);
    let mut measured = Measured::default();
    if options.wants(Part::ServerTime) {
        let times = server_time::measure(redis, server.url(), &options).await;
        tell("Server time", server_time::table(&times));
        measured.server_times = times;
    }
    for payload in [Payload::SMALL, Payload::LARGE] {
        measure_speed(&server, payload, &options, &mut measured).await;
    }
    tell("At one core of the server", table::of_a_core(&measured.results));
    tell("Speed", table::of_results(&measured.results));
    if let Some(round_trip) = measured.round_trip {
        tell("The delayed network", format!("A PING takes {round_trip:.2?}.\n"));
    }
    if let Some(batch) = measured.batch {
        tell("A hundred sessions", batch::table(batch));
    }
    if options.wants(Part::Memory) {
        measured.memory = memory::measure(redis, server.url(), &options).await;
        tell("Memory", memory::table(&measured.memory));
    }
    if options.wants(Part::Expired) {
        measured.expired = expired_scan::measure(redis, server.url(), &options).await;
        tell("A thousand expired sessions", expired_scan::table(&measured.expired));
    }
    if options.wants(Part::Replication) {
        measured.replication = replication::measure(redis, &server, &options).await;
        tell("Replication of a refresh", replication::table(&measured.replication));
    }
    if options.wants(Part::NearCache) {
        redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
        let (reads, logouts) = near_cache::measure(&server, &options).await;
        tell("The near cache", near_cache::table(&reads, &logouts));
        measured.near_cache = Some((reads, logouts));
    }
    if options.wants(Part::Growth) {
        redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
        measured.growth = growth::measure(&options).await;
        tell("Growth", growth::table(&measured.growth));
    }
    tell("Goals", goals::table(&measured));
    let chart = chart::draw(&measured.results);
    if options.is_whole() {
        fs::write(Path::new(ROOT).join(CHART), chart).unwrap();
        println!("drawn: {CHART}");
    }
}

/// The machine and the server, for whoever reads the figures.
async fn where_it_is(redis: &mut MultiplexedConnection, options: &Options) -> String {
    let info = counters::info(redis, "server").await;
    let version = counters::field(&info, "redis_version:");
    let (cores, each) = (available_parallelism().unwrap(), connections::CONNECTIONS);
    let sessions = options.sessions;
    format!(
        "Redis {version}; {cores} cores, shared by server and client; {each} connections each; {sessions} sessions.\n"
    )
}

/// Speed with one payload; with the small one also through a slow network, and by the hundred.
async fn measure_speed(server: &Server, payload: Payload, options: &Options, measured: &mut Measured) {
    let is_small = payload == Payload::SMALL;
    let wants = |part| options.wants(part) && (is_small || !options.goals && part == Part::Speed);
    if ![Part::Speed, Part::Delay, Part::Batch].into_iter().any(wants) {
        return;
    }
    let contenders = chosen_contenders(server.url(), payload, options).await;
    let crowd = if is_small { options.sessions } else { options.sessions / 10 };
    let mut speed = Speed::over_crowds(server.connect().await, options, &contenders, crowd).await;
    if wants(Part::Speed) {
        let operations = chosen_operations(options, &NEEDED_NEAR);
        for callers in options.callers() {
            let setting = Setting { payload, callers, is_delayed: false };
            speed.measure(&contenders, &operations, setting, options.lasts, &mut measured.results).await;
        }
    }
    if wants(Part::Batch) {
        measured.batch = batch::measure(&mut speed, &contenders).await;
    }
    if wants(Part::Delay) {
        let url = proxy::start(server.address());
        measured.round_trip = Some(measure::round_trip(&url).await);
        let far = chosen_contenders(&url, payload, options).await;
        let operations = chosen_operations(options, &NEEDED_FAR);
        let setting = Setting { payload, callers: DELAYED_CALLERS, is_delayed: true };
        speed.measure(&far, &operations, setting, 2 * options.lasts, &mut measured.results).await;
    }
}

// What the goals need.
const NEEDED: [&str; 4] = ["cloakroom", "several commands", "tower-sessions", "plain SET/GET"];
const NEEDED_NEAR: [Operation; 8] = [
    Operation::Create,
    Operation::Get,
    Operation::Refresh,
    Operation::Request,
    Operation::Patch,
    Operation::List,
    Operation::Rotate,
    Operation::Delete,
];
const NEEDED_FAR: [Operation; 4] =
    [Operation::Create, Operation::Refresh, Operation::List, Operation::Delete];

async fn chosen_contenders(url: &str, payload: Payload, options: &Options) -> Vec<Arc<dyn Contender>> {
    let mut contenders = contenders::all(url, payload).await;
    contenders.retain(|one| !options.goals || NEEDED.contains(&one.name()));
    contenders
}

fn chosen_operations(options: &Options, needed: &[Operation]) -> Vec<Operation> {
    let chosen = |operation: &Operation| {
        options.wants_operation(*operation) && (!options.goals || needed.contains(operation))
    };
    Operation::SINGLE.into_iter().filter(chosen).collect()
}
