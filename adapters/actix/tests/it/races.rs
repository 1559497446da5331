//! Requests of one session at once.

use actix_session::storage::SessionStore as _;
use cloakroom::{Rotation, Token};
use cloakroom_actix_session::State;
use futures_util::future::join;

use crate::support::{insert, key, places, rules};

const ENDED: &str = "the session has ended since it was loaded";

#[actix_web::test]
async fn a_late_renew_after_log_out_everywhere_brings_nothing_back() {
    for place in places(rules()).await {
        let session = place.session(&[("user", "ann")]).await;
        let late = place.load(&session).await.unwrap();
        assert_eq!(place.sessions.delete_user("ann", None).await.unwrap().removed.len(), 1);
        assert_eq!(place.renew(&session, late).await.unwrap_err(), ENDED);
        assert!(place.of_user("ann").await.is_empty());
        assert_eq!(place.load(&session).await, None);
    }
}

#[actix_web::test]
async fn what_was_logged_out_stays_so_whatever_a_request_does_that_had_loaded_it() {
    for place in places(rules()).await {
        let session = place.session(&[("user", "ann")]).await;
        let (mut updates, renews) =
            (place.load(&session).await.unwrap(), place.load(&session).await.unwrap());
        insert(&mut updates, "late", "x");
        place.store.delete(&key(&session)).await.unwrap();
        assert!(place.update(&session, updates).await.is_err());
        assert!(place.update(&session, Default::default()).await.is_err());
        assert_eq!(place.renew(&session, renews).await.unwrap_err(), ENDED);
        assert!(place.of_user("ann").await.is_empty());
        assert_eq!(place.load(&session).await, None);
    }
}

#[actix_web::test]
async fn of_two_requests_that_renew_a_session_at_once_one_does() {
    for place in places(rules()).await {
        let session = place.session(&[("user", "ann")]).await;
        let renewal = || {
            let (store, session) = (place.store.clone(), session.clone());
            async move {
                let state = store.load(&key(&session)).await.unwrap();
                (store, session, state)
            }
        };
        let (one, other) = join(renewal(), renewal()).await;
        // Each in a task of its own, as the server has them.
        let renew =
            |(store, session, state): (cloakroom_actix_session::CloakroomStore, String, Option<_>)| {
                actix_web::rt::spawn(async move {
                    store.delete(&key(&session)).await.unwrap();
                    store.save(state.unwrap_or_default(), &crate::support::HOUR).await.is_ok()
                })
            };
        let (one, other) = join(renew(one), renew(other)).await;
        assert!(one.unwrap() != other.unwrap());
        assert_eq!(place.of_user("ann").await.len(), 1);
    }
}

#[actix_web::test]
async fn requests_that_change_different_keys_both_survive() {
    for place in places(rules()).await {
        let session = place.session(&[("user", "ann"), ("theme", "dark"), ("draft", "x")]).await;
        let (mut one, mut other) = (place.load(&session).await.unwrap(), place.load(&session).await.unwrap());
        insert(&mut one, "theme", "light");
        insert(&mut other, "cart", "umbrella");
        other.remove("draft");
        place.update(&session, one).await.unwrap();
        place.update(&session, other).await.unwrap();
        assert_eq!(place.read(&session, "theme").await.as_deref(), Some("light"));
        assert_eq!(place.read(&session, "cart").await.as_deref(), Some("umbrella"));
        assert_eq!(place.read(&session, "draft").await, None);
        // The note that a state has of its load is not stored.
        assert_eq!(place.of_user("ann").await[0].attributes().len(), 3);
    }
}

#[actix_web::test]
async fn a_session_that_is_cleared_keeps_its_key_and_nothing_else() {
    for place in places(rules()).await {
        let session = place.session(&[("user", "ann"), ("cart", "umbrella")]).await;
        let mut state = place.load(&session).await.unwrap();
        state.clear();
        insert(&mut state, "cart", "gloves");
        place.update(&session, state).await.unwrap();
        assert_eq!(place.read(&session, "cart").await.as_deref(), Some("gloves"));
        assert_eq!(place.read(&session, "user").await, None);
        assert!(place.of_user("ann").await.is_empty());
    }
}

#[actix_web::test]
async fn what_another_service_gave_a_new_id_reads_by_its_old_key_and_is_not_saved() {
    for place in places(rules()).await {
        let session = place.session(&[("user", "ann")]).await;
        let mut before = place.load(&session).await.unwrap();
        insert(&mut before, "late", "x");
        place.sessions.rotate(&Token::parse(&session).unwrap(), Rotation::new()).await.unwrap();
        let behind = place.load(&session).await.unwrap();
        assert_eq!(behind.get("user").map(String::as_str), Some("\"ann\""));
        for state in [behind, before, State::new()] {
            assert_eq!(place.update(&session, state).await.unwrap_err(), "the session has another id by now");
        }
        assert_eq!(place.of_user("ann").await.len(), 1);
    }
}

#[actix_web::test]
async fn two_logins_of_one_visitor_at_once_are_two_sessions_and_the_visitors_key_leads_to_neither() {
    for place in places(rules()).await {
        let visitor = place.session(&[("cart", "umbrella")]).await;
        let logins = [place.load(&visitor).await.unwrap(), place.load(&visitor).await.unwrap()];
        for mut login in logins {
            insert(&mut login, "user", "ann");
            let session = place.renew(&visitor, login).await.unwrap();
            assert_eq!(place.read(&session, "cart").await.as_deref(), Some("umbrella"));
        }
        assert_eq!(place.of_user("ann").await.len(), 2);
        assert_eq!(place.load(&visitor).await, None);
    }
}
