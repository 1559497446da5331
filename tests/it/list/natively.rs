//! Pages that are read without the script, and pages that go to it: both give the same answer.

use std::time::Duration;

use cloakroom::migration::{Freezing, TaskId};
use cloakroom::{NewSession, PageRequest, Rules, Selector, Session, SessionId, Status};

use super::{MINUTE, of_ann, page_of_ann};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::expect::session_id as id;
use crate::support::sessions::{create_many, ids};

const KIB: usize = 1024;

/// What a page may have of all its records together.
const PAGE_BYTES: usize = 2 * 1024 * KIB;

/// A store on a server of its own, where scripts are counted.
async fn at_a_server(rules: Rules) -> (Context, Store) {
    let context = Context::own(&[]).await;
    let store = context.store_at(rules).await;
    (context, store)
}

/// A page of ann's sessions, and how many scripts it took.
async fn listed(context: &Context, store: &Store, size: usize) -> (Vec<Session>, u64) {
    let before = context.count().await;
    let page = page_of_ann(store, None, size).await;
    (page.sessions, context.cost_since(&before).await.scripts)
}

#[tokio::test]
async fn a_page_of_live_and_expired_sessions_takes_no_script_and_is_what_each_get_tells() {
    let (context, store) = at_a_server(Rules::new()).await;
    let mut live = Vec::new();
    for name in ["a", "b", "c"] {
        store.create(of_ann(&format!("old-{name}")).ttl(MINUTE)).await.unwrap();
        live.push(store.create(of_ann(name).node("n").set("n", name).unwrap()).await.unwrap().session);
    }
    context.clock.advance(MINUTE);
    let before = context.dump().await;
    assert_eq!(listed(&context, &store, 10).await, (live.clone(), 0));
    let of_node = store.list(&Selector::node("n"), &PageRequest::first(10)).await.unwrap();
    assert_eq!(of_node.sessions, live);
    assert_eq!(context.dump().await, before, "a list without dead entries changed something");
}

#[tokio::test]
async fn a_page_of_500_sessions_takes_no_script() {
    let (context, store) = at_a_server(Rules::new()).await;
    let made = ids(&create_many(&store, 500, |at| of_ann(&format!("{at:04}"))).await);
    let (sessions, scripts) = listed(&context, &store, 500).await;
    assert_eq!((ids(&sessions), scripts), (made, 0));
}

#[tokio::test]
async fn a_freeze_that_is_over_is_no_longer_told() {
    let (context, store) = at_a_server(Rules::new()).await;
    let session = store.create(of_ann("s").suspended()).await.unwrap().session;
    let freezing = Freezing::new(TaskId::random(), "elsewhere").span(Duration::from_secs(30));
    store.freeze(&session, freezing).await.unwrap();
    let told = async |status| {
        let (sessions, scripts) = listed(&context, &store, 10).await;
        assert_eq!(sessions, [store.get(session.id()).await.unwrap().unwrap()]);
        assert_eq!((sessions[0].status(), scripts), (status, 0));
    };
    told(Status::Migrating).await;
    context.clock.advance(Duration::from_secs(30));
    told(Status::Suspended).await;
    // What notes that copies may wait is no freeze either.
    context.clock.advance(Duration::from_secs(1));
    store.refresh(&session).await.unwrap();
    told(Status::Suspended).await;
}

#[tokio::test]
async fn entries_that_lead_nowhere_take_the_script_once() {
    let (context, store) = at_a_server(Rules::new()).await;
    store.create(of_ann("s")).await.unwrap();
    store.create(NewSession::new().id(id("bob's")).user("bob")).await.unwrap();
    store.create(of_ann("deleted")).await.unwrap();
    store.delete(&id("deleted")).await.unwrap();
    let index = context.user_key("ann");
    for dead in ["ghost", "bob's", "deleted"] {
        let _: i64 = context.command(&["ZADD", &index, "1", dead]).await;
        for scripts in [1, 0] {
            let (sessions, run) = listed(&context, &store, 10).await;
            assert_eq!((ids(&sessions), run), (vec![id("s")], scripts), "{dead}");
        }
        assert_eq!(context.entries(&index).await, ["s"]);
    }
    context.check().await;
}

#[tokio::test]
async fn corrupt_and_foreign_records_take_the_script_and_stay() {
    let (context, store) = at_a_server(Rules::new()).await;
    for name in ["a", "b", "c", "d"] {
        store.create(of_ann(name)).await.unwrap();
    }
    let key = |name| context.record_key(&id(name));
    context.command::<()>(&["SET", &key("a"), ""]).await;
    context.command::<()>(&["SET", &key("b"), "garbage"]).await;
    context.command::<()>(&["DEL", &key("c")]).await;
    context.command::<()>(&["LPUSH", &key("c"), "x"]).await;
    let before = context.dump().await;
    let (sessions, scripts) = listed(&context, &store, 10).await;
    assert_eq!((ids(&sessions), scripts), (vec![id("d")], 1));
    assert_eq!(context.dump().await, before);
}

#[tokio::test]
async fn an_id_that_is_no_text_is_passed_over() {
    let (context, store) = at_a_server(Rules::new()).await;
    store.create(of_ann("s")).await.unwrap();
    let mut planting = redis::cmd("ZADD");
    planting.arg(context.user_key("ann")).arg(1).arg(b"\xff");
    let _: i64 = planting.query_async(&mut context.raw()).await.unwrap();
    let (sessions, scripts) = listed(&context, &store, 10).await;
    assert_eq!((ids(&sessions), scripts), (vec![id("s")], 1));
    assert_eq!(context.entries(&context.user_key("ann")).await, ["s"]);
}

/// A session with a text of so many letters.
fn with_letters(name: &str, letters: usize) -> NewSession {
    of_ann(name).set("a", &"x".repeat(letters)).unwrap()
}

#[tokio::test]
async fn a_record_that_fits_its_share_of_2_mib_is_read_whole_and_a_larger_one_by_the_script() {
    let rules = Rules::new().session_bytes(PAGE_BYTES).value_bytes(PAGE_BYTES);
    let (context, store) = at_a_server(rules).await;
    let share = PAGE_BYTES / 3;
    let empty = store.create(with_letters("a", 0)).await.unwrap().session;
    let empty = context.string(&context.record_key(empty.id())).await.unwrap().len();
    store.create(with_letters("b", share - empty)).await.unwrap();
    store.create(with_letters("c", share - empty)).await.unwrap();
    for whole in ["b", "c"] {
        let stored = context.string(&context.record_key(&id(whole))).await.unwrap();
        assert_eq!(stored.len(), share);
    }
    let all: Vec<SessionId> = ["a", "b", "c"].map(id).into();
    let (sessions, scripts) = listed(&context, &store, 10).await;
    assert_eq!((ids(&sessions), scripts), (all.clone(), 0));
    store.delete(&id("c")).await.unwrap();
    store.create(with_letters("d", share + 1 - empty)).await.unwrap();
    let (sessions, scripts) = listed(&context, &store, 2).await;
    assert_eq!((ids(&sessions), scripts), (["a", "b"].map(id).into(), 0));
    let (sessions, scripts) = listed(&context, &store, 3).await;
    assert_eq!((ids(&sessions), scripts), (["a", "b", "d"].map(id).into(), 1));
    assert!(sessions.iter().all(|session| session.attributes().len() == 1));
}

#[tokio::test]
async fn an_entry_whose_place_is_not_that_of_its_session_hides_nobody() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    for name in ["a", "b", "c"] {
        store.create(of_ann(name)).await.unwrap();
        context.clock.advance(Duration::from_secs(1));
    }
    let _: i64 = context.command(&["ZADD", &context.user_key("ann"), "1", "b"]).await;
    assert_eq!(ids(&page_of_ann(&store, None, 10).await.sessions), ["b", "a", "c"].map(id));
}
