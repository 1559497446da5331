//! count: counts the live sessions of a user or node.

use std::time::Duration;

use cloakroom::{Error, Invalid, NewSession, Rules, Selector};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::session_id as id;
use crate::support::sessions::create_many;

const MINUTE: Duration = Duration::from_secs(60);

#[rstest]
#[tokio::test]
async fn only_live_sessions_of_the_owner_count_and_nothing_is_changed(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    for (name, user, minutes) in
        [("expired", "ann", 1), ("deleted", "ann", 5), ("a", "ann", 5), ("b", "ann", 5), ("c", "bob", 5)]
    {
        let new = NewSession::new().id(id(name)).user(user).node("gateway");
        store.create(new.ttl(minutes * MINUTE)).await.unwrap();
    }
    store.delete(&id("deleted")).await.unwrap();
    context.clock.advance(MINUTE);
    let before = context.dump().await;
    for (owner, expected) in [
        (Selector::user("ann"), 2),
        (Selector::user("bob"), 1),
        (Selector::node("gateway"), 3),
        (Selector::user("nobody"), 0),
        (Selector::node("ann"), 0),
    ] {
        assert_eq!(store.count(&owner).await.unwrap(), expected, "{owner:?}");
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn an_entry_without_a_session_does_not_count_and_is_dropped() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(NewSession::new().user("ann")).await.unwrap();
    let index = context.user_key("ann");
    let _: i64 = context.command(&["ZADD", &index, "1", "ghost"]).await;
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);
    assert_eq!(context.entries(&index).await.len(), 1);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn more_entries_than_one_call_looks_at_are_all_counted(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut made = 0;
    // Live and expired ones alternate; the sums stand at, before and behind the ends of a call's 1,000.
    for more in [999, 1, 1, 998, 1, 200] {
        create_many(&store, more, |number| {
            let minutes = if (made + number) % 2 == 0 { 5 } else { 1 };
            let new = NewSession::new().id(id(&format!("s{:05}", made + number)));
            new.user("ann").node("gateway").ttl(minutes * MINUTE)
        })
        .await;
        made += more;
        for owner in [Selector::user("ann"), Selector::node("gateway")] {
            assert_eq!(store.count(&owner).await.unwrap(), made as u64);
        }
    }
    context.clock.advance(MINUTE);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1100);
    context.clock.advance(4 * MINUTE);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 0);
    context.check().await;
}

#[tokio::test]
async fn a_foreign_type_at_either_index_is_corrupt() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    store.create(NewSession::new().user("ann")).await.unwrap();
    let owner = Selector::user("ann");
    for (key, what) in [(context.user_key("ann"), "owner"), (context.key("expiry"), "expiry")] {
        assert_eq!(context.foreign_at(&key, store.count(&owner)).await, what);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_owner_that_is_empty_or_too_long_is_invalid(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    for (owner, named) in [
        (Selector::user(""), "user id"),
        (Selector::node(""), "node id"),
        (Selector::node("x".repeat(257)), "node id"),
    ] {
        let error = store.count(&owner).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field, .. }) if field == named), "{error:?}");
    }
}
