//! The index of users, and what goes to the server.

use actix_session::SessionMiddleware;
use actix_session::storage::{LoadError, SessionStore as _};
use actix_web::cookie::Key;
use actix_web::http::StatusCode;
use actix_web::{App, test, web};
use cloakroom::{OnLimit, Token};
use cloakroom_actix_session::CloakroomStore;

use crate::support::{HOUR, Place, insert, key, places, redis, redis_alone, rules};

async fn ids(place: &Place, user: &str) -> Vec<String> {
    place.of_user(user).await.iter().map(|session| session.id().as_str().to_owned()).collect()
}

/// The id under which the session of a key is stored.
fn stored(key: &str) -> String {
    Token::parse(key).unwrap().id().as_str().to_owned()
}

#[actix_web::test]
async fn a_login_lists_the_session_a_new_key_keeps_it_listed_and_a_logout_takes_it_off() {
    for place in places(rules()).await {
        let visitor = place.session(&[("cart", "umbrella")]).await;
        let mut state = place.load(&visitor).await.unwrap();
        insert(&mut state, "user", "ann");
        let session = place.renew(&visitor, state).await.unwrap();
        assert_eq!(ids(&place, "ann").await, [stored(&session)]);
        assert_eq!(place.load(&visitor).await, None);

        let state = place.load(&session).await.unwrap();
        let session = place.renew(&session, state).await.unwrap();
        assert_eq!(ids(&place, "ann").await, [stored(&session)]);
        assert_eq!(place.read(&session, "cart").await.as_deref(), Some("umbrella"));

        place.store.delete(&key(&session)).await.unwrap();
        assert!(ids(&place, "ann").await.is_empty());
        assert_eq!(place.load(&session).await, None);
    }
}

#[actix_web::test]
async fn a_session_gets_its_user_and_loses_it_without_a_new_key_too() {
    // With several partitions another user may need another key.
    for place in &places(rules()).await[..2] {
        let session = place.session(&[("cart", "umbrella")]).await;
        for user in ["ann", "bob"] {
            let mut state = place.load(&session).await.unwrap();
            insert(&mut state, "user", user);
            place.update(&session, state).await.unwrap();
            assert_eq!(ids(place, user).await, [stored(&session)]);
        }
        assert!(ids(place, "ann").await.is_empty());
        let mut state = place.load(&session).await.unwrap();
        state.remove("user");
        place.update(&session, state).await.unwrap();
        assert!(ids(place, "bob").await.is_empty());
        assert_eq!(place.read(&session, "cart").await.as_deref(), Some("umbrella"));
    }
}

#[actix_web::test]
async fn a_user_may_be_a_number_or_what_a_function_makes_of_the_state() {
    let place = redis(rules(), 1).await;
    for (json, user) in [("7", "7"), ("\"a\\\"n\"", "a\"n")] {
        place.store.save([("user".to_owned(), json.to_owned())].into(), &HOUR).await.unwrap();
        assert_eq!(ids(&place, user).await.len(), 1);
    }
    place.store.save([("user".to_owned(), "null".to_owned())].into(), &HOUR).await.unwrap();
    assert!(ids(&place, "null").await.is_empty());
    let store =
        CloakroomStore::new(place.sessions.clone()).user_from(|state| Some(format!("{} keys", state.len())));
    store.save([("a".to_owned(), "1".to_owned())].into(), &HOUR).await.unwrap();
    assert_eq!(ids(&place, "1 keys").await.len(), 1);
}

#[actix_web::test]
async fn one_session_more_than_a_user_may_have_ends_the_oldest() {
    for place in places(rules().sessions_per_user(1, OnLimit::EvictOldest)).await {
        let first = place.session(&[("user", "ann")]).await;
        let second = place.session(&[("user", "ann")]).await;
        assert_eq!(ids(&place, "ann").await, [stored(&second)]);
        assert_eq!(place.load(&first).await, None);
    }
}

#[actix_web::test]
async fn the_hash_that_is_stored_is_no_key() {
    let place = redis(rules(), 1).await;
    let session = place.session(&[("user", "ann")]).await;
    let id = ids(&place, "ann").await.remove(0);
    assert_eq!(place.load(&id).await, None);
    assert!(place.load(&session).await.is_some());
}

#[actix_web::test]
async fn a_store_that_is_away_is_an_error_and_never_no_session() {
    let mut place = redis_alone(rules()).await;
    let session = place.session(&[("user", "ann")]).await;
    drop(place.server.take());
    let Err(LoadError::Other(error)) = place.store.load(&key(&session)).await else {
        panic!("no error");
    };
    assert!(error.downcast_ref::<cloakroom::Error>().is_some_and(cloakroom::Error::is_not_executed));
    assert!(
        place.store.delete(&key(&session)).await.is_err(),
        "a logout that did not happen is not said to have"
    );

    let middleware = SessionMiddleware::new(place.store.clone(), Key::generate());
    let handler = |session: actix_session::Session| async move { session.insert("a", 1).map(|()| "ok") };
    let app = test::init_service(App::new().wrap(middleware).route("/", web::get().to(handler))).await;
    let answer = test::try_call_service(&app, test::TestRequest::get().to_request()).await;
    assert_eq!(answer.unwrap_err().error_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
}
