//! The types that a service passes on and gets back: ids, versions and page tokens as text, the rules of a
//! store, times.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloakroom::fallback::FallbackStore;
use cloakroom::migration::{Direction, Freezing, TaskId};
use cloakroom::{
    Cursor, IdScheme, Invalid, NewSession, OnLimit, OperationId, PageRequest, Patch, Refusal, Rules,
    Selector, SessionId, SessionStore, Version,
};
use rstest::rstest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{refusal, session_id};
use crate::support::leases::register;

/// What a value is after it went through its text, and after it went through JSON.
fn through_text<T>(value: &T) -> [T; 2]
where
    T: Display + FromStr<Err = Invalid> + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let by_text = value.to_string().parse().unwrap();
    let by_json = serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap();
    assert_eq!([&by_text, &by_json], [value; 2]);
    [by_text, by_json]
}

/// That a text is refused by its type in either way, and what the error names.
fn refused_field<T>(text: &str) -> &'static str
where
    T: FromStr<Err = Invalid> + DeserializeOwned + Debug,
{
    let error = text.parse::<T>().unwrap_err();
    let by_json = serde_json::from_value::<T>(text.into()).unwrap_err();
    assert!(by_json.to_string().contains(error.field), "{by_json}");
    error.field
}

#[test]
fn a_session_id_is_shown_as_a_hash_and_goes_through_its_text_and_json_whole() {
    let id = session_id("device-7.ä\"");
    assert_eq!(id.to_string(), format!("#{}", id.short_hash()));
    assert_eq!(id.to_string().len(), 9);
    assert!(!format!("{id} {id:?}").contains("device"));
    assert_eq!(id.as_str().parse::<SessionId>().unwrap(), id);
    let json = serde_json::to_value(&id).unwrap();
    assert_eq!(json, "device-7.ä\"");
    assert_eq!(serde_json::from_value::<SessionId>(json).unwrap(), id);
    for text in [String::new(), "x".repeat(129)] {
        assert_eq!(refused_field::<SessionId>(&text), "session id");
    }
}

#[tokio::test]
async fn a_version_is_a_number_as_text_and_as_json() {
    let store = Context::memory(usize::MAX).store(Rules::new()).await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    let version = store.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap().version;
    through_text(&version);
    assert_eq!((version.to_string().as_str(), version.get()), ("2", 2));
    assert_eq!(serde_json::to_string(&version).unwrap(), "2");
    let largest: Version = u64::MAX.to_string().parse().unwrap();
    assert_eq!(through_text(&largest)[0].get(), u64::MAX);
    for text in ["", "x", "-1", "1.5", "18446744073709551616"] {
        assert_eq!(text.parse::<Version>().unwrap_err().field, "version");
        assert!(serde_json::from_value::<Version>(text.into()).is_err());
    }
}

#[rstest]
#[tokio::test]
async fn a_call_is_recognised_by_an_operation_id_that_went_through_text(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let rules = || Rules::new().id_scheme(IdScheme::Token);
    let (store, other) = (context.store(rules()).await, context.store(rules()).await);
    let operation = OperationId::random();
    let new = || NewSession::new().user("ann");
    let made = store.with_operation_id(operation).create(new()).await.unwrap().session;
    let before = context.dump().await;
    for again in through_text(&operation) {
        let repeated = other.with_operation_id(again).create(new()).await.unwrap().session;
        assert_eq!(repeated, made);
    }
    assert_eq!(context.dump().await, before, "it was made again");
    for text in [String::new(), "f".repeat(79), "g".repeat(80), "0".repeat(80)] {
        assert_eq!(refused_field::<OperationId>(&text), "operation id");
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_operation_id_that_went_through_text_makes_the_session_id_it_would_have_made(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let (one, another) = (Context::on(on).await, Context::on(on).await);
    let operation = OperationId::random();
    let made = one.store(Rules::new()).await.with_operation_id(operation).create(NewSession::new()).await;
    for (again, context) in through_text(&operation).into_iter().zip([another, Context::memory(1)]) {
        let store = context.store(Rules::new()).await.with_operation_id(again);
        let elsewhere = store.create(NewSession::new()).await.unwrap().session;
        assert_eq!(elsewhere.id(), made.as_ref().unwrap().session.id());
    }
}

#[rstest]
#[tokio::test]
async fn a_task_id_that_went_through_text_names_the_same_migration(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let task = TaskId::new([1, 2, 3, 4, 5, 6, 7, 0xff]).unwrap();
    assert_eq!(task.to_string(), "01020304050607ff");
    for again in through_text(&task) {
        let session = store.create(NewSession::new()).await.unwrap().session;
        store.freeze(&session, Freezing::new(task, "elsewhere")).await.unwrap();
        let another = store.thaw(session.id(), TaskId::random(), Direction::Outgoing).await;
        assert_eq!(refusal(another), Refusal::Frozen);
        assert!(store.thaw(session.id(), again, Direction::Outgoing).await.unwrap());
    }
    for text in ["", "1", "01020304050607fg", "0000000000000000", "01020304050607ff0"] {
        assert_eq!(refused_field::<TaskId>(text), "task id");
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_page_token_that_went_through_text_goes_on_where_the_page_ended(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut expected = BTreeSet::new();
    for number in 0..10 {
        // Three of a millisecond, so that pages end among equals too; and ids with the mark that parts a token.
        context.clock.advance(Duration::from_millis(u64::from(number % 3 == 0)));
        let new = NewSession::new().id(session_id(&format!("..{number}."))).user("ann");
        expected.insert(store.create(new).await.unwrap().session.id().clone());
    }
    for way in 0..2 {
        let (mut request, mut found) = (PageRequest::first(4), Vec::new());
        loop {
            let page = store.list(&Selector::user("ann"), &request).await.unwrap();
            found.extend(page.sessions.iter().map(|session| session.id().clone()));
            let Some(next) = page.next else { break };
            let [by_text, by_json] = through_text(&next);
            request = PageRequest::after(if way == 0 { by_text } else { by_json }, 4);
        }
        assert_eq!(found.len(), 10, "one is given twice, or passed over");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    context.check().await;
}

#[test]
fn a_broken_page_token_is_invalid_and_named() {
    let (long, late) = (format!("1.2.{}", "x".repeat(129)), format!("{}.0.a", 1_u64 << 48));
    for text in ["", "x", "1", "1.2", "1.2.", "1..a", ".2.a", "x.2.a", "1.x.a", "-1.2.a", "1.65536.a"]
        .into_iter()
        .chain([long.as_str(), late.as_str()])
    {
        assert_eq!(refused_field::<Cursor>(text), "cursor", "{text}");
    }
}

/// Rules of which none is the default.
fn rules() -> Rules {
    Rules::new()
        .ttl(Duration::from_secs(71))
        .max_lifetime(Duration::from_secs(720))
        .refresh_threshold(0.73)
        .touch_interval(Duration::from_secs(4))
        .grace(Duration::from_secs(75))
        .rotation_grace(Duration::from_secs(76))
        .tombstone(Duration::from_secs(77))
        .sessions_per_user(8, OnLimit::EvictOldest)
        .id_scheme(IdScheme::Token)
        .value_bytes(79)
        .session_bytes(80)
        .session_entries(81)
}

#[test]
fn each_rule_is_told_as_it_was_set() {
    let (rules, seconds) = (rules(), Duration::from_secs);
    assert_eq!(rules.get_ttl(), seconds(71));
    assert_eq!(rules.get_max_lifetime(), Some(seconds(720)));
    assert!((rules.get_refresh_threshold() - 0.73).abs() < f64::EPSILON);
    assert_eq!(rules.get_touch_interval(), seconds(4));
    assert_eq!(rules.get_grace(), seconds(75));
    assert_eq!(rules.get_rotation_grace(), seconds(76));
    assert_eq!(rules.get_tombstone(), seconds(77));
    assert_eq!(rules.get_sessions_per_user(), Some((8, OnLimit::EvictOldest)));
    assert_eq!(rules.get_id_scheme(), IdScheme::Token);
    assert_eq!((rules.get_value_bytes(), rules.get_session_bytes()), (79, 80));
    assert_eq!(rules.get_session_entries(), 81);
}

#[rstest]
#[tokio::test]
async fn a_store_tells_its_rules_and_a_fallback_store_those_of_the_store_behind_it(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    assert_eq!(store.rules(), &rules());
    let fallback = FallbackStore::builder(store.clone()).build().unwrap();
    assert_eq!(SessionStore::rules(&fallback), &rules());
    assert_eq!(store.with_operation_id(OperationId::random()).rules(), &rules());
    // The defaults, where none were set.
    let context = Context::on(on).await;
    assert_eq!(context.store(Rules::new()).await.rules(), &Rules::default());
}

/// The time that a number of milliseconds is.
fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[rstest]
#[tokio::test]
async fn times_are_told_as_milliseconds_and_as_the_same_system_time(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().max_lifetime(Duration::from_secs(7200))).await;
    let made = context.session(&store, "a").await;
    context.clock.advance(Duration::from_millis(1001));
    let refreshed = store.refresh(&made).await.unwrap().unwrap();
    assert_eq!(refreshed.last_active_ms, context.clock.now_ms());
    assert_eq!(refreshed.last_active(), at(refreshed.last_active_ms));
    assert_eq!(refreshed.expires_at(), at(refreshed.expires_at_ms));
    let patched = store.patch(&made, Patch::new().ttl(Duration::from_secs(60))).await.unwrap();
    assert_eq!(patched.expires_at(), at(patched.expires_at_ms));

    let session = store.get(made.id()).await.unwrap().unwrap();
    let times = [session.created_at_ms(), session.last_active_ms(), session.expires_at_ms()];
    let now = context.clock.now_ms();
    assert_eq!(times, [now - 1001, now, now + 60_000]);
    assert_eq!([session.created_at(), session.last_active(), session.expires_at()], times.map(at));
    assert_eq!(session.deadline_ms(), Some(now - 1001 + 7_200_000));
    assert_eq!(session.deadline(), session.deadline_ms().map(at));
    let endless = context.store_at(Rules::new()).await.create(NewSession::new()).await.unwrap().session;
    assert_eq!((endless.deadline_ms(), endless.deadline()), (None, None));

    let frozen = store.freeze(&session, Freezing::new(TaskId::random(), "elsewhere")).await.unwrap();
    assert_eq!(frozen.until(), at(frozen.until_ms));
    register(&store, "n").await;
    let node = store.nodes().await.unwrap().remove(0);
    assert_eq!(node.lease_until(), at(node.lease_until_ms));
    context.clock.advance(Duration::from_secs(3600));
    let expired = store.expired(None, 0, 10).await.unwrap();
    assert_eq!(expired.len(), 2);
    assert!(expired.iter().all(|expired| expired.expired_at() == at(expired.expired_at_ms)));
}
