//! watch: prints events of sessions as they happen.

use cloakroom::events::{
    Ending, Event, EventKind, EventStore as _, EventStream, EventsFrom, EventsPosition, Told,
};
use cloakroom::{RedisStore, SessionId, SessionStore as _};
use serde_json::{Value, json};

use crate::arguments::WatchArguments;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Output, shown, time};

/// Runs until it is interrupted.
pub(crate) async fn run(
    store: &RedisStore,
    arguments: &WatchArguments,
    output: &Output,
) -> Result<(), Failure> {
    if store.rules().get_events() == 0 {
        return Err(Failure::Nothing(
            "the namespace has no events: the service that creates it must turn them on, by Rules::events (docs/events.md)",
        ));
    }
    let output = &output.of(store.rules());
    let mut interrupt = Interrupt::listen();
    let from = arguments.from.clone().unwrap_or(EventsFrom::Now);
    let mut events = match &arguments.node {
        Some(node) => store.events_of_node(node, from).await?,
        None => store.events(from).await?,
    };
    output.heading(&columns(output))?;
    loop {
        let told = tokio::select! {
            biased;
            () = interrupt.wait() => return Err(stopped(events.position())),
            told = events.next() => told,
        };
        match told {
            Some(Told::Event(event)) => {
                if arguments.user.is_none() || arguments.user == event.user {
                    tell(&event, &events, output)?;
                }
            }
            Some(Told::Lagged { partition }) => {
                let told = json!({
                    "what": "lagged",
                    "partition": partition,
                    "position": events.position().to_string(),
                });
                output.tell(&told, &format!("some events of partition {partition} were missed"))?;
            }
            Some(_) => {}
            // The store is closed.
            None => return Ok(()),
        }
    }
}

fn stopped(position: &EventsPosition) -> Failure {
    let text = position.to_string();
    // There were no events yet.
    let is_beginning = text.chars().all(|c| c == ',');
    let from = if is_beginning { "beginning" } else { &text };
    Failure::Stopped { how_to_go_on: format!("the same command with --from {from}"), why: None }
}

fn tell(event: &Event, events: &EventStream, output: &Output) -> Result<(), Failure> {
    let (what, why, new_id) = words(&event.kind);
    let at = events.at_ms().map(time);
    let (user, node) = (event.user.as_deref(), event.node.as_deref());
    let connection = output.connection(event.connection.as_deref());
    let mut told = json!({
        "at": at,
        "what": what,
        "why": why,
        "user": user,
        "node": node,
        "version": event.version.get(),
        "position": events.position().to_string(),
    });
    output.note_id(&mut told, ["hash", "id"], &event.id);
    if let Some(new_id) = new_id {
        output.note_id(&mut told, ["new_hash", "new_id"], new_id);
    }
    if output.reveals() {
        told["connection"] = Value::from(connection);
    }
    let (id, width) = (output.id(&event.id), output.id_width());
    let [at, why, node, user, connection] = [at.as_deref(), Some(why), node, user, connection]
        .map(|text| shown(text.filter(|text| !text.is_empty()).unwrap_or("-")));
    let mut line = format!("{at:<20}  {what:<10}  {why:<9}  {id:<width$}  {node:<12}  {user}");
    if output.reveals() {
        line += &format!("  {connection}");
    }
    if let Some(new_id) = new_id {
        line += &format!("  now {}", output.id(new_id));
    }
    output.tell(&told, &line)
}

fn columns(output: &Output) -> String {
    let (at, what, why, id, width) = ("AT", "WHAT", "WHY", "SESSION", output.id_width());
    let line = format!("{at:<20}  {what:<10}  {why:<9}  {id:<width$}  {:<12}  USER", "NODE");
    if output.reveals() { line + "  CONNECTION" } else { line }
}

/// What happened and why, in the words of docs/events.md, and the new id where there is one.
fn words(kind: &EventKind) -> (&'static str, &'static str, Option<&SessionId>) {
    let (what, why) = match kind {
        EventKind::Created => ("created", ""),
        EventKind::Updated => ("updated", ""),
        EventKind::Rotated(id) => return ("rotated", "", Some(id)),
        EventKind::LoggedIn(id) => return ("rotated", "login", Some(id)),
        EventKind::LoggedOut(id) => return ("rotated", "logout", Some(id)),
        EventKind::Bound => ("bound", ""),
        EventKind::Unbound => ("unbound", ""),
        EventKind::TakenOver => ("taken_over", ""),
        EventKind::Recovered => ("recovered", ""),
        EventKind::Arrived => ("arrived", ""),
        EventKind::Departed => ("departed", ""),
        EventKind::Ended(Ending::Deleted) => ("ended", "deleted"),
        EventKind::Ended(Ending::Evicted) => ("ended", "evicted"),
        EventKind::Ended(Ending::Expired) => ("ended", "expired"),
        EventKind::Ended(Ending::Login(id)) => return ("ended", "login", Some(id)),
        EventKind::Ended(Ending::Withdrawn) => ("ended", "withdrawn"),
        EventKind::Ended(Ending::Corrupt) => ("ended", "corrupt"),
        EventKind::Ended(Ending::Lost) => ("ended", "lost"),
        _ => ("unknown", ""),
    };
    (what, why, None)
}
