//! The cost of each operation, counted at the server: round trips and script calls.

use std::time::Duration;

use cloakroom::migration::{Freezing, Import, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, NodeIdentity};
use cloakroom::{Binding, NewSession, OnLimit, PageRequest, Patch, Rotation, Rules, Selector, Session};

use crate::support::Context;
use crate::support::calls::Cost;
use crate::support::context::{Store, build, eventually};
use crate::support::leases::{register, session_at};

const MINUTE: Duration = Duration::from_secs(60);

/// A store by the server's clock, as in life: a script then asks for the time. The connections are made and the first
/// session is there, so that what a namespace pays once is paid.
async fn warm(rules: Rules) -> (Context, Store) {
    let context = Context::own(&[]).await;
    let store = build(context.builder(rules).pool_size(1)).await;
    store.create(NewSession::new()).await.unwrap();
    (context, store)
}

/// What some work costs, on a server of its own.
async fn cost<T>(context: &Context, work: impl Future<Output = cloakroom::Result<T>>) -> Cost {
    let before = context.count().await;
    work.await.unwrap();
    context.cost_since(&before).await
}

/// Waits until the server's clock has passed a time: within the same millisecond there is nothing to extend.
async fn passes(context: &Context, time_ms: u64) {
    eventually("the server's clock goes on", async || {
        let (seconds, micros): (u64, u64) = context.command(&["TIME"]).await;
        seconds * 1000 + micros / 1000 > time_ms
    })
    .await;
}

async fn session(store: &Store, name: &str) -> Session {
    let new = NewSession::new().user(name).connection(name).set("a", &1).unwrap();
    store.create(new).await.unwrap().session
}

#[tokio::test]
async fn get_takes_one_round_trip_and_two_by_connection() {
    let (context, store) = warm(Rules::new()).await;
    let session = session(&store, "ann").await;
    assert_eq!(cost(&context, store.get(session.id())).await.round_trips, 1);
    assert_eq!(cost(&context, store.explain(session.id())).await.round_trips, 1);
    assert_eq!(cost(&context, store.session_by_connection("ann")).await.round_trips, 2);
}

#[tokio::test]
async fn create_with_user_and_connection_takes_one_round_trip_and_eight_calls() {
    let (context, store) = warm(Rules::new()).await;
    let new =
        || NewSession::new().user("ann").connection(fastrand::u64(..).to_string()).set("a", &1).unwrap();
    for expected in ["the user's first", "the user's second"] {
        let cost = cost(&context, store.create(new())).await;
        assert_eq!((cost.round_trips, cost.calls()), (1, 8), "{expected}: {cost:?}");
    }
}

#[tokio::test]
async fn a_hundred_creates_take_one_script_and_four_calls_a_session_and_one_more_for_a_node() {
    let (context, store) = warm(Rules::new()).await;
    for (node, of_nodes) in [("", 0), ("n", 101)] {
        let new = |at: usize| {
            let name = format!("{node}-{at}");
            NewSession::new().user(&name).connection(&name).node(node).set("a", &1).unwrap()
        };
        let before = context.count().await;
        let made = store.create_many((0..100).map(new).collect()).await;
        assert!(made.iter().all(Result::is_ok));
        let cost = context.cost_since(&before).await;
        // What is longer than a read buffer of the server (16 KiB) is read in pieces, so the script is counted.
        assert_eq!(cost.scripts, 1);
        assert_eq!(cost.calls(), 6 + 400 + of_nodes, "{cost:?}");
    }
}

#[tokio::test]
async fn refresh_takes_one_round_trip_and_four_calls_when_it_slides_and_two_when_there_is_nothing_to_write() {
    let (context, store) = warm(Rules::new().refresh_threshold(1.0)).await;
    let session = session(&store, "ann").await;
    let touching = context.store(Rules::new().touch_interval(MINUTE)).await;
    touching.get(session.id()).await.unwrap();

    passes(&context, session.last_active_ms()).await;
    let slides = cost(&context, store.refresh(session.id())).await;
    assert_eq!((slides.round_trips, slides.calls()), (1, 4), "{slides:?}");
    let refreshed = store.get(session.id()).await.unwrap().unwrap();
    passes(&context, refreshed.last_active_ms()).await;
    let whole = cost(&context, store.refresh_and_get(session.id())).await;
    assert_eq!((whole.round_trips, whole.calls()), (1, 4), "{whole:?}");
    let nothing = cost(&context, touching.refresh(session.id())).await;
    assert_eq!((nothing.round_trips, nothing.calls()), (1, 2), "{nothing:?}");
}

#[tokio::test]
async fn a_change_takes_one_round_trip_with_the_session_in_hand_and_at_most_two_with_its_id() {
    let (context, store) = warm(Rules::new()).await;
    let patch = || Patch::new().set("b", &2).unwrap();

    let mut held = session(&store, "ann").await;
    held.set("b", &1).unwrap();
    assert_eq!(cost(&context, store.update(&mut held)).await.round_trips, 1);
    assert_eq!(cost(&context, store.patch(&held, patch())).await.round_trips, 1);
    assert_eq!(cost(&context, store.bind(&held, Binding::new("ann-2"))).await.round_trips, 1);
    let held = store.get(held.id()).await.unwrap().unwrap();
    assert_eq!(cost(&context, store.rotate(&held, Rotation::new())).await.round_trips, 1);

    let id = session(&store, "bob").await.id().clone();
    assert_eq!(cost(&context, store.patch(&id, patch())).await.round_trips, 1);
    assert_eq!(cost(&context, store.patch(&id, Patch::new().ttl(MINUTE))).await.round_trips, 2);
    assert_eq!(cost(&context, store.bind(&id, Binding::new("bob-2"))).await.round_trips, 2);
    assert_eq!(cost(&context, store.unbind(&id, "bob-2")).await.round_trips, 1);
    assert_eq!(cost(&context, store.rotate(&id, Rotation::new())).await.round_trips, 2);
}

#[tokio::test]
async fn a_rotation_takes_one_round_trip_and_ten_calls() {
    let (context, store) = warm(Rules::new()).await;
    let held = session(&store, "ann").await;
    let rotation = cost(&context, store.rotate(&held, Rotation::new())).await;
    assert_eq!((rotation.round_trips, rotation.calls()), (1, 10), "{rotation:?}");
}

#[tokio::test]
async fn delete_takes_seven_calls_in_one_round_trip_or_two_and_one_call_more_for_a_node() {
    let (context, store) = warm(Rules::new()).await;
    // Where a script cannot ask whether the user may run SET, it tries.
    let tries = u64::from(!context.scripts_can_ask().await);
    let held = session(&store, "ann").await;
    let deletion = cost(&context, store.delete(&held)).await;
    assert_eq!((deletion.round_trips, deletion.calls()), (1, 7 + tries), "{deletion:?}");

    let id = session(&store, "bob").await.id().clone();
    // Two more: the first script reads the time and the record, and says what it needs.
    let deletion = cost(&context, store.delete(&id)).await;
    assert_eq!((deletion.round_trips, deletion.calls()), (2, 9 + tries), "{deletion:?}");

    let new = NewSession::new().user("eve").connection("eve").node("n");
    let held = store.create(new).await.unwrap().session;
    let deletion = cost(&context, store.delete(&held)).await;
    assert_eq!((deletion.round_trips, deletion.calls()), (1, 8 + tries), "{deletion:?}");
}

#[tokio::test]
async fn an_event_takes_three_calls_in_each_stream_and_what_tells_none_takes_none() {
    let (context, store) = warm(Rules::new().events(1000)).await;
    // Where a script cannot ask what the user may run, it tries what tells, and SET before it removes a session.
    let (tries, tries_to_tell) = if context.scripts_can_ask().await { (0, 0) } else { (1, 2) };
    // The streams are there.
    let at_node = |name: &str| NewSession::new().user(name).connection(name).node("n");
    store.create(at_node("first")).await.unwrap();
    let new = NewSession::new().user("ann").connection("ann").set("a", &1).unwrap();
    let creation = cost(&context, store.create(new)).await;
    assert_eq!((creation.round_trips, creation.calls()), (1, 8 + 3 + tries_to_tell), "{creation:?}");
    let creation = cost(&context, store.create(at_node("bob"))).await;
    assert_eq!((creation.round_trips, creation.calls()), (1, 10 + 6 + tries_to_tell), "{creation:?}");
    let held = store.session_by_connection("bob").await.unwrap().unwrap();
    let patch = cost(&context, store.patch(&held, Patch::new().set("b", &2).unwrap())).await;
    assert_eq!((patch.round_trips, patch.calls()), (1, 3), "{patch:?}");
    let deletion = cost(&context, store.delete(&held)).await;
    assert_eq!((deletion.round_trips, deletion.calls()), (1, 8 + 6 + tries + tries_to_tell), "{deletion:?}");
}

#[tokio::test]
async fn create_at_the_limit_takes_three_round_trips() {
    let (context, store) = warm(Rules::new().sessions_per_user(2, OnLimit::EvictOldest)).await;
    let new = || NewSession::new().user("ann").connection(fastrand::u64(..).to_string()).node("n");
    for expected in [1, 1, 3, 3] {
        assert_eq!(cost(&context, store.create(new())).await.round_trips, expected);
    }
}

#[tokio::test]
async fn a_batch_of_200_expired_sessions_is_reaped_in_three_round_trips() {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1).clock(context.clock.clone())).await;
    for at in 0..200 {
        session(&store, &at.to_string()).await;
    }
    context.clock.advance(31 * MINUTE);
    let before = context.count().await;
    assert_eq!(store.reap(200).await.unwrap().sessions.len(), 200);
    let cost = context.cost_since(&before).await;
    // What is longer than a read buffer of the server (16 KiB) is read in pieces, so commands are counted here: a
    // script for the index, a pipeline for the records, a script that asks for one type and takes five calls a session
    // (record, pointer, expiry, user, record with pointer).
    assert_eq!(cost.scripts, 2);
    let calls: Vec<(&str, u64)> = cost.commands.iter().map(|(name, calls)| (name.as_str(), *calls)).collect();
    assert_eq!(
        calls,
        [("del", 200), ("get", 200), ("getrange", 400), ("type", 1), ("zrangebyscore", 1), ("zrem", 400)]
    );
}

#[tokio::test]
async fn a_batch_of_200_sessions_is_recovered_in_three_round_trips_and_three_calls_a_session() {
    let context = Context::own(&[]).await;
    let store = build(context.builder(Rules::new()).pool_size(1).clock(context.clock.clone())).await;
    register(&store, "live").await;
    for at in 0..200 {
        session_at(&store, "dead", &at.to_string()).await;
    }
    let before = context.count().await;
    assert_eq!(store.recover(Claim::new("dead", "live")).await.unwrap().sessions.len(), 200);
    let cost = context.cost_since(&before).await;
    assert_eq!(cost.scripts, 1);
    let calls: Vec<(&str, u64)> = cost.commands.iter().map(|(name, calls)| (name.as_str(), *calls)).collect();
    let records = [("getrange", 400), ("set", 200)];
    let indexes = [("zadd", 1), ("zrangebyscore", 1), ("zrem", 3), ("pttl", 1), ("pexpire", 1)];
    let rest = [("del", 2), ("exists", 1), ("get", 202), ("type", 5)];
    let mut expected = [&records[..], &indexes, &rest].concat();
    expected.sort_unstable();
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_heartbeat_takes_one_round_trip_and_nine_calls() {
    let (context, store) = warm(Rules::new()).await;
    let holder = NodeIdentity::new("n").unwrap();
    store.heartbeat(&holder, Heartbeat::register()).await.unwrap();
    let renewal = cost(&context, store.heartbeat(&holder, Heartbeat::renew())).await;
    assert_eq!((renewal.round_trips, renewal.calls()), (1, 9), "{renewal:?}");
    let nodes = cost(&context, store.lapsed_nodes()).await;
    assert_eq!(
        (nodes.round_trips, nodes.scripts, nodes.calls()),
        (2, 0, 6),
        "the list; MULTI, TIME, one lease, its ends, EXEC: {nodes:?}"
    );
}

#[tokio::test]
async fn a_page_of_a_list_takes_two_round_trips_and_no_script() {
    let (context, store) = warm(Rules::new()).await;
    for at in 0..20 {
        store.create(NewSession::new().user("ann").connection(at.to_string())).await.unwrap();
    }
    let (owner, page) = (Selector::user("ann"), PageRequest::first(10));
    let cost = cost(&context, store.list(&owner, &page)).await;
    let commands: Vec<(&str, u64)> =
        cost.commands.iter().map(|(name, calls)| (name.as_str(), *calls)).collect();
    let expected = [("exec", 1), ("getrange", 10), ("multi", 1), ("time", 1), ("zrangebyscore", 2)];
    assert_eq!((cost.round_trips, cost.scripts, commands.as_slice()), (2, 0, expected.as_slice()));
}

#[tokio::test]
async fn a_page_of_migrations_takes_two_round_trips_and_no_script() {
    let (context, store) = warm(Rules::new()).await;
    for name in ["a", "b"] {
        let session = session(&store, name).await;
        store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere")).await.unwrap();
    }
    let cost = cost(&context, store.migrations(0, 10)).await;
    assert_eq!((cost.round_trips, cost.scripts, cost.commands["getrange"]), (2, 0, 2));
}

#[tokio::test]
async fn an_import_takes_one_round_trip_and_nine_calls_and_two_where_it_is_already() {
    let (from, source) = warm(Rules::new()).await;
    let (to, target) = warm(Rules::new()).await;
    session(&target, "ann").await;
    let export = async |held: &Session| {
        let before = from.count().await;
        let export = source.export(held.id()).await.unwrap().unwrap();
        assert_eq!(from.cost_since(&before).await.round_trips, 1);
        Import::new(export)
    };
    let new = NewSession::new().user("ann").connection("another").set("a", &1).unwrap();
    let held = source.create(new).await.unwrap().session;
    let import = export(&held).await;
    let first = cost(&to, target.import(import.clone())).await;
    assert_eq!((first.round_trips, first.calls()), (1, 9), "{first:?}");
    let again = cost(&to, target.import(import)).await;
    assert_eq!((again.round_trips, again.calls()), (1, 2), "{again:?}");

    let patched = source.patch(&held, Patch::new().set("a", &2).unwrap()).await.unwrap();
    assert!(patched.changed);
    let later = cost(&to, target.import(export(&held).await)).await;
    assert_eq!((later.round_trips, later.calls()), (1, 10), "{later:?}");
}
