//! Markdown tables.

use crate::payload::Payload;
use crate::results::{Figure, Results, Setting};

/// A table: its head, and rows as long.
pub(crate) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(head.len()));
    for row in rows {
        table += &format!("| {} |\n", row.join(" | "));
    }
    table
}

const NOTES: &str = "\
- *Reads* counts how often the server read from a socket, per operation: with one caller, that is round trips.
- The *commands* are the time in the server's `commandstats`. The *thread* is all time of the thread that runs them, with reading and
  answering.
- `rotate` and `delete` of cloakroom get the session, because a request has it; the several commands read it first.
- `request` of cloakroom is a `refresh_and_get`: each session is used every second and written once a minute. The others only
  read.
- `patch` of tower-sessions, axum_session, actix-session and connect-redis is a save of the whole session, without the load
  before it; `refresh` of the last two is EXPIRE, which notes no time of use.
- connect-redis runs in Node, in a process with one thread: compare only server time, bytes and round trips.
- The bare script runs the commands of cloakroom's scripts and decides nothing; MULTI/EXEC runs their writes; plain SET/GET has
  the same bytes.

";

/// What each operation takes of the server and of the wire, whatever language its client has.
pub(crate) fn of_a_core(results: &Results) -> String {
    let at = |callers| Setting { payload: Payload::SMALL, callers, is_delayed: false };
    let row = |figure: &&Figure| {
        let alone = results.find(figure.contender, figure.operation, at(1));
        let trips = alone.map_or_else(|| "–".to_owned(), |alone| format!("{:.1}", alone.reads()));
        vec![
            figure.operation.name().to_owned(),
            figure.contender.to_owned(),
            format!("{:.0}", figure.a_core_second()),
            format!("{:.0}", figure.bytes_in()),
            format!("{:.0}", figure.bytes_out()),
            trips,
        ]
    };
    let mut figures: Vec<_> = results.figures.iter().filter(|figure| figure.setting == at(256)).collect();
    figures.sort_by_key(|figure| figure.operation as u8);
    if figures.is_empty() {
        return String::new();
    }
    let head = [
        "operation",
        "who",
        "operations per second of one server core",
        "bytes to",
        "bytes from",
        "round trips",
    ];
    markdown(&head, &figures.iter().map(row).collect::<Vec<_>>())
}

/// All figures of each setting.
pub(crate) fn of_results(results: &Results) -> String {
    let mut settings: Vec<Setting> = Vec::new();
    for figure in &results.figures {
        if !settings.contains(&figure.setting) {
            settings.push(figure.setting);
        }
    }
    let mut tables = if settings.is_empty() { String::new() } else { NOTES.to_owned() };
    for setting in settings {
        let delay = if setting.is_delayed { ", 0.5 ms each way" } else { "" };
        tables += &format!("### {}, callers at once: {}{delay}\n\n", setting.payload.name(), setting.callers);
        let of_it = results.figures.iter().filter(|figure| figure.setting == setting);
        let mut figures: Vec<&Figure> = of_it.collect();
        figures.sort_by_key(|figure| figure.operation as u8);
        tables += &markdown(&HEAD, &figures.iter().map(|figure| row(figure)).collect::<Vec<_>>());
        tables.push('\n');
    }
    tables
}

const HEAD: [&str; 11] = [
    "operation",
    "who",
    "a second",
    "p50 µs",
    "p99 µs",
    "server's commands µs",
    "server's thread µs",
    "client CPU µs",
    "reads",
    "bytes to",
    "bytes from",
];

fn row(figure: &Figure) -> Vec<String> {
    // The proxy runs in this process too, and what a thread does while it waits is nobody's call.
    let client =
        if figure.setting.is_delayed { "–".to_owned() } else { format!("{:.1}", figure.client_micros()) };
    vec![
        figure.operation.name().to_owned(),
        figure.contender.to_owned(),
        format!("{:.0}", figure.a_second()),
        format!("{:.0}", figure.percentile(50.0)),
        format!("{:.0}", figure.percentile(99.0)),
        format!("{:.1}", figure.command_micros()),
        format!("{:.1}", figure.server_micros()),
        client,
        format!("{:.2}", figure.reads()),
        format!("{:.0}", figure.bytes_in()),
        format!("{:.0}", figure.bytes_out()),
    ]
}
