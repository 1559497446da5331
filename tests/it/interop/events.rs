//! All languages write events. Those that read events read them alike, and each continues where another
//! stopped.

use std::collections::BTreeMap;

use cloakroom::events::{Ending, Event, EventKind, EventStore as _, EventStream, EventsFrom, Told};

use super::*;

/// An event, as the workers of the clients print it.
fn told(event: &Event) -> Value {
    let (what, why, new_id) = words(&event.kind);
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    json!({
        "what": what, "why": why, "id": event.id.as_str(), "user": text(&event.user),
        "connection": text(&event.connection), "node": text(&event.node), "version": event.version.get(),
        "new_id": new_id.map_or("", SessionId::as_str),
    })
}

fn words(kind: &EventKind) -> (&'static str, &'static str, Option<&SessionId>) {
    match kind {
        EventKind::Created => ("created", "", None),
        EventKind::Updated => ("updated", "", None),
        EventKind::Rotated(id) => ("rotated", "", Some(id)),
        EventKind::LoggedIn(id) => ("rotated", "login", Some(id)),
        EventKind::LoggedOut(id) => ("rotated", "logout", Some(id)),
        EventKind::Bound => ("bound", "", None),
        EventKind::Unbound => ("unbound", "", None),
        EventKind::TakenOver => ("taken_over", "", None),
        EventKind::Arrived => ("arrived", "", None),
        EventKind::Ended(Ending::Deleted) => ("ended", "deleted", None),
        EventKind::Ended(Ending::Evicted) => ("ended", "evicted", None),
        EventKind::Ended(Ending::Expired) => ("ended", "expired", None),
        EventKind::Ended(Ending::Login(id)) => ("ended", "login", Some(id)),
        other => panic!("nobody does that here: {other:?}"),
    }
}

async fn take(events: &mut EventStream, count: usize) -> Vec<Value> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match events.next().await {
            Some(Told::Event(event)) => taken.push(told(&event)),
            other => panic!("no event: {other:?}"),
        }
    }
    taken
}

/// What was told of each session, which lives in one partition, in order.
fn by_session(events: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in events {
        sessions.entry(event["id"].to_string()).or_default().push(event);
    }
    sessions
}

/// So many events, and the position behind them.
async fn read(client: &Client, url: &str, namespace: &str, from: &str, count: usize) -> (Vec<Value>, String) {
    let mut lines = client.run(["events", url, namespace, from, &count.to_string()], String::new()).await;
    let position = lines.pop().unwrap()["position"].as_str().unwrap().to_owned();
    assert_eq!(lines.len(), count, "{}", client.name);
    (lines, position)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients in other languages: clients/interop runs it"]
async fn the_languages_that_read_events_read_the_same_and_each_goes_on_where_another_stopped() {
    let context = Context::own(&[]).await.spread();
    let (url, namespace) = (context.server().url(), &*context.namespace);
    let rules = Rules::new().events(100_000);
    let reader = context.builder(rules.clone()).build().await.unwrap();
    work_together(&context.store(rules).await, &Client::all(), url, namespace).await;
    let mut count = 0;
    for tag in context.partitions().tags() {
        // The first of each stream tells that it begins.
        count += context.command::<usize>(&["XLEN", &format!("{tag}:events")]).await.saturating_sub(1);
    }
    let mut events = reader.events(EventsFrom::Beginning).await.unwrap();
    let all = take(&mut events, count).await;
    let end = events.position().to_string();
    let [python, node] = &Client::complete();
    for client in [python, node] {
        let (lines, position) = read(client, url, namespace, "beginning", count).await;
        assert_eq!(by_session(&lines), by_session(&all), "{}", client.name);
        assert_eq!(position, end, "{}", client.name);
    }

    let part = count / 4;
    for [one, other] in [[python, node], [node, python]] {
        let mut events = reader.events(EventsFrom::Beginning).await.unwrap();
        let mut handed_on = take(&mut events, part).await;
        let (lines, position) = read(one, url, namespace, &events.position().to_string(), part).await;
        handed_on.extend(lines);
        let (lines, position) = read(other, url, namespace, &position, part).await;
        handed_on.extend(lines);
        let mut events = reader.events(EventsFrom::Position(position.parse().unwrap())).await.unwrap();
        handed_on.extend(take(&mut events, count - 3 * part).await);
        assert_eq!(by_session(&handed_on), by_session(&all), "{} then {}", one.name, other.name);
        assert_eq!(events.position().to_string(), end);
    }
}
