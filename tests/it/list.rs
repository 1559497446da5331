//! list: reads the live sessions of a user or node, a page at a time, oldest first.

mod natively;

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::{
    Cursor, Error, Invalid, NewSession, Page, PageRequest, Rotation, Rules, Selector, Session, SessionId,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store, build};
use crate::support::expect::session_id as id;
use crate::support::sessions::{create_many, ids};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn of_ann(name: &str) -> NewSession {
    NewSession::new().id(id(name)).user("ann")
}

fn numbered(number: usize) -> NewSession {
    of_ann(&format!("s{number:05}"))
}

async fn page_of_ann(store: &Store, after: Option<Cursor>, size: usize) -> Page {
    let request = match after {
        None => PageRequest::first(size),
        Some(cursor) => PageRequest::after(cursor, size),
    };
    store.list(&Selector::user("ann"), &request).await.unwrap()
}

/// All of ann's sessions by pages of a size; `between` is given each page before the next one is read.
async fn walk(store: &Store, size: usize, mut between: impl AsyncFnMut(&[Session])) -> Vec<SessionId> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = page_of_ann(store, after, size).await;
        assert!(page.sessions.len() <= size);
        seen.extend(ids(&page.sessions));
        let Some(next) = page.next else {
            return seen;
        };
        between(&page.sessions).await;
        after = Some(next);
    }
}

#[rstest]
#[tokio::test]
async fn sessions_come_oldest_first_with_their_data_and_nothing_is_changed(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut made = Vec::new();
    for name in ["c", "a", "b"] {
        let new = of_ann(name).connection(name).node("gateway").set("n", name).unwrap();
        made.push(store.create(new).await.unwrap().session);
        context.clock.advance(SECOND);
    }
    store.create(NewSession::new().user("bob").node("other")).await.unwrap();
    let before = context.dump().await;
    for owner in [Selector::user("ann"), Selector::node("gateway")] {
        let page = store.list(&owner, &PageRequest::first(10)).await.unwrap();
        assert_eq!(page.sessions, made);
        assert_eq!(page.next, None);
    }
    for owner in [Selector::user("nobody"), Selector::node("ann"), Selector::user("gateway")] {
        let page = store.list(&owner, &PageRequest::first(10)).await.unwrap();
        assert!(page.sessions.is_empty() && page.next.is_none());
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn pages_of_any_size_give_each_of_250_sessions_of_one_millisecond_once(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let made = ids(&create_many(&store, 250, numbered).await);
    for size in [1, 7, 100, 125, 249, 250, 251, 500] {
        assert_eq!(walk(&store, size, async |_| {}).await, made, "by {size}");
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn pages_run_on_over_milliseconds_with_few_and_many_sessions(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut made = Vec::new();
    for (round, count) in [1, 20, 3, 7, 1, 40].into_iter().enumerate() {
        // Later ones have the smaller ids.
        let letter = char::from(b'z' - u8::try_from(round).unwrap());
        let sessions = create_many(&store, count, |number| of_ann(&format!("{letter}{number:02}"))).await;
        made.extend(ids(&sessions));
        context.clock.advance(Duration::from_millis(1));
    }
    for size in [1, 2, 7, 10, 50] {
        assert_eq!(walk(&store, size, async |_| {}).await, made, "by {size}");
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn sessions_that_are_deleted_between_pages_shift_nothing(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    for size in [7, 100] {
        let store = context.store_at(Rules::new()).await;
        let user_key = context.user_key("ann");
        let mut stay: BTreeSet<_> =
            ids(&create_many(&store, 250, |_| NewSession::new().user("ann")).await).into_iter().collect();
        let mut seen = walk(&store, size, async |page| {
            // Two that were given, the one at the cursor among them, and two that are to come.
            let entries = context.entries(&user_key).await;
            let mut gone = vec![page[0].id().clone(), page[page.len() - 1].id().clone()];
            gone.extend(entries.iter().rev().take(2).map(|entry| id(entry)));
            for id in gone {
                store.delete(&id).await.unwrap();
                stay.remove(&id);
            }
        })
        .await;
        let given = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), given, "one was given twice");
        assert!(stay.is_subset(&seen.into_iter().collect()), "one was passed over");
        store.delete_user("ann", None).await.unwrap();
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn sessions_that_appear_behind_the_cursor_in_its_millisecond_pass_over_nobody(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let made = ids(&create_many(&store, 60, numbered).await);
    let mut number = 0;
    let seen = walk(&store, 7, async |_| {
        // New ones of the same millisecond, and one from the end under another id: all sort before the cursor.
        for _ in 0..9 {
            number += 1;
            store.create(of_ann(&format!("a{number}"))).await.unwrap();
        }
        let from = made[60 - number / 9].clone();
        let rotation = Rotation::new().new_id(id(&format!("b{number}")));
        store.rotate(&from, rotation).await.unwrap();
    })
    .await;
    let rotated = number / 9;
    assert_eq!(seen, made[..60 - rotated]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn sessions_that_are_made_later_are_on_the_pages_to_come(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    create_many(&store, 3, numbered).await;
    let first = page_of_ann(&store, None, 3).await;
    assert_eq!(first.sessions.len(), 3);
    context.clock.advance(SECOND);
    store.create(of_ann("later")).await.unwrap();
    let second = page_of_ann(&store, first.next, 3).await;
    assert_eq!(ids(&second.sessions), [id("later")]);
    assert_eq!(second.next, None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn expired_sessions_are_left_out_and_keep_their_entries_until_they_are_reaped(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for number in 0..10 {
        let ttl = if number % 2 == 0 { MINUTE } else { 2 * MINUTE };
        store.create(numbered(number).ttl(ttl)).await.unwrap();
    }
    context.clock.advance(MINUTE);
    let before = context.dump().await;
    // A short page, even an empty one, is not the last.
    let page = page_of_ann(&store, None, 1).await;
    assert!(page.sessions.is_empty() && page.next.is_some());
    for size in [1, 3, 10, 100] {
        let seen = walk(&store, size, async |_| {}).await;
        let live: Vec<_> = (0..5).map(|half| id(&format!("s{:05}", 2 * half + 1))).collect();
        assert_eq!(seen, live, "by {size}");
    }
    assert_eq!(context.dump().await, before);
    assert_eq!(context.entries(&context.user_key("ann")).await.len(), 10);
    context.check().await;
}

#[tokio::test]
async fn entries_that_lead_to_no_session_of_the_owner_are_dropped() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    for name in ["s", "deleted", "old"] {
        store.create(of_ann(name).node("gateway")).await.unwrap();
    }
    store.create(NewSession::new().id(id("bob's")).user("bob")).await.unwrap();
    store.delete(&id("deleted")).await.unwrap();
    store.rotate(&id("old"), Rotation::new().new_id(id("new"))).await.unwrap();
    for (owner, index) in [
        (Selector::user("ann"), context.user_key("ann")),
        (Selector::node("gateway"), context.node_key("gateway")),
    ] {
        for planted in ["ghost", "deleted", "old", "bob's"] {
            let _: i64 = context.command(&["ZADD", &index, "1", planted]).await;
        }
        let page = store.list(&owner, &PageRequest::first(100)).await.unwrap();
        assert_eq!(ids(&page.sessions), [id("new"), id("s")]);
        assert_eq!(context.entries(&index).await, ["new", "s"]);
    }
    context.check().await;
}

#[tokio::test]
async fn a_corrupt_record_is_left_out_and_its_entry_stays() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    for name in ["a", "b", "c"] {
        store.create(of_ann(name)).await.unwrap();
    }
    let _: () = context.command(&["SET", &context.record_key(&id("a")), "garbage"]).await;
    let foreign = context.record_key(&id("b"));
    let _: i64 = context.command(&["DEL", &foreign]).await;
    let _: i64 = context.command(&["LPUSH", &foreign, "x"]).await;
    let before = context.dump().await;
    assert_eq!(ids(&page_of_ann(&store, None, 10).await.sessions), [id("c")]);
    assert_eq!(context.dump().await, before);
}

#[rstest]
#[tokio::test]
async fn a_page_size_or_owner_outside_its_limits_is_invalid(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    for (owner, size, named) in [
        (Selector::user("ann"), 0, "page size"),
        (Selector::node("gateway"), 501, "page size"),
        (Selector::user(""), 1, "user id"),
        (Selector::node(""), 1, "node id"),
        (Selector::user("x".repeat(257)), 1, "user id"),
    ] {
        let error = store.list(&owner, &PageRequest::first(size)).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field, .. }) if field == named), "{error:?}");
    }
}

#[tokio::test]
async fn a_foreign_type_at_the_index_is_corrupt() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(of_ann("s").node("gateway")).await.unwrap();
    let page = PageRequest::first(10);
    for (owner, key) in [
        (Selector::user("ann"), context.user_key("ann")),
        (Selector::node("gateway"), context.node_key("gateway")),
    ] {
        context.foreign_at(&key, store.list(&owner, &page)).await;
    }
    context.check().await;
}

/// 5,000 sessions, or as many as `CLOAKROOM_TEST_SESSIONS` says.
#[tokio::test]
async fn thousands_of_sessions_of_one_user_are_listed_by_pages_and_then_all_deleted() {
    let count = std::env::var("CLOAKROOM_TEST_SESSIONS").map_or(5000, |count| count.parse().unwrap());
    let context = Context::redis().await;
    let store = build(context.builder(Rules::new()).deadline(Duration::from_secs(300))).await;
    let made = create_many(&store, count, |number| numbered(number).node("gateway")).await;
    let mut expected: Vec<_> =
        made.iter().map(|session| (session.created_at_ms(), session.id().clone())).collect();
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();

    assert_eq!(walk(&store, 500, async |_| {}).await, expected);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), count as u64);
    let done = store.delete_user("ann", None).await.unwrap();
    let removed: Vec<_> = done.removed.into_iter().map(|removed| removed.id).collect();
    assert_eq!(removed, expected);
    assert!(done.corrupt.is_empty());
    for index in [context.user_key("ann"), context.node_key("gateway"), context.key("expiry")] {
        assert!(context.entries(&index).await.is_empty());
    }
    context.check().await;
}
