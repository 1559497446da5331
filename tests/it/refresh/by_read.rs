//! A refresh that has nothing to write is a read, and answers what the script would have answered.

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom::{
    Error, NewSession, Patch, Refusal, Result, Rotation, Rules, Session, SessionId, SessionRef, Status,
};
use redis::Value;
use serde_json::json;

use super::MINUTE;
use crate::conformance::bundle::Bundle;
use crate::conformance::call::Sent;
use crate::conformance::exported;
use crate::support::Context;
use crate::support::calls::Cost;
use crate::support::context::{Store, build};
use crate::support::expect::{ms, session_id};
use crate::support::leases::register;
use crate::support::record::{FROZEN, HEADER, Stored};

const TOUCH: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(1);

fn rules() -> Rules {
    Rules::new().ttl(10 * MINUTE).touch_interval(TOUCH)
}

/// A server of its own, a store with one connection, which is made, and a session in it.
async fn world() -> (Context, Store, Session) {
    let context = Context::own(&[]).await;
    let store = build(context.builder(rules()).pool_size(1).clock(context.clock.clone())).await;
    let session = context.session(&store, "a").await;
    (context, store, session)
}

/// Whether a refresh changed the session, and what it cost.
async fn refresh(context: &Context, store: &Store, session: &dyn SessionRef) -> (bool, Cost) {
    let before = context.count().await;
    let refreshed = store.refresh(session).await.unwrap().unwrap();
    (refreshed.changed, context.cost_since(&before).await)
}

fn commands(cost: &Cost) -> Vec<(&str, u64)> {
    cost.commands.iter().map(|(name, calls)| (name.as_str(), *calls)).collect()
}

#[tokio::test]
async fn within_the_interval_a_refresh_reads_the_time_and_the_header_in_one_trip_and_runs_no_script() {
    let (context, store, session) = world().await;
    let large = Patch::new().set("large", &"x".repeat(200_000)).unwrap();
    store.patch(&session, large).await.unwrap();
    context.clock.advance(TOUCH - MOMENT);
    for target in [session.id() as &dyn SessionRef, &session] {
        let (changed, cost) = refresh(&context, &store, target).await;
        assert_eq!((changed, cost.round_trips, cost.scripts), (false, 1, 0));
        assert_eq!(commands(&cost), [("getrange", 1), ("time", 1)]);
    }
    let before = context.count().await;
    let read = store.refresh_and_get(session.id()).await.unwrap().unwrap();
    let cost = context.cost_since(&before).await;
    assert_eq!(Some(read), store.get(session.id()).await.unwrap());
    assert_eq!((cost.scripts, commands(&cost)), (0, vec![("get", 1), ("time", 1)]));
}

#[tokio::test]
async fn a_due_touch_takes_one_trip_with_the_session_in_hand_and_two_with_its_id() {
    let (context, store, session) = world().await;
    context.clock.advance(TOUCH);
    let (changed, cost) = refresh(&context, &store, &session).await;
    assert_eq!((changed, cost.round_trips, cost.scripts), (true, 1, 1));
    let (changed, cost) = refresh(&context, &store, &session).await;
    assert_eq!((changed, cost.round_trips, cost.scripts), (false, 1, 1), "by the copy it seems to be due");
    context.clock.advance(TOUCH);
    let (changed, cost) = refresh(&context, &store, session.id()).await;
    assert_eq!((changed, cost.round_trips, cost.scripts), (true, 2, 1));
}

#[tokio::test]
async fn the_servers_own_clock_tells_that_a_copy_is_due() {
    let context = Context::own(&[]).await;
    let rules = rules().touch_interval(MOMENT);
    let store = build(context.builder(rules).pool_size(1)).await;
    let session = context.session(&store, "a").await;
    // The time passes at the server and here.
    let later = std::time::Instant::now() + 20 * MOMENT;
    while std::time::Instant::now() < later {
        store.get(session.id()).await.unwrap();
    }
    let (changed, cost) = refresh(&context, &store, &session).await;
    assert_eq!((changed, cost.round_trips, cost.scripts), (true, 1, 1));
}

#[tokio::test]
async fn a_session_that_is_not_there_is_told_by_the_read() {
    let (context, store, session) = world().await;
    store.delete(&session).await.unwrap();
    for id in [session.id(), &session_id("never")] {
        let before = context.count().await;
        assert_eq!(store.refresh_and_get(id).await.unwrap(), None);
        let cost = context.cost_since(&before).await;
        assert_eq!((cost.round_trips, cost.scripts), (1, 0));
    }
}

#[tokio::test]
async fn a_node_that_writes_as_the_owner_is_asked_for_its_lease_though_there_is_nothing_to_write() {
    let (context, store, _) = world().await;
    let (node, other) = (register(&store, "n").await, register(&store, "other").await);
    let session = store.create(NewSession::new().node("n")).await.unwrap().session;
    assert!(!store.as_node(&node).refresh(&session).await.unwrap().unwrap().changed);
    for refused in [
        store.as_node(&other).refresh(&session).await.map(drop),
        store.as_node(&other).refresh_and_get(&session).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Refused(Refusal::Fenced))), "{refused:?}");
    }
    context.check().await;
}

/// What is stored under a session's key, and what to call it.
type States = BTreeMap<&'static str, Vec<u8>>;

/// A record of each kind, whole and broken.
async fn states(context: &Context, store: &Store) -> States {
    let mut states = States::new();
    let record = async |session: &SessionId| context.string(&context.record_key(session)).await.unwrap();
    for name in ["active", "suspended", "frozen", "thawed", "rotated", "deleted"] {
        let session = context.session(store, name).await;
        match name {
            "suspended" => drop(store.patch(&session, Patch::new().suspend()).await.unwrap()),
            "frozen" => context.freeze(session.id()).await,
            "thawed" => {
                context.freeze(session.id()).await;
                let frozen = context.stored(session.id()).await.unwrap().freeze.unwrap();
                let task = cloakroom::migration::TaskId::new(frozen.task).unwrap();
                store.thaw(session.id(), task, cloakroom::migration::Direction::Outgoing).await.unwrap();
            }
            "rotated" => {
                drop(store.rotate(&session, Rotation::new().new_id(session_id("new"))).await.unwrap())
            }
            "deleted" => drop(store.delete(&session).await.unwrap()),
            _ => {}
        }
        states.insert(name, record(session.id()).await);
    }
    let active = states["active"].clone();
    let mut no_text = active.clone();
    no_text[HEADER] = 0xff;
    let mut other_format = active.clone();
    other_format[0] = 9;
    states.insert("a user that is no text", no_text);
    states.insert("another format", other_format);
    states.insert("cut off", active[..active.len() - 1].to_vec());
    states.insert("cut off in the header", active[..HEADER - 1].to_vec());
    states.insert("empty", Vec::new());
    states
}

/// A record with other times, of which none is later than it is stored.
fn at(record: &[u8], last_active: u64, expires_at: u64) -> Vec<u8> {
    let mut record = record.to_vec();
    if record.len() >= HEADER {
        let times = HEADER - 18;
        record[times..times + 6].copy_from_slice(&last_active.to_be_bytes()[2..]);
        record[times + 6..times + 12].copy_from_slice(&expires_at.to_be_bytes()[2..]);
    }
    record
}

/// Sends the script as a client does that reads nothing before. Its answer in one line, as that of the store below.
async fn by_script(context: &Context, bundle: &Bundle, id: &SessionId, want: &str) -> String {
    let operation = &bundle.operations["refresh"];
    let values = json!({
        "now_ms": context.clock.now_ms(), "id": id.as_str(), "user": "user-x", "connection": "connection-x",
        "node": "node-x", "threshold": 500, "touch_ms": ms(TOUCH), "grace_ms": 3_600_000, "want": want,
    });
    let values = values.as_object().unwrap().clone().into_iter().collect();
    let sent = Sent::new(bundle, operation, context.key("").trim_end_matches(':'), &values);
    let mut call = redis::cmd("EVALSHA");
    call.arg(&operation.sha1).arg(sent.keys.len()).arg(sent.keys).arg(sent.arguments);
    let reply: Vec<Value> = call.query_async(&mut context.raw()).await.unwrap();
    let word: String = redis::from_redis_value_ref(&reply[0]).unwrap();
    let told = match word.as_str() {
        "moved" | "departed" | "corrupt" => return word,
        "ok" | "unchanged" => &reply[1..4],
        _ => return word,
    };
    let mut line = word;
    for number in told {
        line += &format!(" {}", redis::from_redis_value_ref::<u64>(number).unwrap());
    }
    let Some(Value::BulkString(record)) = reply.get(4) else { return line };
    let stored = Stored::parse(record);
    format!("{} {} {} {}", stored.version, stored.last_active, stored.expires_at, stored.status)
}

fn of_error(error: Error) -> String {
    match error {
        Error::Corrupt { .. } => "corrupt".to_owned(),
        Error::Refused(Refusal::Frozen) => "frozen".to_owned(),
        Error::Refused(Refusal::Rotated { to: None }) => "rotated".to_owned(),
        error => panic!("{error:?}"),
    }
}

async fn by_store(store: &Store, id: &SessionId, want: &str) -> Result<Option<String>> {
    if want == "times" {
        let refreshed = store.refresh(id).await?;
        return Ok(refreshed.map(|refreshed| {
            let word = if refreshed.changed { "ok" } else { "unchanged" };
            let version = refreshed.version.get();
            format!("{word} {version} {} {}", refreshed.last_active_ms, refreshed.expires_at_ms)
        }));
    }
    let session = store.refresh_and_get(id).await?;
    Ok(session.map(|session| {
        let status = match session.status() {
            Status::Active => 1,
            Status::Suspended => 2,
            _ => FROZEN,
        };
        let times = (session.last_active_ms(), session.expires_at_ms());
        format!("{} {} {} {status}", session.version().get(), times.0, times.1)
    }))
}

#[tokio::test]
async fn whatever_is_stored_the_read_answers_what_the_script_would_have_and_runs_it_where_there_is_to_write()
{
    let (context, store, _) = world().await;
    let bundle = exported();
    let states = states(&context, &store).await;
    let (now, touch) = (context.clock.now_ms(), i64::try_from(ms(TOUCH)).unwrap());
    let id = session_id("x");
    let key = context.record_key(&id);
    let plant = async |record: &[u8]| {
        redis::cmd("SET").arg(&key).arg(record).query_async::<()>(&mut context.raw()).await.unwrap();
    };
    let time = |from_now: i64| now.checked_add_signed(from_now).unwrap();
    for (name, record) in &states {
        for used in [-touch - 1, -touch, 1 - touch, -1, 0, 1, touch - 1, touch, touch + 1] {
            for left in [-1, 0, 1, touch, touch + 1, 300_000, 600_000, 600_001] {
                let state = at(record, time(used), time(left));
                for want in ["times", "record"] {
                    let case = format!("{name}, used at {used}, {left} left, {want}");
                    plant(&state).await;
                    let expected = by_script(&context, &bundle, &id, want).await;
                    plant(&state).await;
                    let before = context.count().await;
                    let found = by_store(&store, &id, want).await;
                    let scripts = context.cost_since(&before).await.scripts;
                    if expected == "moved" {
                        continue;
                    }
                    let found = found.map_or_else(of_error, |found| found.unwrap_or("missing".to_owned()));
                    assert_eq!(found, expected, "{case}");
                    let is_open = state.get(2).is_some_and(|status| *status != FROZEN);
                    let is_due = used.abs() >= touch || left <= touch;
                    if is_open && left > 0 && *name == "active" {
                        assert_eq!(scripts, u64::from(is_due), "{case}");
                    }
                }
            }
        }
    }
}
