//! create: all of a session, or nothing of it.

mod at_once;
mod limit;
mod names;
mod values;

use std::time::Duration;

use cloakroom::{Entries, IdScheme, NewSession, Refusal, Rotation, Rules, Status};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{refusal, session_id as id};
use crate::support::record::{LIVE, Stored};

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: u64 = 60_000;

fn rules() -> Rules {
    Rules::new().ttl(10 * MINUTE).grace(5 * MINUTE)
}

fn of_ann(name: &str) -> NewSession {
    NewSession::new().id(id(name)).user("ann")
}

#[rstest]
#[tokio::test]
async fn a_new_session_is_stored_field_by_field_with_all_its_entries(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().max_lifetime(60 * MINUTE)).await;
    let now = context.clock.now_ms();
    let mut extensions = Entries::default();
    extensions.set("color", &7).unwrap();
    let new = of_ann("s").connection("socket").node("gateway").set("color", "green").unwrap();
    let created = store.create(new.extensions(extensions)).await.unwrap();

    let body = [&[1, 5, 0, 0, 7][..], b"color\"green\"", &[2, 5, 0, 0, 1], b"color7"];
    let stored = Stored {
        kind: LIVE,
        status: 1,
        user: "ann".into(),
        connection: "socket".into(),
        node: "gateway".into(),
        version: 1,
        created_at: now,
        ttl: 10 * MINUTE_MS,
        deadline: now + 60 * MINUTE_MS,
        last_active: now,
        expires_at: now + 10 * MINUTE_MS,
        stored_until: now + 15 * MINUTE_MS,
        body: body.concat(),
        freeze: None,
        copies_until: 0,
        speaks_until: 0,
    };
    assert_eq!(context.stored(&id("s")).await, Some(stored));
    let owned = [("s".to_owned(), now)].into();
    assert_eq!(context.members(&context.user_key("ann")).await, owned);
    assert_eq!(context.members(&context.node_key("gateway")).await, owned);
    assert_eq!(context.pointer("socket").await.as_deref(), Some("s"));
    let expiry = context.members(&context.key("expiry")).await;
    assert_eq!(expiry.get("s"), Some(&(now + 10 * MINUTE_MS)));
    assert_eq!(context.keys().await.len(), 5);

    assert!(created.evicted.is_empty() && created.reaped.is_empty());
    assert_eq!(store.get(&id("s")).await.unwrap(), Some(created.session));
    context.check().await;
}

#[tokio::test]
async fn every_key_of_a_new_session_has_its_ttl() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("s").connection("socket").node("gateway")).await.unwrap();
    context.assert_ttl(&context.record_key(&id("s")), 15 * MINUTE).await;
    context.assert_ttl(&context.connection_key("socket"), 15 * MINUTE).await;
    // The owners' indexes last a grace longer, so that the next sessions find them long enough.
    for index in [context.user_key("ann"), context.node_key("gateway")] {
        context.assert_ttl(&index, 20 * MINUTE).await;
    }
    // The expiry index lasts until the end of a whole grace, which it notes as the score of the empty member.
    let now = context.clock.now_ms();
    let until = ((now + 15 * MINUTE_MS) / (5 * MINUTE_MS) + 1) * 5 * MINUTE_MS;
    assert_eq!(context.members(&context.key("expiry")).await.get(""), Some(&until));
    context.assert_ttl(&context.key("expiry"), Duration::from_millis(until - now)).await;
}

/// A record may go without its entries: the server evicts it, or a hand deletes it.
#[tokio::test]
async fn an_expiry_entry_that_outlived_its_record_gives_way_to_that_of_a_new_session() {
    let context = Context::redis().await;
    let graces = |minutes| rules().grace(minutes * MINUTE);
    let (short, long) = (context.store_at(graces(1)).await, context.store_at(graces(100)).await);
    short.create(of_ann("s").ttl(20 * MINUTE)).await.unwrap();
    let _: i64 = context.command(&["DEL", &context.record_key(&id("s"))]).await;
    long.create(of_ann("s").ttl(10 * MINUTE)).await.unwrap();
    let now = context.clock.now_ms();
    let expiry = context.key("expiry");
    assert_eq!(context.members(&expiry).await.get("s"), Some(&(now + 10 * MINUTE_MS)));
    // It is there as long as the record, or no reaper would find that.
    assert!(context.pttl(&expiry).await >= context.pttl(&context.record_key(&id("s"))).await);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_index_lives_as_long_as_its_longest_session_whichever_came_first(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let with_ttl = |name, minutes| of_ann(name).node("gateway").ttl(minutes * MINUTE);
    for (name, minutes, index_minutes) in [("a", 10, 20), ("b", 100, 110), ("c", 10, 110)] {
        store.create(with_ttl(name, minutes)).await.unwrap();
        for index in [context.user_key("ann"), context.node_key("gateway")] {
            context.assert_ttl(&index, index_minutes * MINUTE).await;
        }
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn an_anonymous_session_is_in_the_expiry_index_only(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let session = store.create(NewSession::new().user("").suspended()).await.unwrap().session;
    assert_eq!(
        (session.user(), session.connection(), session.node(), session.status()),
        (None, None, None, Status::Suspended)
    );
    let mut expected = vec![context.key("expiry"), context.record_key(session.id())];
    expected.sort();
    assert_eq!(context.keys().await, expected);
    assert_eq!(context.stored(session.id()).await.unwrap().status, 2);
    assert_eq!(store.get(session.id()).await.unwrap(), Some(session));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn ids_are_made_by_the_scheme_and_none_twice(#[values(Redis, Spread, Memory)] on: On) {
    for (scheme, length) in [(IdScheme::Uuid, 36), (IdScheme::Token, 43)] {
        let context = Context::on(on).await;
        let store = context.store_at(rules().id_scheme(scheme)).await;
        let mut made = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let id = store.create(NewSession::new()).await.unwrap().session.id().clone();
            assert_eq!(id.as_str().len(), length);
            assert!(scheme == IdScheme::Token || id.as_str().as_bytes()[14] == b'4');
            made.insert(id);
        }
        assert_eq!(made.len(), 20);
        context.check().await;
    }
}

#[tokio::test]
async fn a_ttl_of_its_own_replaces_that_of_the_rules_and_the_lifetime_clamps_it() {
    let context = Context::redis().await;
    let store = context.store_at(rules().max_lifetime(60 * MINUTE)).await;
    let now = context.clock.now_ms();
    for (name, ttl_minutes, lives_minutes) in [("a", 30, 30), ("b", 60, 60), ("c", 90, 60)] {
        let new = of_ann(name).ttl(ttl_minutes * MINUTE);
        let session = store.create(new).await.unwrap().session;
        assert_eq!(session.ttl(), ttl_minutes * MINUTE);
        assert_eq!(session.expires_at_ms(), now + lives_minutes * MINUTE_MS);
        assert_eq!(session.deadline_ms(), Some(now + 60 * MINUTE_MS));
        let stored = context.stored(&id(name)).await.unwrap();
        assert_eq!(stored.stored_until, now + (lives_minutes + 5) * MINUTE_MS);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn create_of_a_live_id_is_refused_and_changes_nothing(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("s").connection("socket")).await.unwrap();
    let before = context.dump().await;
    let again = NewSession::new().id(id("s")).user("bob").connection("other").node("n");
    assert_eq!(refusal(store.create(again).await), Refusal::Exists);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn create_of_an_expired_id_that_is_still_stored_clears_it_away_and_reports_it(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let old = of_ann("s").connection("socket").node("gateway");
    let old = store.create(old.set("n", &1).unwrap()).await.unwrap().session;
    context.clock.advance(10 * MINUTE);
    let created = store.create(NewSession::new().id(id("s")).user("bob")).await.unwrap();

    assert_eq!(created.reaped, [old]);
    assert_eq!(created.session.created_at_ms(), context.clock.now_ms());
    assert_eq!(created.session.get::<u32>("n").unwrap(), None);
    for key in [context.user_key("ann"), context.node_key("gateway"), context.connection_key("socket")] {
        assert!(!context.exists(&key).await, "{key} is still there");
    }
    assert_eq!(context.entries(&context.user_key("bob")).await, ["s"]);
    assert_eq!(context.stored(&id("s")).await.unwrap().version, 1);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn create_of_a_deleted_id_is_gone_until_exactly_the_end_of_its_tombstone(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules().tombstone(5 * MINUTE)).await;
    store.create(of_ann("s")).await.unwrap();
    store.delete(&id("s")).await.unwrap();
    let stored = context.stored(&id("s")).await.unwrap();
    assert_eq!(stored.stored_until, context.clock.now_ms() + 5 * MINUTE_MS);
    let before = context.dump().await;
    assert_eq!(refusal(store.create(of_ann("s")).await), Refusal::Gone);
    context.clock.advance(5 * MINUTE - Duration::from_millis(1));
    assert_eq!(refusal(store.create(of_ann("s")).await), Refusal::Gone);
    assert_eq!(context.dump().await, before);

    context.clock.advance(Duration::from_millis(1));
    assert_eq!(store.create(of_ann("s")).await.unwrap().session.version().get(), 1);
    assert_eq!(context.stored(&id("s")).await.unwrap().kind, LIVE);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn create_of_an_id_that_was_rotated_away_names_the_new_id(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    store.create(of_ann("old")).await.unwrap();
    store.rotate(&id("old"), Rotation::new().new_id(id("new"))).await.unwrap();
    let before = context.dump().await;
    let refused = refusal(store.create(of_ann("old")).await);
    assert_eq!(refused, Refusal::Rotated { to: Some(id("new")) });
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn create_with_the_connection_of_a_live_session_is_refused_and_changes_nothing(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    store.create(NewSession::new().id(id("holder")).connection("socket")).await.unwrap();
    let before = context.dump().await;
    let new = of_ann("s").connection("socket").node("gateway");
    assert_eq!(refusal(store.create(new).await), Refusal::Taken);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[tokio::test]
async fn create_takes_a_connection_whose_pointer_is_stale() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    let other = NewSession::new().id(id("other")).connection("its own");
    store.create(other).await.unwrap();
    // To no session, and to one that has another connection.
    for (name, pointer) in [("a", "nobody"), ("b", "other")] {
        let key = context.connection_key(name);
        let _: () = context.command(&["SET", &key, pointer, "PX", "600000"]).await;
        store.create(of_ann(name).connection(name)).await.unwrap();
        assert_eq!(context.pointer(name).await.as_deref(), Some(name));
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn create_reaps_the_expired_holder_of_its_connection_and_the_expired_session_of_its_id(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let mut old = Vec::new();
    for (name, connection) in [("s", "other"), ("holder", "socket")] {
        let new = NewSession::new().id(id(name)).user("bob").node("gateway");
        old.push(store.create(new.connection(connection)).await.unwrap().session);
    }
    context.clock.advance(10 * MINUTE);
    let created = store.create(of_ann("s").connection("socket")).await.unwrap();
    assert_eq!(created.reaped, old);
    assert_eq!(context.pointer("socket").await.as_deref(), Some("s"));
    for key in [
        context.record_key(&id("holder")),
        context.user_key("bob"),
        context.node_key("gateway"),
        context.connection_key("other"),
    ] {
        assert!(!context.exists(&key).await, "{key} is still there");
    }
    context.check().await;
}

#[tokio::test]
async fn a_foreign_type_at_any_key_is_corrupt_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store_at(rules()).await;
    // Each index is there already, or is not.
    for existing in [false, true] {
        if existing {
            let other = of_ann("other").node("gateway").connection("holder's");
            store.create(other).await.unwrap();
        }
        for (key, what) in [
            (context.record_key(&id("s")), "record"),
            (context.user_key("ann"), "user"),
            (context.node_key("gateway"), "node"),
            (context.connection_key("socket"), "connection"),
            (context.key("expiry"), "expiry"),
        ] {
            let new = of_ann("s").connection("socket").node("gateway");
            assert_eq!(context.foreign_at(&key, store.create(new)).await, what);
        }
    }
    let new = of_ann("s").connection("holder's");
    let holder = context.record_key(&id("other"));
    assert_eq!(context.foreign_at(&holder, store.create(new)).await, "holder_record");
    context.check().await;
}
