//! patch: changes single attributes and extensions, status and ttl of a live session.

use std::time::Duration;

use cloakroom::{Binding, NewSession, Patch, Refusal, Rotation, Rules, Session, Status};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Context;
use crate::support::context::On::{Memory, Near, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::{ms, refusal};

const MINUTE: Duration = Duration::from_secs(60);
/// The defaults of the rules.
const TTL: Duration = Duration::from_secs(30 * 60);
const GRACE: Duration = Duration::from_secs(60 * 60);

async fn read(store: &Store, session: &Session) -> Session {
    store.get(session.id()).await.unwrap().unwrap()
}

#[rstest]
#[tokio::test]
async fn patch_sets_and_removes_what_it_names_and_keeps_the_rest(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let first = Patch::new().set("size", &3).unwrap().set("draft", "x").unwrap();
    let first = first.set_extension("size", &4).unwrap().set_extension("gone", &5).unwrap();
    store.patch(&session, first).await.unwrap();
    let second = Patch::new().remove("draft").remove_extension("gone").remove("never there");
    let patched = store.patch(&session, second).await.unwrap();

    assert!(patched.changed);
    assert_eq!(
        (patched.version.get(), &patched.id, patched.expires_at_ms),
        (3, session.id(), session.expires_at_ms())
    );
    let stored = read(&store, &session).await;
    assert_eq!(stored.attributes().iter().collect::<Vec<_>>(), [("color", "\"green\""), ("size", "3")]);
    assert_eq!(
        stored.extensions().iter().collect::<Vec<_>>(),
        [("size", "4")],
        "an extension is no attribute"
    );
    assert_eq!(stored.version(), patched.version);
    context.assert_ttl(&context.record_key(session.id()), TTL + GRACE).await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn whoever_changes_a_session_uses_it(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let touching = context.store_at(Rules::new().touch_interval(MINUTE)).await;
    let store = context.store_at(Rules::new()).await;
    let name = |number: usize| format!("c-{number}");
    for (number, change) in ["patch", "update", "bind"].into_iter().enumerate() {
        let session = context.session(&store, change).await;
        let made = session.created_at_ms();
        let change = async |store: &Store| {
            let mut held = store.get(session.id()).await.unwrap().unwrap();
            match change {
                "patch" => drop(store.patch(session.id(), red(made)).await.unwrap()),
                "update" => store.update(&mut held).await.unwrap(),
                _ => {
                    let connection = format!("{}-{}", name(number), held.version());
                    drop(store.bind(session.id(), Binding::new(connection)).await.unwrap());
                }
            }
            let session = store.get(session.id()).await.unwrap().unwrap();
            (session.last_active_ms() - made, session.expires_at_ms() - made)
        };
        context.clock.advance(MINUTE - Duration::from_millis(1));
        assert_eq!(change(&touching).await, (0, ms(TTL)), "within the touch interval");
        assert_eq!(change(&store).await, (ms(MINUTE) - 1, ms(TTL)), "more than half of the ttl is left");
        context.clock.advance(TTL / 2);
        let used = ms(TTL / 2 + MINUTE) - 1;
        assert_eq!(change(&store).await, (used, used + ms(TTL)), "less than half of it");
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_session_that_is_only_changed_and_never_refreshed_lives_on(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().idle_timeout(TTL)).await;
    let session = context.session(&store, "a").await;
    let id = session.id();
    for number in 0..12 {
        context.clock.advance(TTL - MINUTE);
        match number % 3 {
            0 => drop(store.patch(id, red(number)).await.unwrap()),
            1 => drop(store.bind(id, Binding::new(format!("c-{number}"))).await.unwrap()),
            _ => store.update(&mut store.get(id).await.unwrap().unwrap()).await.unwrap(),
        }
        context.check().await;
    }
    context.clock.advance(TTL);
    assert_eq!(store.get(id).await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn a_lifetime_of_its_own_ends_a_session_however_much_it_is_used(
    #[values(Redis, Near, Memory)] on: On,
    #[values(1, 3)] sessions: usize,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(TTL * 9)).await;
    let new = |lifetime| NewSession::new().lifetime(lifetime);
    let made = store.create_many((0..sessions).map(|_| new(TTL * 2)).collect()).await;
    let session = made.into_iter().next().unwrap().unwrap().session;
    assert_eq!(session.deadline_ms(), Some(session.created_at_ms() + ms(TTL * 2)));
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));

    context.clock.advance(TTL - MINUTE);
    let patched = store.patch(&session, Patch::new().lifetime(TTL + MINUTE)).await.unwrap();
    let now = context.clock.now_ms();
    assert_eq!((patched.changed, patched.expires_at_ms), (true, now + ms(TTL)));
    let stored = store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(stored.deadline_ms(), Some(now + ms(TTL + MINUTE)));
    context.check().await;
    context.clock.advance(TTL - MINUTE);
    assert_eq!(store.refresh(&session).await.unwrap().unwrap().expires_at_ms, now + ms(TTL + MINUTE));
    context.clock.advance(MINUTE * 2);
    assert_eq!(store.get(session.id()).await.unwrap(), None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_copy_in_hand_takes_a_patch_and_then_saves_without_conflict(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    context.clock.advance(TTL - MINUTE);
    let patch = Patch::new().set("color", "red").unwrap().remove("none").set_extension("x", &1).unwrap();
    let patch = patch.suspend().ttl(TTL * 2).lifetime(TTL * 3);
    let mut stale = session.clone();
    let patched = store.patch(&session, patch).await.unwrap();
    assert!(session.apply(&patched));
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    assert!(!session.apply(&patched), "it is there already");
    store.update(&mut session).await.unwrap();

    let unchanged = store.patch(&session, Patch::new()).await.unwrap();
    assert!(session.apply(&unchanged));
    store.update(&mut session).await.unwrap();

    // Another session takes none, though it is at that version.
    let one = store.create(NewSession::new()).await.unwrap().session;
    let mut other = store.create(NewSession::new()).await.unwrap().session;
    let of_one = store.patch(&one, Patch::new().set("color", "white").unwrap()).await.unwrap();
    assert!(!other.apply(&of_one));
    assert_eq!(store.get(other.id()).await.unwrap(), Some(other));

    // A copy that lacks something else takes none, and conflicts as ever.
    let later = store.patch(&session, Patch::new().set("color", "blue").unwrap()).await.unwrap();
    assert!(!stale.apply(&later));
    assert!(store.update(&mut stale).await.unwrap_err().is_conflict());
}

#[rstest]
#[tokio::test]
async fn a_patch_leaves_ttl_deadline_and_keys_as_they_are(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(TTL * 2)).await;
    let session = context.session(&store, "a").await;
    let before = context.stored(session.id()).await.unwrap();
    context.clock.advance(MINUTE);
    store.patch(session.id(), Patch::new().remove("color")).await.unwrap();
    let after = context.stored(session.id()).await.unwrap();
    assert_eq!(
        (after.ttl, after.deadline, after.expires_at, after.stored_until),
        (before.ttl, before.deadline, before.expires_at, before.stored_until)
    );
    // The TTL of a key is left alone too: it runs by the server's clock, which no test moves.
    let passed = if matches!(on, Memory) { MINUTE } else { Duration::ZERO };
    context.assert_ttl(&context.record_key(session.id()), TTL + GRACE - passed).await;
    context.check().await;
}

fn red(number: u64) -> Patch {
    Patch::new().set("color", &number).unwrap()
}

#[rstest]
#[tokio::test]
async fn patch_suspends_and_activates(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    store.patch(&session, Patch::new().suspend()).await.unwrap();
    assert_eq!(read(&store, &session).await.status(), Status::Suspended);
    assert_eq!(context.stored(session.id()).await.unwrap().status, 2);
    store.patch(&session, Patch::new().activate()).await.unwrap();
    let stored = read(&store, &session).await;
    assert_eq!((stored.status(), stored.version().get()), (Status::Active, 3));
    assert_eq!(stored.connection(), Some("connection-a"), "a status is no unbind");
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn patch_with_another_ttl_moves_expiry_and_ttls_with_a_bare_id_too(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.clock.advance(MINUTE);
    for ttl in [TTL * 20, MINUTE] {
        let patched = store.patch(session.id(), Patch::new().ttl(ttl)).await.unwrap();
        let now = context.clock.now_ms();
        assert_eq!(patched.expires_at_ms, now + ms(ttl));
        let stored = context.stored(session.id()).await.unwrap();
        assert_eq!((stored.ttl, stored.last_active, stored.expires_at), (ms(ttl), now, now + ms(ttl)));
        assert_eq!(context.expiry_of(session.id()).await, Some(now + ms(ttl)));
        context.assert_ttl(&context.record_key(session.id()), ttl + GRACE).await;
        context.check().await;
    }
    // They live as long as the longest session that they led to.
    for key in [context.user_key("user-a"), context.node_key("node-a")] {
        context.assert_ttl(&key, TTL * 20 + GRACE + GRACE).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_patch_that_changes_nothing_writes_nothing(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    let same = Patch::new().activate().ttl(TTL);
    for patch in [Patch::new(), same] {
        let patched = store.patch(&session, patch).await.unwrap();
        assert!(!patched.changed);
        assert_eq!((patched.version.get(), patched.expires_at_ms), (1, session.expires_at_ms()));
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_patch_that_sets_a_value_to_what_it_is_or_removes_what_is_not_there_counts_as_a_change(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = read(&store, &session).await;
    for (version, patch) in
        [(2, Patch::new().set("color", "green").unwrap()), (3, Patch::new().remove("none").activate())]
    {
        let patched = store.patch(&session, patch).await.unwrap();
        assert_eq!((patched.changed, patched.version.get()), (true, version));
    }
    assert_eq!(read(&store, &session).await.attributes(), before.attributes());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn two_patches_of_different_attributes_at_once_are_both_there(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let (left, right) = tokio::join!(
        store.patch(&session, Patch::new().set("left", &1).unwrap()),
        store.patch(session.id(), Patch::new().set("right", &2).unwrap()),
    );
    let mut versions = [left.unwrap().version.get(), right.unwrap().version.get()];
    versions.sort_unstable();
    assert_eq!(versions, [2, 3]);
    let stored = read(&store, &session).await;
    assert_eq!(
        stored.attributes().iter().collect::<Vec<_>>(),
        [("color", "\"green\""), ("left", "1"), ("right", "2")]
    );
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_patches_of_different_attributes_at_once_are_all_there(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let patches = (0..50_u32).map(|number| {
        let (store, session) = (store.clone(), session.clone());
        tokio::spawn(async move {
            let patch = Patch::new().set(format!("key-{number}"), &number).unwrap();
            store.patch(&session, patch).await.unwrap()
        })
    });
    futures::future::try_join_all(patches).await.unwrap();
    let stored = read(&store, &session).await;
    for number in 0..50_u32 {
        assert_eq!(stored.get::<u32>(&format!("key-{number}")).unwrap(), Some(number));
    }
    assert_eq!((stored.attributes().len(), stored.version().get()), (51, 51));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_patch_that_expects_another_version_conflicts_and_writes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let red = Patch::new().set("color", "red").unwrap();
    let patched = store.patch(&session, red.clone().expect(session.version())).await.unwrap();
    let before = context.dump().await;
    let stale = red.remove("color").expect(session.version());
    let conflict = Refusal::Conflict { current: patched.version };
    assert_eq!(refusal(store.patch(&session, stale).await), conflict);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_patch_beyond_the_size_limit_is_too_large_and_writes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().session_bytes(100)).await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    // An entry takes five bytes of header, one of key, two of quotes.
    let of = |key: &str, bytes: usize| Patch::new().set(key, &"x".repeat(bytes - 8)).unwrap();
    store.patch(&session, of("a", 60)).await.unwrap();
    let before = context.dump().await;
    assert_eq!(
        refusal(store.patch(&session, of("b", 41)).await),
        Refusal::TooLarge { bytes: 101, entries: 2 }
    );
    assert_eq!(context.dump().await, before);
    store.patch(&session, of("b", 40)).await.unwrap();

    // What is over a limit that was lowered may shrink, and may not grow.
    let lowered = context.store(Rules::new().session_bytes(20)).await;
    let before = context.dump().await;
    assert_eq!(
        refusal(lowered.patch(&session, of("b", 41)).await),
        Refusal::TooLarge { bytes: 101, entries: 2 }
    );
    assert_eq!(context.dump().await, before);
    assert!(lowered.patch(&session, of("b", 39)).await.unwrap().changed);
    assert_eq!(context.stored(session.id()).await.unwrap().body.len(), 99);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn the_last_change_of_a_key_wins(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let patch = Patch::new().set("color", "red").unwrap().remove("color");
    let patch = patch.set("color", "blue").unwrap();
    let patch = patch.set("new", &1).unwrap().remove("new").suspend().activate();
    store.patch(&session, patch).await.unwrap();
    let stored = read(&store, &session).await;
    assert_eq!(stored.attributes().iter().collect::<Vec<_>>(), [("color", "\"blue\"")]);
    assert_eq!(stored.status(), Status::Active);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn values_of_every_json_kind_come_back_equal(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().value_bytes(2 << 20).session_bytes(4 << 20)).await;
    let session = context.session(&store, "a").await;
    let binary: String = (0..=255_u8).map(char::from).collect();
    let values: Vec<Value> = vec![
        json!(null),
        json!(true),
        json!(""),
        json!(0),
        json!(-1.5),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!([]),
        json!({}),
        json!([[], {}, null, [{ "a": [] }]]),
        json!(binary),
        json!("\u{0}\u{1}\"\\\r\n\u{1F600}"),
        json!("x".repeat(1024 * 1024)),
    ];
    let mut patch = Patch::new();
    for (at, value) in values.iter().enumerate() {
        patch = patch.set(format!("key {at} \u{0}{{}}:é"), value).unwrap();
    }
    store.patch(&session, patch).await.unwrap();
    let stored = read(&store, &session).await;
    for (at, value) in values.iter().enumerate() {
        let key = format!("key {at} \u{0}{{}}:é");
        assert_eq!(stored.get::<Value>(&key).unwrap().as_ref(), Some(value), "{key}");
    }
    assert_eq!(stored.get::<String>("color").unwrap().as_deref(), Some("green"));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_patch_of_a_key_that_is_the_beginning_of_another_leaves_that(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let patch = Patch::new().set("colo", &1).unwrap().set("colors", &2).unwrap();
    store.patch(&session, patch).await.unwrap();
    store.patch(&session, Patch::new().remove("color")).await.unwrap();
    let stored = read(&store, &session).await;
    assert_eq!(stored.attributes().iter().collect::<Vec<_>>(), [("colo", "1"), ("colors", "2")]);
    context.check().await;
}

#[tokio::test]
async fn patch_of_a_frozen_session_is_refused_and_changes_nothing() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    context.freeze(session.id()).await;
    let before = context.dump().await;
    for patch in [Patch::new().remove("color"), Patch::new().activate(), Patch::new()] {
        assert_eq!(refusal(store.patch(&session, patch).await), Refusal::Frozen);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn patch_of_a_session_that_is_not_live_is_missing_and_changes_nothing(
    #[values(Redis, Near, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let not_live = context.not_live(&store, TTL).await;
    let before = context.dump().await;
    for id in &not_live {
        let patch = Patch::new().set("color", "red").unwrap().ttl(TTL * 2).activate();
        assert_eq!(refusal(store.patch(id, patch).await), Refusal::Missing);
    }
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn patch_follows_a_rotated_id_and_names_the_new_one(#[values(Redis, Near, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let patch = Patch::new().set("color", "red").unwrap().ttl(TTL * 2);
    let patched = store.patch(&session, patch).await.unwrap();
    assert_eq!((&patched.id, patched.version.get()), (rotated.id(), 3));
    let stored = read(&store, &rotated).await;
    assert_eq!(stored.get::<String>("color").unwrap().as_deref(), Some("red"));
    assert_eq!(stored.ttl(), TTL * 2);

    // An id that was rotated away twice leads nowhere.
    store.rotate(&rotated, Rotation::new()).await.unwrap();
    let twice = refusal(store.patch(session.id(), Patch::new().remove("color")).await);
    assert_eq!(twice, Refusal::Missing);
    context.check().await;
}
