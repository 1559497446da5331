//! What goes into a session comes out equal, up to the configured size.

use cloakroom::{Entries, Error, Invalid, NewSession, PageRequest, Refusal, Rules, Selector};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis};
use crate::support::expect::session_id as id;

const MIB: usize = 1024 * 1024;

fn delicate_values() -> Vec<Value> {
    vec![
        json!(""),
        json!("\u{0}\u{1}\u{7f}\u{80}\u{ff}\r\n\"\\ and \u{1F9E5}"),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.1),
        json!(1e300),
        json!([]),
        json!({}),
        json!([[], {}, [null], {"": {}}]),
        json!(null),
        json!(true),
        // With its quotes, exactly the largest value that the default rules allow.
        json!("x".repeat(MIB - 2)),
    ]
}

#[rstest]
#[tokio::test]
async fn every_value_comes_back_equal_as_attribute_and_as_extension(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().session_bytes(4 << 20).value_bytes(2 << 20)).await;
    let (mut attributes, mut extensions) = (Entries::default(), Entries::default());
    let keys = ["a", ":", "{}", "é", "\u{0}", " "];
    for (number, value) in delicate_values().iter().enumerate() {
        let key = format!("{}{number}", keys[number % keys.len()]);
        attributes.set(key.clone(), value).unwrap();
        extensions.set(key, &json!([value.as_str().map(str::len), number])).unwrap();
    }
    attributes.set("k".repeat(255), &1).unwrap();
    let new = NewSession::new().id(id("s")).user("ann").connection("socket");
    let new = new.attributes(attributes.clone()).extensions(extensions.clone());
    store.create(new).await.unwrap();

    let page = store.list(&Selector::user("ann"), &PageRequest::first(1)).await.unwrap();
    for session in [
        store.get(&id("s")).await.unwrap().unwrap(),
        store.session_by_connection("socket").await.unwrap().unwrap(),
        store.refresh_and_get(&id("s")).await.unwrap().unwrap(),
        page.sessions[0].clone(),
    ] {
        // The JSON texts are equal, hence so are the values.
        assert!(session.attributes() == &attributes && session.extensions() == &extensions);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn numbers_beyond_floats_and_empty_collections_keep_their_types(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let new = NewSession::new().id(id("s"));
    let new = new.set("n", &9_007_199_254_740_993_u64).unwrap();
    let new = new.set("list", &Vec::<u8>::new()).unwrap();
    let new = new.set("map", &json!({})).unwrap().set("none", &None::<u8>).unwrap();
    store.create(new).await.unwrap();
    let session = store.get(&id("s")).await.unwrap().unwrap();
    assert_eq!(session.get::<u64>("n").unwrap(), Some(9_007_199_254_740_993));
    let texts: Vec<_> = session.attributes().iter().collect();
    assert_eq!(texts, [("list", "[]"), ("map", "{}"), ("n", "9007199254740993"), ("none", "null")]);
    assert_eq!(session.get::<Option<u8>>("none").unwrap(), Some(None));
    assert!(matches!(session.get::<u8>("n"), Err(Error::Value { key, .. }) if key == "n"));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_value_or_session_above_its_size_is_refused_and_one_at_it_is_not(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let rules = Rules::new().value_bytes(100).session_bytes(150);
    let store = context.store(rules).await;
    let text = |length: usize| "x".repeat(length - 2);
    let error = store.create(NewSession::new().set("k", &text(101)).unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(Invalid { field: "attribute value", .. })), "{error:?}");
    // Two entries take 5 bytes and a key of one byte each.
    let two = |length| {
        let new = NewSession::new().set("k", &text(100)).unwrap();
        let mut extensions = Entries::default();
        extensions.set("k", &text(length)).unwrap();
        new.extensions(extensions)
    };
    let error = store.create(two(39)).await.unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::TooLarge { bytes: 151, entries: 2 })), "{error:?}");
    assert!(context.keys().await.is_empty());
    store.create(two(38)).await.unwrap();
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_key_that_is_empty_or_of_256_bytes_is_invalid(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    for key in [String::new(), "k".repeat(256)] {
        let error = store.create(NewSession::new().set(key, &1).unwrap()).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field: "attribute key", .. })), "{error:?}");
    }
    assert!(context.keys().await.is_empty());
}
