//! Any text of up to 256 bytes is a user, connection or node, exactly.

use std::time::Duration;

use cloakroom::{Error, Invalid, NewSession, PageRequest, Selector};
use rstest::rstest;

use super::rules;
use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::session_id as id;

#[rstest]
#[tokio::test]
async fn names_with_any_characters_are_exact_and_never_collide(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let longest = "x".repeat(256);
    let names = [
        "a",
        "a:b",
        "b",
        "a:sessions",
        "{a}",
        "}{",
        "{",
        "*",
        " ",
        "é",
        "e\u{301}",
        "日本",
        "a\0",
        "a\r\n",
        &longest,
    ];
    for name in names {
        let new = NewSession::new().id(id(&format!("of {}", &name[..name.len().min(20)])));
        store.create(new.user(name).connection(name).node(name)).await.unwrap();
    }
    for name in names {
        let expected = id(&format!("of {}", &name[..name.len().min(20)]));
        for owner in [Selector::user(name), Selector::node(name)] {
            let page = store.list(&owner, &PageRequest::first(10)).await.unwrap();
            let [session] = page.sessions.as_slice() else {
                panic!("{name:?} has {} sessions", page.sessions.len())
            };
            assert_eq!(session.id(), &expected, "{name:?}");
        }
        let session = store.session_by_connection(name).await.unwrap().unwrap();
        assert_eq!((session.id(), session.user()), (&expected, Some(name)));
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_name_of_257_bytes_is_refused_as_invalid_and_nothing_is_written(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(rules()).await;
    let long = "x".repeat(257);
    for (new, named) in [
        (NewSession::new().user(&long), "user id"),
        (NewSession::new().connection(&long), "connection id"),
        (NewSession::new().node(&long), "node id"),
        (NewSession::new().ttl(Duration::ZERO), "ttl"),
    ] {
        let error = store.create(new).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field, .. }) if field == named), "{error:?}");
    }
    assert!(context.keys().await.is_empty());
}
