//! An import of a session that is there already, at another version.

use cloakroom::migration::Import;
use cloakroom::{Patch, Refusal, Version};
use rstest::rstest;

use super::{HOUR, MINUTE, bring, export, named, patch, places};
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis};
use crate::support::expect::{ms, refusal};

fn conflict(current: Version) -> Refusal {
    Refusal::Conflict { current }
}

#[rstest]
#[tokio::test]
async fn a_newer_version_replaces_an_older_one_and_moves_its_entries(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let mut session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    session.set_user("ann");
    session.set_connection("socket");
    session.set_node("gateway");
    session.set("color", "red").unwrap();
    source.update(&mut session).await.unwrap();
    assert!(bring(&source, &target, session.id()).await.unwrap());

    assert_eq!(target.get(session.id()).await.unwrap().as_ref(), Some(&session));
    for left in [to.user_key("user-s"), to.node_key("node-s"), to.connection_key("connection-s")] {
        assert!(!to.exists(&left).await, "{left}");
    }
    for key in [to.user_key("ann"), to.node_key("gateway")] {
        assert_eq!(to.members(&key).await.get("s"), Some(&session.created_at_ms()), "{key}");
    }
    assert_eq!(to.pointer("socket").await.as_deref(), Some("s"));
    to.check().await;

    // What moved here meanwhile is found all the same.
    let mut here = session.clone();
    here.set_user("bob");
    here.set_connection("");
    here.set_node("elsewhere");
    target.update(&mut here).await.unwrap();
    for color in ["blue", "green"] {
        patch(&source, &session, color).await;
    }
    assert!(bring(&source, &target, session.id()).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), source.get(session.id()).await.unwrap());
    for left in [to.user_key("bob"), to.node_key("elsewhere")] {
        assert!(!to.exists(&left).await, "{left}");
    }
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn a_newer_version_takes_owners_away_and_gives_them(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let mut session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    for [user, connection, node] in [["", "", ""], ["ann", "socket", "gateway"]] {
        session.set_user(user);
        session.set_connection(connection);
        session.set_node(node);
        source.update(&mut session).await.unwrap();
        assert!(bring(&source, &target, session.id()).await.unwrap());
        assert_eq!(target.get(session.id()).await.unwrap().as_ref(), Some(&session));
        to.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_newer_version_brings_its_times_whether_later_or_sooner(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    from.clock.advance(MINUTE);
    for ttl in [48 * HOUR, MINUTE, 2 * HOUR] {
        source.patch(session.id(), Patch::new().ttl(ttl)).await.unwrap();
        assert!(bring(&source, &target, session.id()).await.unwrap());
        let imported = target.get(session.id()).await.unwrap();
        assert_eq!(imported, source.get(session.id()).await.unwrap());
        assert_eq!(to.expiry_of(session.id()).await, Some(from.clock.now_ms() + ms(ttl)));
        let stored_until = to.stored(session.id()).await.unwrap().stored_until;
        assert_eq!(stored_until, from.clock.now_ms() + ms(ttl + HOUR));
        to.assert_ttl(&to.record_key(session.id()), ttl + HOUR).await;
        to.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn an_older_version_is_refused_with_the_current_one_and_changes_nothing(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    let older = export(&source, session.id()).await;
    patch(&source, &session, "red").await;
    let newer = export(&source, session.id()).await;
    let current = newer.session().version();
    target.import(Import::new(newer)).await.unwrap();
    let before = to.dump().await;
    let older = Import::new(older);
    for import in [older.clone(), older.clone().if_absent(), older.if_at(current)] {
        assert_eq!(refusal(target.import(import).await), conflict(current));
    }
    assert_eq!(to.dump().await, before);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn the_same_version_with_other_content_is_a_conflict_and_changes_nothing(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    bring(&source, &target, session.id()).await.unwrap();
    for (here, there) in [
        (Patch::new().set("color", "red"), Patch::new().set("color", "blu")),
        (Patch::new().suspend().set("color", "red"), Patch::new().set("color", "red")),
        (Patch::new().ttl(HOUR).set("color", "red"), Patch::new().set("color", "red")),
        (Patch::new().set("red", "red"), Patch::new().set_extension("red", "red")),
    ] {
        let there = source.patch(session.id(), there.unwrap()).await.unwrap();
        let here = target.patch(session.id(), here.unwrap()).await.unwrap();
        assert_eq!(here.version, there.version);
        let before = to.dump().await;
        assert_eq!(refusal(bring(&source, &target, session.id()).await), conflict(here.version));
        assert_eq!(to.dump().await, before);
        // The next round begins alike.
        patch(&source, &session, &format!("like {}", here.version)).await;
        bring(&source, &target, session.id()).await.unwrap();
    }
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn another_session_of_the_same_id_is_a_conflict_whatever_its_version(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    patch(&source, &session, "red").await;
    from.clock.advance(MINUTE);
    let current = target.create(named("s")).await.unwrap().session.version();
    let before = to.dump().await;
    let import = Import::new(export(&source, session.id()).await);
    for import in [import.clone(), import.clone().if_absent(), import.if_at(current)] {
        assert_eq!(refusal(target.import(import).await), conflict(current));
    }
    assert_eq!(to.dump().await, before);
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn if_absent_never_replaces_anything(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    let import = Import::new(export(&source, session.id()).await).if_absent();
    assert!(target.import(import).await.unwrap());
    patch(&source, &session, "red").await;
    let before = to.dump().await;
    let import = Import::new(export(&source, session.id()).await);
    assert_eq!(refusal(target.import(import.clone().if_absent()).await), conflict(session.version()));
    assert_eq!(to.dump().await, before);
    assert!(target.import(import).await.unwrap());
    to.check().await;
}

#[rstest]
#[tokio::test]
async fn if_at_replaces_just_that_version(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, [source, target]) = places(there, here).await;
    let session = source.create(named("s")).await.unwrap().session;
    let first = export(&source, session.id()).await;
    let mut exports = Vec::new();
    for color in ["red", "blue"] {
        patch(&source, &session, color).await;
        exports.push(export(&source, session.id()).await);
    }
    let [one, two] = [session.version(), exports[0].session().version()];
    let newest = Import::new(exports.pop().unwrap());

    // Absent: there is nothing to replace.
    assert_eq!(refusal(target.import(newest.clone().if_at(one)).await), Refusal::Missing);
    assert!(to.keys().await.is_empty());
    target.import(Import::new(first)).await.unwrap();
    let before = to.dump().await;
    assert_eq!(refusal(target.import(newest.clone().if_at(two)).await), conflict(one));
    assert_eq!(to.dump().await, before);
    assert!(target.import(newest.if_at(one)).await.unwrap());
    assert_eq!(target.get(session.id()).await.unwrap(), source.get(session.id()).await.unwrap());
    to.check().await;
}
