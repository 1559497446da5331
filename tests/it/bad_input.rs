//! Bad input is named with its limit, and nothing changes; so is garbage under our keys.

mod planted;
mod world;

use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::{
    Binding, Entries, Error, Invalid, NewSession, PageRequest, Patch, Refusal, Result, Rotation, Rules,
    Selector, SessionId,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store};
use crate::support::expect::refusal;

/// Each call, made already, with the text of the error that it has to end in.
fn assert_invalid(cases: Vec<(&str, Result<()>)>) {
    for (expected, result) in cases {
        match result {
            Err(error @ Error::Invalid(_)) => assert_eq!(error.to_string(), expected),
            other => panic!("not invalid, but should be \"{expected}\": {other:?}"),
        }
    }
}

const LONG_USER: &str = "user id is 257 bytes, at most 256";
const LONG_CONNECTION: &str = "connection id is 257 bytes, at most 256";
const LONG_NODE: &str = "node id is 257 bytes, at most 256";
const NO_USER: &str = "user id is empty";
const NO_CONNECTION: &str = "connection id is empty";
const NO_NODE: &str = "node id is empty";

#[rstest]
#[tokio::test]
async fn names_that_are_too_long_or_empty_are_refused_by_every_operation_that_takes_one(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    // 257 bytes in 129 characters: what counts is bytes.
    let long = format!("{}x", "é".repeat(128));
    let mut copies = [(); 3].map(|()| session.clone());
    copies[0].set_user(&*long);
    copies[1].set_connection(&*long);
    copies[2].set_node(&*long);
    let [user, connection, node] = &mut copies;
    let new = NewSession::new;
    let list = async |owner: Selector| store.list(&owner, &PageRequest::first(1)).await.map(drop);
    let count = async |owner: Selector| store.count(&owner).await.map(drop);
    let login = Rotation::new().user(&*long);
    let many = async |new: NewSession| store.create_many(vec![new]).await.remove(0).map(drop);
    assert_invalid(vec![
        (LONG_USER, store.create(new().user(&*long)).await.map(drop)),
        (LONG_CONNECTION, store.create(new().connection(&*long)).await.map(drop)),
        (LONG_NODE, store.create(new().node(&*long)).await.map(drop)),
        (LONG_USER, many(new().user(&*long)).await),
        (LONG_CONNECTION, many(new().connection(&*long)).await),
        (LONG_NODE, many(new().node(&*long)).await),
        (LONG_USER, store.update(user).await),
        (LONG_CONNECTION, store.update(connection).await),
        (LONG_NODE, store.update(node).await),
        (LONG_USER, store.rotate(&session, login).await.map(drop)),
        (LONG_CONNECTION, store.bind(&session, Binding::new(&*long)).await.map(drop)),
        (LONG_NODE, store.bind(&session, Binding::new("c").node(&*long)).await.map(drop)),
        (NO_CONNECTION, store.bind(&session, Binding::new("")).await.map(drop)),
        (LONG_CONNECTION, store.unbind(&session, &long).await.map(drop)),
        (NO_CONNECTION, store.unbind(&session, "").await.map(drop)),
        (LONG_CONNECTION, store.session_by_connection(&long).await.map(drop)),
        (NO_CONNECTION, store.session_by_connection("").await.map(drop)),
        (LONG_USER, store.delete_user(&long, None).await.map(drop)),
        (NO_USER, store.delete_user("", None).await.map(drop)),
        (LONG_USER, list(Selector::user(&*long)).await),
        (NO_USER, list(Selector::user("")).await),
        (LONG_NODE, list(Selector::node(&*long)).await),
        (NO_NODE, list(Selector::node("")).await),
        (LONG_USER, count(Selector::user(&*long)).await),
        (NO_NODE, count(Selector::node("")).await),
    ]);
    assert_eq!(context.dump().await, before);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn names_of_any_bytes_up_to_256_are_exact(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let names = [
        "x".repeat(256),
        "é".repeat(128),
        "a:b".to_owned(),
        "{a}:sessions".to_owned(),
        "}{".to_owned(),
        "\u{1F600} \r\n\u{0}\"*?[".to_owned(),
        ":sessions".to_owned(),
        "a".to_owned(),
    ];
    for name in &names {
        let new = NewSession::new().user(name).connection(name).node(name);
        store.create(new).await.unwrap();
    }
    for name in &names {
        assert_eq!(store.count(&Selector::user(name)).await.unwrap(), 1, "{name:?}");
        let found = store.session_by_connection(name).await.unwrap().unwrap();
        assert_eq!([found.user(), found.connection(), found.node()], [Some(name.as_str()); 3]);
        let page = PageRequest::first(10);
        for owner in [Selector::user(name), Selector::node(name)] {
            assert_eq!(store.list(&owner, &page).await.unwrap().sessions, std::slice::from_ref(&found));
        }
    }
    context.check().await;
    for name in &names {
        assert_eq!(store.delete_user(name, None).await.unwrap().removed.len(), 1);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn an_empty_name_means_none(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let new = NewSession::new().user("").connection("").node("");
    let session = store.create(new).await.unwrap().session;
    assert_eq!([session.user(), session.connection(), session.node()], [None; 3]);
    assert_eq!(context.keys().await, [context.key("expiry"), context.record_key(session.id())]);
    context.check().await;
}

#[test]
fn a_session_id_is_1_to_128_bytes() {
    let long = format!("{}x", "é".repeat(64));
    assert_invalid(vec![
        ("session id is empty", SessionId::new("").map(drop).map_err(Error::from)),
        ("session id is 129 bytes, at most 128", SessionId::new(long.clone()).map(drop).map_err(Error::from)),
        ("session id is 129 bytes, at most 128", long.parse::<SessionId>().map(drop).map_err(Error::from)),
    ]);
    assert!(SessionId::new("é".repeat(64)).is_ok());
}

#[rstest]
#[tokio::test]
async fn an_id_of_128_bytes_of_any_kind_is_exact(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    for id in ["é".repeat(64), "{}:*".repeat(32), "\u{0}".to_owned()] {
        let id = SessionId::new(id).unwrap();
        let created = store.create(NewSession::new().id(id.clone())).await.unwrap().session;
        assert_eq!(store.get(&id).await.unwrap(), Some(created));
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn pages_and_batches_have_a_size(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    let list = async |size| store.list(&Selector::user("user-a"), &PageRequest::first(size)).await.map(drop);
    let second = Duration::from_secs(1);
    let reaper = |every, batch| Reaper::builder(store.clone()).every(every).batch(batch).spawn().map(drop);
    assert_invalid(vec![
        ("page size is 0, must be 1 to 500", list(0).await),
        ("page size is 501, must be 1 to 500", list(501).await),
        ("page size is 0, must be 1 to 1000", store.expired(None, 0, 0).await.map(drop)),
        ("page size is 1001, must be 1 to 1000", store.expired(None, 0, 1001).await.map(drop)),
        ("batch is 0, must be 1 to 200", store.reap(0).await.map(drop)),
        ("batch is 201, must be 1 to 200", store.reap(201).await.map(drop)),
        ("batch is 201, must be 1 to 200", reaper(second, 201)),
        ("every is 0ns, must be 1ms to 604800s", reaper(Duration::ZERO, 200)),
    ]);
    assert_eq!(list(500).await.map_err(|error| error.to_string()), Ok(()));
    assert!(store.expired(None, 0, 1000).await.unwrap().is_empty());
    assert!(store.reap(200).await.unwrap().sessions.is_empty());
    assert_eq!(context.dump().await, before);
    assert!(store.get(session.id()).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn a_ttl_is_a_millisecond_to_ten_years() {
    let context = Context::redis().await;
    let store = context.store(Rules::new()).await;
    let mut session = context.session(&store, "a").await;
    let before = context.dump().await;
    let long = Duration::from_secs(10 * 365 * 24 * 3600);
    let too_long = long + Duration::from_millis(1);
    for (ttl, expected) in [
        (Duration::ZERO, "ttl is 0ns, must be 1ms to 315360000s"),
        (Duration::from_micros(999), "ttl is 999µs, must be 1ms to 315360000s"),
        (too_long, "ttl is 315360000.001s, must be 1ms to 315360000s"),
    ] {
        session.set_ttl(ttl);
        assert_invalid(vec![
            (expected, store.create(NewSession::new().ttl(ttl)).await.map(drop)),
            (expected, store.create_many(vec![NewSession::new().ttl(ttl)]).await.remove(0).map(drop)),
            (expected, store.patch(&session, Patch::new().ttl(ttl)).await.map(drop)),
            (expected, store.update(&mut session).await),
            (expected, Rules::new().ttl(ttl).validate()),
            (expected, context.builder(Rules::new().ttl(ttl)).build().await.map(drop)),
        ]);
    }
    assert_eq!(context.dump().await, before);
    store.patch(&session, Patch::new().ttl(long)).await.unwrap();
    context.check().await;
}

/// Tries entries in the four operations that take some.
async fn write(store: &Store, id: &SessionId, key: &str, value: &str, extension: bool) -> [Result<()>; 4] {
    let mut entries = Entries::default();
    entries.set(key, value).unwrap();
    let new = NewSession::new();
    let new = if extension { new.extensions(entries.clone()) } else { new.attributes(entries.clone()) };
    let patch = if extension { Patch::new().set_extension(key, value) } else { Patch::new().set(key, value) };
    let mut copy = store.get(id).await.unwrap().unwrap();
    if extension {
        *copy.extensions_mut() = entries;
    } else {
        *copy.attributes_mut() = entries;
    }
    [
        store.create(new.clone()).await.map(drop),
        store.create_many(vec![new]).await.remove(0).map(drop),
        store.update(&mut copy).await,
        store.patch(id, patch.unwrap()).await.map(drop),
    ]
}

#[rstest]
#[tokio::test]
async fn keys_and_values_beyond_their_limits_are_refused_by_every_operation_that_takes_them(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().value_bytes(100)).await;
    let session = context.session(&store, "a").await;
    let before = context.dump().await;
    let long_key = format!("{}xx", "é".repeat(127));
    let long_value = "x".repeat(99);
    for extension in [false, true] {
        for (key, value, expected) in [
            ("", "x", "attribute key is 0 bytes, must be 1 to 255"),
            (&*long_key, "x", "attribute key is 256 bytes, must be 1 to 255"),
            ("a", &*long_value, "attribute value of \"a\" is 101 bytes, at most 100"),
        ] {
            let results = write(&store, session.id(), key, value, extension).await;
            assert_invalid(results.into_iter().map(|result| (expected, result)).collect());
        }
    }
    for patch in [Patch::new().remove(""), Patch::new().remove_extension(&*long_key)] {
        let result = store.patch(&session, patch).await;
        assert!(matches!(result, Err(Error::Invalid(Invalid { field: "attribute key", .. }))));
    }
    assert_eq!(context.dump().await, before);
    for extension in [false, true] {
        let (key, value) = (format!("{}x", "é".repeat(127)), "x".repeat(98));
        for result in write(&store, session.id(), &key, &value, extension).await {
            result.unwrap();
        }
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_session_larger_than_configured_is_too_large_and_nothing_is_written(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().session_bytes(1000)).await;
    let session = store.create(NewSession::new()).await.unwrap().session;
    let before = context.dump().await;
    // Five bytes of header, one of key, two of quotes.
    let value = "x".repeat(993);
    for extension in [false, true] {
        for result in write(&store, session.id(), "a", &value, extension).await {
            let error = result.unwrap_err();
            assert_eq!(error.to_string(), "refused: the session's 1 entries would take 1001 bytes");
            assert_eq!(refusal::<()>(Err(error)), Refusal::TooLarge { bytes: 1001, entries: 1 });
        }
    }
    assert_eq!(context.dump().await, before);
    for result in write(&store, session.id(), "a", &value[1..], false).await {
        result.unwrap();
    }
    context.check().await;
}

#[tokio::test]
async fn a_namespace_is_1_to_64_bytes_without_braces() {
    let context = Context::redis().await;
    let build = async |namespace: &str| {
        let builder = context.builder(Rules::new()).namespace(namespace);
        builder.build().await.map(drop)
    };
    let brace = "namespace has a brace, which would change the hash tag";
    assert_invalid(vec![
        ("namespace is 0 bytes, must be 1 to 64", build("").await),
        ("namespace is 65 bytes, must be 1 to 64", build(&"x".repeat(65)).await),
        (brace, build("a{b").await),
        (brace, build("a}b").await),
    ]);
    build(&"é".repeat(32)).await.unwrap();
}
