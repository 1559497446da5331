//! Sessions whose clients hold a token, of which the id is the hash.

use std::collections::BTreeSet;

use cloakroom::{
    Binding, Error, IdScheme, NewSession, OperationId, PageRequest, Patch, Refusal, Rotation, Rules,
    Selector, SessionId, Token,
};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{self, Memory, Near, Redis, Spread};
use crate::support::expect::refusal;

fn rules() -> Rules {
    Rules::new().id_scheme(IdScheme::Token)
}

#[rstest]
#[tokio::test]
async fn a_session_that_is_made_comes_with_the_token_of_its_id(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    let one = store.create(NewSession::new().user("ann")).await.unwrap();
    let many = store.create_many((0..3).map(|_| NewSession::new().user("ann")).collect()).await;
    let mut tokens = BTreeSet::new();
    for created in std::iter::once(one).chain(many.into_iter().map(Result::unwrap)) {
        let token = created.token.unwrap();
        assert_eq!(token.id(), created.session.id());
        assert_eq!(store.get(&Token::parse(token.expose()).unwrap()).await.unwrap(), Some(created.session));
        tokens.insert(token.expose().to_owned());
    }
    assert_eq!(tokens.len(), 4);

    let given = Token::random();
    let created = store.create(NewSession::new().id(given.clone())).await.unwrap();
    assert_eq!((created.session.id(), created.token), (given.id(), Some(given.clone())));
    // Who names an id has the token, if there is one.
    let named = store.create(NewSession::new().id(SessionId::new("device-7").unwrap())).await.unwrap();
    assert_eq!(named.token, None);
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_token_is_taken_where_an_id_is(#[values(Redis, Near, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    let token = store.create(NewSession::new().user("ann")).await.unwrap().token.unwrap();
    assert!(store.get(&token).await.unwrap().is_some());
    assert!(store.get_fresh(&token).await.unwrap().is_some());
    store.patch(&token, Patch::new().set("color", "red").unwrap()).await.unwrap();
    store.bind(&token, Binding::new("c")).await.unwrap();
    assert!(store.refresh(&token).await.unwrap().is_some());
    assert!(store.refresh_and_get(&token).await.unwrap().is_some());
    assert!(store.unbind(&token, "c").await.unwrap());
    let token = store.rotate(&token, Rotation::new()).await.unwrap().token.unwrap();
    assert_eq!(store.get(&token).await.unwrap().unwrap().id(), token.id());
    assert!(store.delete(&token).await.unwrap().is_some());
    assert!(store.get(&token).await.unwrap().is_none());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_rotation_gives_a_token_to_the_one_that_made_it_alone(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    let visitor = store.create(NewSession::new()).await.unwrap();
    let first = store.rotate(&visitor.session, Rotation::new()).await.unwrap();
    let token = first.token.unwrap();
    assert_eq!(token.id(), first.session.id());
    assert_ne!(Some(&token), visitor.token.as_ref());
    // Who is second could not hand its client the new token: it is told that there is one.
    let second = store.rotate(&visitor.session, Rotation::new()).await;
    assert_eq!(refusal(second), Refusal::Rotated { to: None });
    assert_eq!(store.get(visitor.session.id()).await.unwrap().unwrap().id(), token.id());

    // A login, which with several partitions is made in steps.
    for number in 0..8 {
        let visitor = store.create(NewSession::new()).await.unwrap();
        let user = format!("user-{number}");
        let login = store.rotate(&visitor.session, Rotation::new().user(&user)).await.unwrap();
        let token = login.token.unwrap();
        assert_eq!(store.get(&token).await.unwrap().unwrap().user(), Some(&*user));
        let old = visitor.token.unwrap();
        assert_eq!(refusal(store.get(&old).await), Refusal::Rotated { to: None });
        let second = store.rotate(&old, Rotation::new().user(&user)).await;
        assert_eq!(refusal(second), Refusal::Rotated { to: None });
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_call_that_is_repeated_answers_the_same_token(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    let visitor = store.create(NewSession::new()).await.unwrap().session;
    let create = store.with_operation_id(OperationId::random());
    let (one, again) = (
        create.create(NewSession::new().user("ann")).await,
        create.create(NewSession::new().user("ann")).await,
    );
    assert_eq!(one.unwrap().token.unwrap(), again.unwrap().token.unwrap());
    let login = store.with_operation_id(OperationId::random());
    let rotation = || Rotation::new().user("ann");
    let (one, again) = (login.rotate(&visitor, rotation()).await, login.rotate(&visitor, rotation()).await);
    assert_eq!(one.unwrap().token.unwrap(), again.unwrap().token.unwrap());
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn nothing_that_is_stored_or_told_has_the_token_in_it(#[values(Redis, Spread)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(rules()).await;
    let visitor = store.create(NewSession::new()).await.unwrap().token.unwrap();
    let login = store.rotate(&visitor, Rotation::new().user("ann")).await.unwrap();
    let token = login.token.clone().unwrap();
    assert!(!format!("{login:?} {token:?}").contains(&token.expose()[4..]));
    let mut stored = 0;
    for (key, (_, value)) in context.dump().await {
        for secret in [&visitor, &token] {
            let secret = &secret.expose().as_bytes()[4..];
            let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!has(key.as_bytes()) && !has(&value), "{key}");
        }
        stored += 1;
    }
    assert!(stored > 2);
    // A page of a user's devices may show the ids, and end one of them by it.
    let page = store.list(&Selector::user("ann"), &PageRequest::first(9)).await.unwrap();
    assert!(store.delete(&SessionId::new(page.sessions[0].id().as_str()).unwrap()).await.unwrap().is_some());
    assert!(store.get(&token).await.unwrap().is_none());
}

#[rstest]
#[case::one(1)]
#[case::several(16)]
#[tokio::test]
async fn a_store_of_another_scheme_does_not_start(#[case] partitions: u16) {
    for (first, second) in [(IdScheme::Uuid, IdScheme::Token), (IdScheme::Token, IdScheme::Uuid)] {
        let context = Context::redis().await;
        let builder = |scheme| context.builder(Rules::new().id_scheme(scheme)).partitions(partitions);
        builder(first).build().await.unwrap();
        let refused = refusal(builder(second).build().await);
        assert_eq!(refused, Refusal::IdScheme { found: first, wanted: second });
        builder(first).build().await.unwrap();
    }
}

#[test]
fn a_token_is_no_id_and_an_id_no_token() {
    let token = Token::random();
    let Err(error) = SessionId::new(token.expose()) else { panic!("a token was taken for an id") };
    assert!(error.to_string().contains("is a token") && !error.to_string().contains(token.expose()));
    let read = serde_json::from_value::<SessionId>(token.expose().into());
    assert!(!read.unwrap_err().to_string().contains(token.expose()));
    let error: Error = Token::parse(token.id().as_str()).unwrap_err().into();
    assert!(!error.to_string().contains(token.id().as_str()));
}

/// What all languages agree on.
#[test]
fn tokens_have_the_ids_that_all_languages_compute() {
    #[derive(serde::Deserialize)]
    struct Cases {
        tokens: Vec<Case>,
        refused: Vec<String>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        token: String,
        id: String,
    }
    let cases: Cases = serde_json::from_str(include_str!("../../lua/tokens.json")).unwrap();
    assert!(cases.tokens.len() > 2 && cases.refused.len() > 5);
    for case in cases.tokens {
        assert_eq!(Token::parse(&case.token).unwrap().id().as_str(), case.id);
    }
    for text in cases.refused {
        assert!(Token::parse(&text).is_err(), "{text:?}");
    }
}
