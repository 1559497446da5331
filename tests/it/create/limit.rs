//! How many sessions a user may have: rejected, or the oldest evicted.

use std::time::Duration;

use cloakroom::{NewSession, OnLimit, PageRequest, Refusal, Removed, Selector, SessionId};
use rstest::rstest;

use super::{MINUTE, of_ann, rules};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id as id};
use crate::support::record::DELETED;
use crate::support::sessions::{create_many, ids};

const SECOND: Duration = Duration::from_secs(1);

/// Sessions of ann made a second apart, each with a connection and node.
async fn create_in_turn(context: &Context, store: &Store, names: &[&str]) {
    for name in names {
        let new = of_ann(name).connection(format!("socket-{name}")).node("gateway");
        store.create(new).await.unwrap();
        context.clock.advance(SECOND);
    }
}

async fn live(store: &Store) -> Vec<SessionId> {
    let page = store.list(&Selector::user("ann"), &PageRequest::first(500)).await.unwrap();
    ids(&page.sessions)
}

fn removed_ids(removed: &[Removed]) -> Vec<SessionId> {
    removed.iter().map(|removed| removed.id.clone()).collect()
}

fn numbered(number: usize) -> SessionId {
    id(&format!("s{number:04}"))
}

#[rstest]
#[tokio::test]
async fn a_create_that_the_limit_refuses_reaps_nothing_that_is_in_its_way(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().sessions_per_user(1, OnLimit::Reject)).await;
    for name in ["s", "holder"] {
        store.create(NewSession::new().id(id(name)).connection(name)).await.unwrap();
    }
    context.clock.advance(10 * MINUTE);
    store.create(of_ann("a")).await.unwrap();
    let before = context.dump().await;
    for new in [of_ann("s"), of_ann("b").connection("holder"), of_ann("s").connection("holder")] {
        assert_eq!(refusal(store.create(new).await), Refusal::Limit { live: 1 });
    }
    assert_eq!(context.dump().await, before);
    // Whoever gets in reports them.
    let created = store.create(NewSession::new().id(id("s")).connection("holder")).await.unwrap();
    assert_eq!(ids(&created.reaped), [id("s"), id("holder")]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn one_session_above_the_limit_is_rejected_and_changes_nothing(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().sessions_per_user(2, OnLimit::Reject)).await;
    create_in_turn(&context, &store, &["a", "b"]).await;
    let before = context.dump().await;
    assert_eq!(refusal(store.create(of_ann("c")).await), Refusal::Limit { live: 2 });
    assert_eq!(context.dump().await, before);
    // Neither another user nor nobody is at ann's limit.
    store.create(NewSession::new().user("bob")).await.unwrap();
    for _ in 0..3 {
        store.create(NewSession::new()).await.unwrap();
    }
    store.delete(&id("a")).await.unwrap();
    store.create(of_ann("c")).await.unwrap();
    assert_eq!(live(&store).await, [id("b"), id("c")]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_oldest_session_is_evicted_with_all_its_entries_and_returned(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().sessions_per_user(2, OnLimit::EvictOldest)).await;
    // Names in an order that is not the order of age.
    create_in_turn(&context, &store, &["c", "a"]).await;
    let created = store.create(of_ann("b")).await.unwrap();

    let [evicted] = created.evicted.as_slice() else { panic!("not one: {:?}", created.evicted) };
    assert_eq!(evicted.id, id("c"));
    assert_eq!((evicted.connection.as_deref(), evicted.node.as_deref()), (Some("socket-c"), Some("gateway")));
    assert_eq!(live(&store).await, [id("a"), id("b")]);
    assert_eq!(context.entries(&context.node_key("gateway")).await, ["a"]);
    assert!(!context.exists(&context.connection_key("socket-c")).await);
    let tombstone = context.stored(&id("c")).await.unwrap();
    assert_eq!((tombstone.kind, tombstone.version), (DELETED, 2));
    context.assert_ttl(&context.record_key(&id("c")), 30 * SECOND).await;
    assert_eq!(refusal(store.create(of_ann("c")).await), Refusal::Gone);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn all_above_a_lowered_limit_are_evicted_oldest_first(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let many = context.store_at(rules()).await;
    create_in_turn(&context, &many, &["e", "d", "c", "b", "a"]).await;
    let before = context.dump().await;
    let reject = context.store_at(rules().sessions_per_user(2, OnLimit::Reject)).await;
    assert_eq!(refusal(reject.create(of_ann("new")).await), Refusal::Limit { live: 5 });
    assert_eq!(context.dump().await, before);

    let evict = context.store_at(rules().sessions_per_user(2, OnLimit::EvictOldest)).await;
    let created = evict.create(of_ann("new")).await.unwrap();
    assert_eq!(removed_ids(&created.evicted), ["e", "d", "c", "b"].map(id));
    assert_eq!(live(&evict).await, [id("a"), id("new")]);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn expired_sessions_do_not_count_and_stay_for_the_reaper(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let plain = context.store_at(rules()).await;
    create_in_turn(&context, &plain, &["dead", "dead too"]).await;
    context.clock.advance(10 * MINUTE);
    let reject = context.store_at(rules().sessions_per_user(2, OnLimit::Reject)).await;
    let evict = context.store_at(rules().sessions_per_user(2, OnLimit::EvictOldest)).await;
    create_in_turn(&context, &reject, &["a", "b"]).await;
    assert_eq!(refusal(reject.create(of_ann("c")).await), Refusal::Limit { live: 2 });
    let created = evict.create(of_ann("c")).await.unwrap();
    assert_eq!(removed_ids(&created.evicted), [id("a")]);

    let reaped = evict.reap(10).await.unwrap();
    assert_eq!(ids(&reaped.sessions), [id("dead"), id("dead too")]);
    assert_eq!(live(&evict).await, [id("b"), id("c")]);
    context.check().await;
}

#[tokio::test]
async fn an_entry_that_lost_its_record_is_dropped_and_not_called_evicted() {
    let context = Context::redis().await;
    let store = context.store_at(rules().sessions_per_user(1, OnLimit::EvictOldest)).await;
    create_in_turn(&context, &store, &["a"]).await;
    let _: i64 = context.command(&["DEL", &context.record_key(&id("a"))]).await;
    let created = store.create(of_ann("b")).await.unwrap();
    assert!(created.evicted.is_empty());
    assert_eq!(context.entries(&context.user_key("ann")).await, ["b"]);
    // What is left in the expiry index is for the reaper to drop.
    context.clock.advance(10 * MINUTE);
    let reaped = store.reap(10).await.unwrap();
    assert_eq!((ids(&reaped.sessions), reaped.dropped), (vec![id("b")], 1));
}

#[tokio::test]
async fn an_entry_that_leads_to_another_users_session_is_dropped_and_that_session_stays_whole() {
    let context = Context::redis().await;
    let store = context.store_at(rules().sessions_per_user(1, OnLimit::EvictOldest)).await;
    let other = NewSession::new().id(id("bob's")).user("bob").connection("socket");
    let other = store.create(other).await.unwrap().session;
    let index = context.user_key("ann");
    let _: i64 = context.command(&["ZADD", &index, "1", "bob's"]).await;
    let created = store.create(of_ann("a")).await.unwrap();
    assert!(created.evicted.is_empty());
    assert_eq!(context.entries(&index).await, ["a"]);
    assert_eq!(store.get(&id("bob's")).await.unwrap(), Some(other));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn of_two_creates_at_once_at_limit_1_one_session_is_live_at_the_end(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let evict = context.store(rules().sessions_per_user(1, OnLimit::EvictOldest)).await;
    let reject = context.store(rules().sessions_per_user(1, OnLimit::Reject)).await;
    for round in 0..20 {
        let user = format!("evict-{round}");
        let new = || NewSession::new().user(&user);
        let (first, second) = tokio::join!(evict.create(new()), evict.create(new()));
        let (first, second) = (first.unwrap(), second.unwrap());
        let (winner, loser) = if first.evicted.is_empty() { (second, first) } else { (first, second) };
        assert!(loser.evicted.is_empty());
        assert_eq!(removed_ids(&winner.evicted), [loser.session.id().clone()]);
        let page = evict.list(&Selector::user(&user), &PageRequest::first(10)).await.unwrap();
        assert_eq!(page.sessions, [winner.session]);

        let user = format!("reject-{round}");
        let new = || NewSession::new().user(&user);
        let (first, second) = tokio::join!(reject.create(new()), reject.create(new()));
        let (winner, loser) = if first.is_ok() { (first, second) } else { (second, first) };
        assert_eq!(refusal(loser), Refusal::Limit { live: 1 });
        let page = reject.list(&Selector::user(&user), &PageRequest::first(10)).await.unwrap();
        assert_eq!(page.sessions, [winner.unwrap().session]);
    }
    context.check().await;
}

#[tokio::test]
async fn a_user_with_1200_live_sessions_is_cut_down_to_a_lowered_limit() {
    let context = Context::redis().await;
    let plain = context.store_at(rules()).await;
    create_many(&plain, 1200, |number| {
        NewSession::new().id(numbered(number)).user("ann").connection(format!("c{number}"))
    })
    .await;
    let before = context.dump().await;
    let reject = context.store_at(rules().sessions_per_user(5, OnLimit::Reject)).await;
    // It counts as far as one call looks.
    assert_eq!(refusal(reject.create(of_ann("new")).await), Refusal::Limit { live: 1000 });
    assert_eq!(context.dump().await, before);

    context.clock.advance(SECOND);
    let evict = context.store_at(rules().sessions_per_user(5, OnLimit::EvictOldest)).await;
    let created = evict.create(of_ann("new")).await.unwrap();
    let oldest: Vec<_> = (0..1196).map(numbered).collect();
    assert_eq!(removed_ids(&created.evicted), oldest);
    assert_eq!(created.evicted[700].connection.as_deref(), Some("c700"));
    let mut left: Vec<_> = (1196..1200).map(numbered).collect();
    left.push(id("new"));
    assert_eq!(live(&evict).await, left);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_user_with_1200_expired_sessions_is_cleared_until_the_live_ones_can_be_counted(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let plain = context.store_at(rules()).await;
    create_many(&plain, 1200, |number| NewSession::new().id(numbered(number)).user("ann")).await;
    context.clock.advance(10 * MINUTE);
    create_in_turn(&context, &plain, &["a", "b", "c"]).await;

    let reject = context.store_at(rules().sessions_per_user(4, OnLimit::Reject)).await;
    let created = reject.create(of_ann("d")).await.unwrap();
    // Nobody else will report those that it removed.
    assert_eq!(removed_ids(&created.evicted), (0..400).map(numbered).collect::<Vec<_>>());
    assert_eq!(refusal(reject.create(of_ann("e")).await), Refusal::Limit { live: 4 });
    let entries = context.entries(&context.user_key("ann")).await;
    assert_eq!(entries.len(), 800 + 4);
    assert_eq!(reject.count(&Selector::user("ann")).await.unwrap(), 4);
    context.check().await;
}
