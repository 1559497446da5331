//! Markdown tables.

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
- *Reads* are how often something arrived at the server: with one caller, round trips.
- The *commands* are what the server's `commandstats` tell, the *thread* is all that runs them, reading and answering too.
- `rotate` and `delete` of cloakroom are told the session, as a request has it; the several commands read it first.
- `patch` of tower-sessions and axum_session is a save of the whole session, without the load before it.
- `request` is a `refresh_and_get` of cloakroom's, each session used every second and written once a minute; the others only
  read.
- The bare script and MULTI/EXEC make cloakroom's writes and decide nothing; plain SET/GET is of the same bytes.

";

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
