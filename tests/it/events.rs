//! Events: what happens to sessions.

mod faults;
mod measured;
mod picture;
mod replay;
mod servers;
mod stores;

use std::time::Duration;

use cloakroom::events::{
    Ending, Event, EventKind, EventStore, EventStream, EventsFrom, EventsPosition, Told,
};
use cloakroom::migration::{Freezing, Import, Leftover, TaskId};
use cloakroom::nodes::Claim;
use cloakroom::{Binding, Error, NewSession, OnLimit, Patch, Refusal, Rotation, Rules, SessionId};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{self, Memory, Redis, Spread};
use crate::support::context::{Store, build};
use crate::support::expect::{refusal, session_id};
use crate::support::leases::register;

const HOUR: Duration = Duration::from_secs(3600);

/// Rules by which events are told, and enough are kept.
fn telling() -> Rules {
    Rules::new().events(100_000)
}

async fn next(events: &mut EventStream) -> Event {
    match tokio::time::timeout(Duration::from_secs(20), events.next()).await {
        Ok(Some(Told::Event(event))) => event,
        other => panic!("no event: {other:?}"),
    }
}

/// What is told of a session, in short.
async fn kinds(events: &mut EventStream, count: usize) -> Vec<(String, EventKind)> {
    let mut kinds = Vec::new();
    for _ in 0..count {
        let event = next(events).await;
        kinds.push((event.id.as_str().to_owned(), event.kind));
    }
    kinds
}

fn new(id: &str) -> NewSession {
    NewSession::new().id(session_id(id)).user("ann").connection(format!("c-{id}")).node("n")
}

#[rstest]
#[tokio::test]
async fn each_change_is_told_once_in_order_with_what_the_session_has_or_had(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = telling().sessions_per_user(2, OnLimit::EvictOldest);
    let store = context.store_at(rules.clone()).await;
    let reader = context.event_store_at(rules).await;
    let mut events = reader.events(EventsFrom::Now).await.unwrap();
    let told = |kind, id: &SessionId, names: [&str; 3], version: u64| {
        let [user, connection, node] = names.map(|name| (!name.is_empty()).then(|| name.to_owned()));
        (kind, id.clone(), user, connection, node, version)
    };
    let read = async |events: &mut EventStream| {
        let Event { kind, id, user, connection, node, version, .. } = next(events).await;
        (kind, id, user, connection, node, version.get())
    };

    let a = store.create(new("a")).await.unwrap().session;
    context.clock.advance(Duration::from_millis(1));
    let b = store.create(new("b")).await.unwrap().session;
    assert_eq!(read(&mut events).await, told(EventKind::Created, a.id(), ["ann", "c-a", "n"], 1));
    assert_eq!(read(&mut events).await, told(EventKind::Created, b.id(), ["ann", "c-b", "n"], 1));

    context.clock.advance(Duration::from_millis(1));
    let c = store.create(new("c")).await.unwrap().session;
    assert_eq!(read(&mut events).await, told(EventKind::Created, c.id(), ["ann", "c-c", "n"], 1));
    let evicted = EventKind::Ended(Ending::Evicted);
    assert_eq!(read(&mut events).await, told(evicted, a.id(), ["ann", "c-a", "n"], 2));

    // Neither is told.
    store.patch(&b, Patch::new().set("x", &1).unwrap()).await.unwrap();
    store.refresh(&b).await.unwrap().unwrap();
    store.patch(&b, Patch::new().suspend()).await.unwrap();
    assert_eq!(read(&mut events).await, told(EventKind::Updated, b.id(), ["ann", "c-b", "n"], 3));
    store.bind(b.id(), Binding::new("c-c").node("m").take_over()).await.unwrap();
    assert_eq!(read(&mut events).await, told(EventKind::TakenOver, c.id(), ["ann", "c-c", "n"], 2));
    assert_eq!(read(&mut events).await, told(EventKind::Bound, b.id(), ["ann", "c-c", "m"], 4));
    store.unbind(b.id(), "c-c").await.unwrap();
    assert_eq!(read(&mut events).await, told(EventKind::Unbound, b.id(), ["ann", "c-c", "m"], 5));

    let d = store.rotate(b.id(), Rotation::new().new_id(session_id("d"))).await.unwrap().session;
    let rotated = EventKind::Rotated(d.id().clone());
    assert_eq!(read(&mut events).await, told(rotated, b.id(), ["ann", "", ""], 6));
    let e = store.rotate(&d, Rotation::new().new_id(session_id("e")).user("bob")).await.unwrap().session;
    let logged_in = EventKind::LoggedIn(e.id().clone());
    assert_eq!(read(&mut events).await, told(logged_in, d.id(), ["bob", "", ""], 7));

    let mut session = store.get(e.id()).await.unwrap().unwrap();
    session.set_user("eve");
    store.update(&mut session).await.unwrap();
    assert_eq!(read(&mut events).await, told(EventKind::Updated, e.id(), ["eve", "", ""], 8));
    assert!(store.delete(e.id()).await.unwrap().is_some());
    let deleted = || EventKind::Ended(Ending::Deleted);
    assert_eq!(read(&mut events).await, told(deleted(), e.id(), ["eve", "", ""], 9));
    store.delete_user("ann", None).await.unwrap();
    assert_eq!(read(&mut events).await, told(deleted(), c.id(), ["ann", "", ""], 3));

    let f = store.create(new("f")).await.unwrap().session;
    assert_eq!(read(&mut events).await, told(EventKind::Created, f.id(), ["ann", "c-f", "n"], 1));
    register(&store, "m").await;
    store.recover(Claim::new("n", "m")).await.unwrap();
    assert_eq!(read(&mut events).await, told(EventKind::Recovered, f.id(), ["ann", "", "m"], 2));
    context.clock.advance(HOUR);
    store.reap(10).await.unwrap();
    let expired = EventKind::Ended(Ending::Expired);
    assert_eq!(read(&mut events).await, told(expired, f.id(), ["ann", "", "m"], 2));
}

#[rstest]
#[tokio::test]
async fn a_migration_is_told_where_the_session_was_and_where_it_comes(#[values(Redis, Memory)] on: On) {
    let (from, to) = (Context::on(on).await, Context::on(on).await);
    let (source, target) = (from.store_at(telling()).await, to.store_at(telling()).await);
    let mut leaving = from.event_store_at(telling()).await.events(EventsFrom::Beginning).await.unwrap();
    let mut coming = to.event_store_at(telling()).await.events(EventsFrom::Beginning).await.unwrap();
    let session = source.create(new("a")).await.unwrap().session;
    let task = TaskId::random();
    let frozen = source.freeze(&session, Freezing::new(task, "there")).await.unwrap();
    let import = || Import::new(frozen.export.clone()).incoming(task, frozen.until_ms, "here");
    target.import(import()).await.unwrap();
    target.clean(&session, task, Leftover::Copy { until_ms: frozen.until_ms }).await.unwrap();
    target.import(import()).await.unwrap();
    source.depart(&session, task, frozen.until_ms).await.unwrap();

    let at_source = [EventKind::Created, EventKind::Departed];
    let at_target = [EventKind::Arrived, EventKind::Ended(Ending::Withdrawn), EventKind::Arrived];
    let of_a = |kind| ("a".to_owned(), kind);
    assert_eq!(kinds(&mut leaving, 2).await, at_source.map(of_a));
    assert_eq!(kinds(&mut coming, 3).await, at_target.map(of_a));
}

#[rstest]
#[tokio::test]
async fn a_node_is_told_of_the_sessions_that_it_has_and_had_and_of_no_others(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(telling()).await;
    let reader = context.event_store_at(telling()).await;
    let mut of_n = reader.events_of_node("n", EventsFrom::Beginning).await.unwrap();
    let session_of = async |node: &str| {
        store.create(NewSession::new().connection(format!("of-{node}")).node(node)).await.unwrap().session
    };
    let other = session_of("m").await;
    let own = session_of("n").await;
    store.bind(own.id(), Binding::new("d").node("m")).await.unwrap();
    store.delete(own.id()).await.unwrap();
    store.bind(other.id(), Binding::new("e").node("n")).await.unwrap();
    store.delete(other.id()).await.unwrap();
    let mut found = kinds(&mut of_n, 4).await;
    // Those of different partitions come in any order.
    found.sort_by_key(|(id, _)| id != own.id().as_str());
    let text = |id: &SessionId| id.as_str().to_owned();
    assert_eq!(
        found,
        [
            (text(own.id()), EventKind::Created),
            (text(own.id()), EventKind::Bound),
            (text(other.id()), EventKind::Bound),
            (text(other.id()), EventKind::Ended(Ending::Deleted)),
        ]
    );
}

#[rstest]
#[tokio::test]
async fn a_reader_goes_on_behind_what_it_has_read_in_another_process_too(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(telling()).await;
    let mut first = context.event_store_at(telling()).await.events(EventsFrom::Beginning).await.unwrap();
    let user = |nth: usize| format!("user-{nth}");
    for nth in 0..20 {
        store.create(NewSession::new().user(user(nth))).await.unwrap();
    }
    let mut users = Vec::new();
    for _ in 0..12 {
        users.push(next(&mut first).await.user.unwrap());
    }
    let position: EventsPosition = first.position().to_string().parse().unwrap();
    drop(first);
    let from = EventsFrom::Position(position);
    let mut second = context.event_store_at(telling()).await.events(from).await.unwrap();
    for _ in 12..20 {
        users.push(next(&mut second).await.user.unwrap());
    }
    users.sort();
    let mut expected: Vec<String> = (0..20).map(user).collect();
    expected.sort();
    assert_eq!(users, expected);
}

#[rstest]
#[tokio::test]
async fn a_reader_that_fell_behind_is_told_so_and_reads_on(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = Rules::new().events(100);
    let store = context.store_at(rules.clone()).await;
    let reader = context.event_store_at(rules).await;
    let position = reader.events(EventsFrom::Now).await.unwrap().position().clone();
    for _ in 0..500 {
        store.create(NewSession::new()).await.unwrap();
    }
    for from in [EventsFrom::Beginning, EventsFrom::Position(position)] {
        let mut events = reader.events(from).await.unwrap();
        assert_eq!(events.next().await, Some(Told::Lagged { partition: 0 }));
        for _ in 0..100 {
            assert_eq!(next(&mut events).await.kind, EventKind::Created);
        }
    }
    let mut events = reader.events(EventsFrom::Now).await.unwrap();
    let session = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(next(&mut events).await.id, *session.id());
}

#[tokio::test]
async fn a_reader_survives_cut_connections_and_flushed_scripts_and_hears_of_a_flushed_server() {
    let context = Context::own(&[]).await;
    let store = context.store_at(telling()).await;
    let mut events = context.event_store_at(telling()).await.events(EventsFrom::Now).await.unwrap();
    for nth in 0..10 {
        let session = store.create(NewSession::new()).await.unwrap().session;
        assert_eq!(next(&mut events).await.id, *session.id(), "{nth}");
        context.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        context.command::<()>(&["SCRIPT", "FLUSH"]).await;
    }
    context.command::<()>(&["FLUSHALL"]).await;
    assert_eq!(events.next().await, Some(Told::Lagged { partition: 0 }));
    let session = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(next(&mut events).await.id, *session.id());
}

#[tokio::test]
async fn a_reader_asks_nothing_while_nothing_happens_and_hears_at_once_when_something_does() {
    let context = Context::own(&[]).await;
    let store = context.store_at(telling()).await;
    let mut events = context.event_store_at(telling()).await.events(EventsFrom::Now).await.unwrap();
    // It has read once, and is told from then on.
    let first = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(next(&mut events).await.id, *first.id());
    let before = context.count().await;
    for _ in 0..10 {
        let session = store.create(NewSession::new()).await.unwrap().session;
        assert_eq!(next(&mut events).await.id, *session.id());
    }
    let commands = context.cost_since(&before).await.commands;
    assert!(!commands.contains_key("hello"), "the connection stays: {commands:?}");
    let reads = commands["xrange"];
    // One for each, or two where word of it came while it was read; and one that looks whether the connection lives.
    assert!(reads <= 22, "{reads} reads");
}

#[tokio::test]
async fn where_the_server_may_not_tell_of_changes_a_reader_asks_again_and_again() {
    let context = Context::own(&[]).await;
    let rules = ["ACL", "SETUSER", "deaf", "on", ">p", "~*", "+@all", "-client"];
    context.command::<()>(&rules).await;
    let url = format!("redis://deaf:p@{}/", context.server().address());
    let builder = cloakroom::RedisStore::builder(url).namespace(&context.namespace).rules(telling());
    let reader = builder.build().await.unwrap();
    let mut events = reader.events(EventsFrom::Now).await.unwrap();
    let store = context.store_at(telling()).await;
    for _ in 0..3 {
        let session = store.create(NewSession::new()).await.unwrap().session;
        assert_eq!(next(&mut events).await.id, *session.id());
    }
}

#[tokio::test]
async fn who_may_not_read_streams_is_told_so() {
    let context = Context::own(&[]).await;
    context.command::<()>(&["ACL", "SETUSER", "blind", "on", ">p", "~*", "+@all", "-xrange"]).await;
    let url = format!("redis://blind:p@{}/", context.server().address());
    let builder = cloakroom::RedisStore::builder(url).namespace(&context.namespace).rules(telling());
    let refused = refusal(builder.build().await.unwrap().events(EventsFrom::Beginning).await.map(drop));
    assert!(matches!(&refused, Refusal::Forbidden { lacking } if lacking.contains(&"+xrange".to_owned())));
}

#[tokio::test]
async fn all_stores_of_a_namespace_tell_events_or_none_does() {
    for (first, second) in [(0, 10), (10, 0)] {
        let context = Context::redis().await;
        let rules = |events| Rules::new().events(events);
        build(context.builder(rules(first))).await;
        let refused = refusal(context.builder(rules(second)).build().await.map(drop));
        assert_eq!(refused, Refusal::Events { found: first });
    }
    let context = Context::redis().await.spread();
    build(context.builder(Rules::new().events(10))).await;
    // Another number does no harm.
    build(context.builder(Rules::new().events(20))).await;
    let note = format!("{{{}:0}}:contract", context.namespace);
    assert_eq!(context.string(&note).await.unwrap(), b"1 16 10");
}

#[rstest]
#[tokio::test]
async fn who_asks_for_none_has_none_to_read(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let reader = context.event_store_at(Rules::new()).await;
    let error = reader.events(EventsFrom::Now).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(invalid) if invalid.field == "events"), "{error}");
    let store = context.store_at(Rules::new()).await;
    let session = store.create(new("a")).await.unwrap().session;
    store.delete(&session).await.unwrap();
    if matches!(on, Redis) {
        assert!(!context.exists(&context.key("events")).await);
    }
}

#[tokio::test]
async fn streams_keep_about_as_many_as_asked_for_and_go_by_themselves() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new().events(10)).await;
    for nth in 0..300 {
        store.create(NewSession::new().connection(nth.to_string()).node("n")).await.unwrap();
    }
    for key in ["events", "node:n:events"] {
        let key = context.key(key);
        let length: usize = context.command(&["XLEN", &key]).await;
        assert!((10..=110).contains(&length), "{key} has {length}");
        let ttl = Duration::from_millis(context.pttl(&key).await.try_into().unwrap());
        assert!(ttl > 13 * 24 * HOUR && ttl <= 14 * 24 * HOUR, "{key} goes in {ttl:?}");
    }
    context.check().await;
}
