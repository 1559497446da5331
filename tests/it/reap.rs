//! reap: expired sessions removed with all their entries, each returned to one caller.

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::background::Reaped;
use cloakroom::{Error, Invalid, NewSession, Rotation, Rules, Selector};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::session_id as id;
use crate::support::sessions::{create_many, ids};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn rules() -> Rules {
    Rules::new().ttl(MINUTE)
}

fn of_ann(name: &str) -> NewSession {
    let new = NewSession::new().id(id(name)).user("ann");
    new.connection(format!("socket-{name}")).node("gateway")
}

fn assert_nothing_done(reaped: &Reaped) {
    assert!(reaped.sessions.is_empty() && reaped.corrupt.is_empty());
    assert!(reaped.dropped == 0 && !reaped.more);
}

#[rstest]
#[tokio::test]
async fn expired_sessions_are_removed_with_every_entry_and_returned_with_their_data(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let mut made = Vec::new();
    for name in ["b", "a"] {
        let new = of_ann(name).set("n", name).unwrap();
        made.push(store.create(new).await.unwrap().session);
        context.clock.advance(SECOND);
    }
    made.push(store.create(NewSession::new().id(id("plain"))).await.unwrap().session);
    context.clock.advance(SECOND);
    let live = store.create(of_ann("live")).await.unwrap().session;
    context.clock.advance(MINUTE - SECOND);
    let reaped = store.reap(10).await.unwrap();

    assert_eq!(reaped.sessions, made);
    assert!(reaped.corrupt.is_empty() && reaped.dropped == 0 && !reaped.more);
    for name in ["a", "b"] {
        assert_eq!(context.pointer(&format!("socket-{name}")).await, None);
    }
    for index in [context.user_key("ann"), context.node_key("gateway"), context.key("expiry")] {
        assert_eq!(context.entries(&index).await, ["live"]);
    }
    // No tombstone: the record, the pointer and three indexes of the live one are all there is.
    assert_eq!(context.keys().await.len(), 5);
    assert_eq!(store.get(&id("live")).await.unwrap(), Some(live));
    context.check().await;

    let before = context.dump().await;
    assert_nothing_done(&store.reap(10).await.unwrap());
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn a_reaped_id_can_be_created_again_at_once(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("s")).await.unwrap();
    context.clock.advance(MINUTE);
    store.reap(10).await.unwrap();
    let created = store.create(of_ann("s")).await.unwrap();
    assert!(created.reaped.is_empty());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_batch_is_bounded_takes_the_oldest_and_tells_whether_there_may_be_more(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    for number in 0..5 {
        store.create(of_ann(&format!("s{number}"))).await.unwrap();
        context.clock.advance(SECOND);
    }
    context.clock.advance(MINUTE);
    for (expected, more) in [(&["s0", "s1"][..], true), (&["s2", "s3"], true), (&["s4"], false), (&[], false)]
    {
        let reaped = store.reap(2).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|name| id(name)).collect();
        assert_eq!((ids(&reaped.sessions), reaped.more), (expected, more));
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_session_that_was_refreshed_survives(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    for name in ["used", "idle"] {
        store.create(of_ann(name)).await.unwrap();
    }
    context.clock.advance(MINUTE - Duration::from_millis(1));
    store.refresh(&id("used")).await.unwrap().unwrap();
    context.clock.advance(Duration::from_millis(1));
    let reaped = store.reap(10).await.unwrap();
    assert_eq!(ids(&reaped.sessions), [id("idle")]);
    assert!(store.get(&id("used")).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn a_live_session_survives_whatever_the_expiry_index_says() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    let session = store.create(of_ann("s")).await.unwrap().session;
    // As a reaper sees it that read the index before a refresh extended the session.
    let index = context.key("expiry");
    let _: i64 = context.command(&["ZADD", &index, "1", "s"]).await;
    let before = context.dump().await;
    let reaped = store.reap(10).await.unwrap();
    assert_nothing_done(&reaped);
    assert_eq!(context.dump().await, before);
    assert_eq!(store.get(&id("s")).await.unwrap(), Some(session));
}

#[tokio::test]
async fn a_pointer_that_leads_to_another_session_is_left_alone() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("s")).await.unwrap();
    let pointer = context.connection_key("socket-s");
    let _: () = context.command(&["SET", &pointer, "another", "KEEPTTL"]).await;
    context.clock.advance(MINUTE);
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    assert_eq!(context.pointer("socket-s").await.as_deref(), Some("another"));
}

#[rstest]
#[tokio::test]
async fn a_rotated_session_is_reaped_once_under_its_new_id(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("old")).await.unwrap();
    store.rotate(&id("old"), Rotation::new().new_id(id("new"))).await.unwrap();
    context.clock.advance(MINUTE);
    let reaped = store.reap(10).await.unwrap();
    assert_eq!(ids(&reaped.sessions), [id("new")]);
    assert_eq!(reaped.dropped, 0);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn eight_reapers_at_once_return_each_of_600_sessions_to_one_of_them(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let made = create_many(&store, 600, |number| {
        let new = NewSession::new().user(format!("user-{}", number % 50));
        new.connection(format!("socket-{number}")).node("gateway")
    })
    .await;
    context.clock.advance(MINUTE);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(reap_all(context.store_at(rules()).await));
    }
    let returned = tasks.join_all().await.concat();
    assert_eq!(returned.len(), 600);
    let returned: BTreeSet<_> = returned.into_iter().collect();
    assert_eq!(returned, ids(&made).into_iter().collect());
    assert!(context.keys_but_expiry().await.is_empty());
    context.check().await;
}

/// Small batches, so that the reapers meet often.
async fn reap_all(store: Store) -> Vec<cloakroom::SessionId> {
    let mut returned = Vec::new();
    loop {
        let reaped = store.reap(25).await.unwrap();
        assert!(reaped.corrupt.is_empty());
        returned.extend(ids(&reaped.sessions));
        if !reaped.more {
            return returned;
        }
    }
}

#[tokio::test]
async fn entries_of_the_expiry_index_without_a_session_are_dropped_and_counted() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    for name in ["s", "deleted"] {
        store.create(of_ann(name)).await.unwrap();
    }
    store.delete(&id("deleted")).await.unwrap();
    context.clock.advance(MINUTE);
    let index = context.key("expiry");
    for planted in ["ghost", "deleted"] {
        let _: i64 = context.command(&["ZADD", &index, "1", planted]).await;
    }
    let reaped = store.reap(10).await.unwrap();
    assert_eq!(ids(&reaped.sessions), [id("s")]);
    assert_eq!(reaped.dropped, 2);
    assert!(context.entries(&index).await.is_empty());
    context.check().await;
}

#[tokio::test]
async fn a_corrupt_session_is_set_aside_and_reported_once_and_does_not_hold_up_others() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    for name in ["broken", "foreign", "good"] {
        store.create(of_ann(name)).await.unwrap();
    }
    context.clock.advance(MINUTE);
    let (broken, foreign) = (context.record_key(&id("broken")), context.record_key(&id("foreign")));
    let _: () = context.command(&["SET", &broken, "garbage"]).await;
    let _: i64 = context.command(&["DEL", &foreign]).await;
    let _: i64 = context.command(&["LPUSH", &foreign, "x"]).await;
    let reaped = store.reap(10).await.unwrap();
    assert_eq!(ids(&reaped.sessions), [id("good")]);
    assert_eq!(reaped.corrupt, ["broken", "foreign"].map(id));
    assert!(context.entries(&context.key("expiry")).await.is_empty());
    assert_eq!(context.command::<String>(&["GET", &context.key("aside:broken")]).await, "garbage");
    assert_eq!(context.command::<i64>(&["LLEN", &context.key("aside:foreign")]).await, 1);
    let before = context.dump().await;
    assert_nothing_done(&store.reap(10).await.unwrap());
    assert_eq!(context.dump().await, before);

    // Nobody knows whose it was: the entries that lead to it are dropped by who comes by.
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 0);
    assert_eq!(store.count(&Selector::node("gateway")).await.unwrap(), 0);
    for index in [context.user_key("ann"), context.node_key("gateway")] {
        assert!(!context.exists(&index).await);
    }
}

#[tokio::test]
async fn batches_of_corrupt_sessions_are_met_once() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    let made = create_many(&store, 25, |number| of_ann(&format!("s{number:02}"))).await;
    context.clock.advance(MINUTE);
    for session in &made[..20] {
        let _: () = context.command(&["SET", &context.record_key(session.id()), "garbage"]).await;
    }
    for (sessions, corrupt, more) in [(0, 10, true), (0, 10, true), (5, 0, false), (0, 0, false)] {
        let reaped = store.reap(10).await.unwrap();
        assert_eq!((reaped.sessions.len(), reaped.corrupt.len(), reaped.more), (sessions, corrupt, more));
    }
}

#[tokio::test]
async fn a_foreign_type_at_the_index_stops_the_reap() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("s")).await.unwrap();
    context.clock.advance(MINUTE);
    let index = context.key("expiry");
    assert_eq!(context.foreign_at(&index, store.reap(10)).await, "expiry");
    assert_eq!(store.reap(10).await.unwrap().sessions.len(), 1);
    context.check().await;
}

/// Lets the records and pointers of sessions go as by their own TTL, for nobody reaped them in time.
async fn lose(context: &Context, names: impl Iterator<Item = String>) {
    let mut pipe = redis::pipe();
    for name in names {
        pipe.del(context.record_key(&id(&name))).del(context.connection_key(&format!("socket-{name}")));
    }
    pipe.query_async::<()>(&mut context.raw()).await.unwrap();
}

#[tokio::test]
async fn what_went_by_its_own_ttl_goes_from_all_indexes_behind_a_reaper_that_meets_it() {
    // A namespace with what is special in a pattern.
    let mut context = Context::own(&[]).await;
    context.namespace = "a*[b]?".to_owned();
    let store = context.store_at(rules()).await;
    create_many(&store, 300, |number| of_ann(&format!("lost{number:03}"))).await;
    create_many(&store, 30, |number| {
        of_ann(&format!("bob{number:03}")).user("bob").node(format!("node-{number}"))
    })
    .await;
    lose(&context, (0..300).map(|number| format!("lost{number:03}"))).await;
    lose(&context, (0..30).map(|number| format!("bob{number:03}"))).await;
    context.clock.advance(MINUTE);
    // Each of the indexes is kept alive.
    store.create(of_ann("live")).await.unwrap();
    store.create(of_ann("bob").user("bob").node("node-7")).await.unwrap();
    let mut dropped = 0;
    for _ in 0..20 {
        dropped += store.reap(200).await.unwrap().dropped;
    }
    assert_eq!(dropped, 330);
    context.check().await;
}

#[tokio::test]
async fn a_session_that_the_expiry_index_lost_stays_in_its_users_and_nodes_indexes() {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("live")).await.unwrap();
    store.create(of_ann("lost")).await.unwrap();
    lose(&context, ["lost".to_owned()].into_iter()).await;
    let _: i64 = context.command(&["ZREM", &context.key("expiry"), "live"]).await;
    context.clock.advance(MINUTE);
    for _ in 0..5 {
        store.reap(200).await.unwrap();
    }
    for index in [context.user_key("ann"), context.node_key("gateway")] {
        assert_eq!(context.entries(&index).await, ["live"]);
    }
    // So it can still be logged out.
    assert_eq!(store.delete_user("ann", None).await.unwrap().removed.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_batch_outside_1_to_200_is_invalid(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    for batch in [0, 201] {
        let error = store.reap(batch).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field: "batch", .. })), "{error:?}");
    }
    assert_nothing_done(&store.reap(200).await.unwrap());
}
