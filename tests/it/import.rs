//! import: stores a session as another store exported it.

mod after;
mod refused;
mod replacing;

use std::time::Duration;

use cloakroom::migration::{Export, Import};
use cloakroom::{
    NewSession, OnLimit, OperationId, Patch, Refusal, Rotation, Rules, Session, SessionId, Status,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis};
use crate::support::context::{On, Store};
use crate::support::expect::{ms, refusal, session_id as id};
use crate::support::record::Stored;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The defaults of the rules.
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = HOUR;

fn named(name: &str) -> NewSession {
    let new = NewSession::new().id(id(name)).set("color", "green").unwrap();
    new.user(format!("user-{name}")).connection(format!("connection-{name}")).node(format!("node-{name}"))
}

/// Where sessions come from and where they go, by one clock, each with a store.
async fn places(there: On, here: On) -> (Context, Context, [Store; 2]) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let stores = [from.store_at(Rules::new()).await, to.store_at(Rules::new()).await];
    (from, to, stores)
}

async fn export(store: &Store, id: &SessionId) -> Export {
    store.export(id).await.unwrap().unwrap()
}

/// A session of the source brought into the target, whatever version it is at.
async fn bring(from: &Store, to: &Store, id: &SessionId) -> cloakroom::Result<bool> {
    to.import(Import::new(export(from, id).await)).await
}

async fn patch(store: &Store, session: &Session, color: &str) -> u64 {
    let patch = Patch::new().set("color", color).unwrap();
    store.patch(session.id(), patch).await.unwrap().version.get()
}

/// All that is stored of a session but when its key goes, which each store sees to.
async fn stored(context: &Context, id: &SessionId) -> Stored {
    Stored { stored_until: 0, ..context.stored(id).await.unwrap() }
}

/// A session with everything that one can have, some minutes old and changed some times.
async fn rich(context: &Context, store: &Store) -> Session {
    let mut session = store.create(named("s")).await.unwrap().session;
    let attributes = session.attributes_mut();
    attributes.set("null", &()).unwrap();
    attributes.set("true", &true).unwrap();
    attributes.set("large", &9_007_199_254_740_993_u64).unwrap();
    attributes.set("float", &-1.5e300).unwrap();
    attributes.set("text", "\u{1F600} \"\\\r\n\u{0}").unwrap();
    attributes.set("empty text", "").unwrap();
    attributes.set("list", &[[1, 2], [3, 4]]).unwrap();
    attributes.set("empty list", &[(); 0]).unwrap();
    attributes.set("map", &std::collections::BTreeMap::from([("a", Some(1)), ("b", None)])).unwrap();
    attributes.set("empty map", &std::collections::BTreeMap::<String, u8>::new()).unwrap();
    session.extensions_mut().set("layer", &[0.1, 0.2]).unwrap();
    session.extensions_mut().set("null", "not the attribute").unwrap();
    session.suspend();
    context.clock.advance(MINUTE);
    store.update(&mut session).await.unwrap();
    context.clock.advance(TTL - 2 * MINUTE);
    store.refresh(&session).await.unwrap().unwrap();
    patch(store, &session, "red").await;
    context.clock.advance(MINUTE);
    store.get(session.id()).await.unwrap().unwrap()
}

#[rstest]
#[tokio::test]
async fn everything_of_a_session_comes_over_equal(
    #[values(Redis, Near, Memory)] there: On,
    #[values(Redis, Near, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store_at(Rules::new().max_lifetime(24 * HOUR)).await;
    let target = to.store_at(Rules::new()).await;
    let session = rich(&from, &source).await;
    let exported = export(&source, session.id()).await;
    assert_eq!(exported.session(), &session);
    assert!(target.import(Import::new(exported.clone())).await.unwrap());

    let imported = target.get(session.id()).await.unwrap().unwrap();
    assert_eq!(imported, session);
    assert_eq!((imported.version().get(), imported.status()), (3, Status::Suspended));
    assert_eq!(imported.deadline_ms(), Some(session.created_at_ms() + ms(24 * HOUR)));
    assert_ne!(imported.last_active_ms(), imported.created_at_ms());
    // What a patch of the source had put elsewhere in the record was sorted on the way.
    let [mut there, mut here] = [stored(&from, session.id()).await, stored(&to, session.id()).await];
    for record in [&mut there, &mut here] {
        record.body.sort_unstable();
    }
    assert_eq!(there, here);
    assert_eq!(source.get(session.id()).await.unwrap(), Some(exported.into_session()), "it stays");
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn an_imported_session_has_all_its_entries_and_their_ttls(
    #[values(Redis, Near, Memory)] there: On,
    #[values(Redis, Near, Memory)] here: On,
) {
    let (from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    from.clock.advance(10 * MINUTE);
    assert!(bring(&source, &target, session.id()).await.unwrap());
    for key in [to.user_key("user-s"), to.node_key("node-s")] {
        assert_eq!(to.members(&key).await.get("s"), Some(&session.created_at_ms()), "{key}");
        to.assert_ttl(&key, TTL + GRACE + GRACE - 10 * MINUTE).await;
    }
    assert_eq!(to.expiry_of(session.id()).await, Some(session.expires_at_ms()));
    assert_eq!(to.pointer("connection-s").await.as_deref(), Some("s"));
    for key in [to.record_key(session.id()), to.connection_key("connection-s")] {
        to.assert_ttl(&key, TTL + GRACE - 10 * MINUTE).await;
    }
    let found = target.session_by_connection("connection-s").await.unwrap();
    assert_eq!(found, Some(session));
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn an_anonymous_session_without_data_is_in_the_expiry_index_only(
    #[values(Redis, Near, Memory)] there: On,
    #[values(Redis, Near, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(NewSession::new()).await.unwrap().session;
    assert!(bring(&source, &target, session.id()).await.unwrap());
    assert_eq!(to.keys().await, [to.key("expiry"), to.record_key(session.id())]);
    assert_eq!(target.get(session.id()).await.unwrap(), Some(session));
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn the_limit_of_sessions_a_user_is_not_checked(
    #[values(Redis, Near, Memory)] there: On,
    #[values(Redis, Near, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store_at(Rules::new()).await;
    for on_limit in [OnLimit::Reject, OnLimit::EvictOldest] {
        let target = to.store_at(Rules::new().sessions_per_user(1, on_limit)).await;
        let user = format!("{on_limit:?}");
        target.create(NewSession::new().user(&user)).await.unwrap();
        let session = source.create(NewSession::new().user(&user)).await.unwrap().session;
        assert!(bring(&source, &target, session.id()).await.unwrap());
        assert_eq!(to.entries(&to.user_key(&user)).await.len(), 2);
    }
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_second_import_is_unchanged_and_writes_nothing(
    #[values(Redis, Near, Memory)] there: On,
    #[values(Redis, Near, Memory)] here: On,
) {
    let (from, to, [source, target]) = places(there, here).await;
    let session = rich(&from, &source).await;
    let import = Import::new(export(&source, session.id()).await);
    target.import(import.clone()).await.unwrap();
    let before = to.dump().await;
    let any = session.version();
    for again in [import.clone(), import.clone().if_absent(), import.clone().if_at(any)] {
        assert!(!target.import(again).await.unwrap());
        assert_eq!(to.dump().await, before);
    }
    // A use of it here is none of its versions, and is not taken back.
    from.clock.advance(20 * MINUTE);
    let used = target.refresh_and_get(session.id()).await.unwrap().unwrap();
    assert!(used.expires_at_ms() > session.expires_at_ms());
    assert!(!target.import(import).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), Some(used));
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_content_in_another_order_is_unchanged(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(named("s")).await.unwrap().session;
    for (key, value) in [("b", 1), ("a", 22)] {
        store.patch(&session, Patch::new().set(key, &value).unwrap()).await.unwrap();
    }
    let before = context.dump().await;
    assert!(!bring(&store, &store, session.id()).await.unwrap());
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_import_sent_again_answers_the_same_even_after_changes_by_others(
    #[values(Redis, Near, Memory)] there: On,
    #[values(Redis, Near, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    let import = Import::new(export(&source, session.id()).await);
    let same = import.clone().operation_id(OperationId::random());
    assert!(target.import(same.clone()).await.unwrap());
    patch(&target, &session, "red").await;
    let before = to.dump().await;
    assert!(target.import(same.clone()).await.unwrap());
    assert_eq!(to.dump().await, before);
    // A repeated call of one that was deleted meanwhile did happen, and does not bring it back.
    target.delete(session.id()).await.unwrap();
    let before = to.dump().await;
    assert!(target.import(same.clone()).await.unwrap());
    assert_eq!(refusal(target.import(import).await), Refusal::Gone);
    assert_eq!(to.dump().await, before);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn export_reads_what_get_reads_and_changes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = Rules::new().ttl(MINUTE).rotation_grace(HOUR);
    let store = context.store_at(rules).await;
    for id in context.not_live(&store, MINUTE).await {
        assert_eq!(store.export(&id).await.unwrap(), None);
    }
    let session = context.session(&store, "a").await;
    let second = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let before = context.dump().await;
    assert_eq!(export(&store, second.id()).await.session(), &second);
    assert_eq!(export(&store, session.id()).await.into_session(), second);
    assert_eq!(context.dump().await, before);
    store.rotate(&second, Rotation::new()).await.unwrap();
    assert_eq!(store.export(session.id()).await.unwrap(), None, "rotated away twice");
}

#[rstest]
#[tokio::test]
async fn neither_the_id_nor_the_data_of_an_export_is_shown(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = store.create(named("secret")).await.unwrap().session;
    let export = export(&store, session.id()).await;
    for shown in [format!("{export:?}"), format!("{:?}", Import::new(export))] {
        assert!(!shown.contains("\"secret\"") && !shown.contains("green"), "{shown}");
    }
}
