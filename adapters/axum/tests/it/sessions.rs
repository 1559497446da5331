//! Attributes, and what becomes of them when requests meet.

use crate::browser::Browser;
use crate::service::{BOTH, Service};
use axum::http::StatusCode;

#[tokio::test]
async fn a_request_reads_what_it_set_and_removed_and_so_does_the_next() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/cart/tea").await.assert_is("tea");
        browser.post("/set/cart/coffee").await.assert_is("coffee");
        browser.get("/get/cart").await.assert_is("coffee");
        browser.post("/remove/cart").await.assert_is("");
        browser.get("/get/cart").await.assert_is("");
    }
}

#[tokio::test]
async fn two_requests_at_once_that_set_different_keys_both_get_what_they_want() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/seen/yes").await;
        let mut other_tab = browser.clone();
        let slow = tokio::spawn(async move { other_tab.post("/read-and-hold/cart/tea").await });
        service.gate.entered.acquire().await.unwrap().forget();
        browser.post("/set/theme/dark").await.assert_is("dark");
        service.gate.open.add_permits(1);
        assert_eq!(slow.await.unwrap().set_cookie(), None);
        browser.get("/get/cart").await.assert_is("tea");
        browser.get("/get/theme").await.assert_is("dark");
    }
}

#[tokio::test]
async fn of_a_response_that_failed_nothing_is_saved() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        let failed = browser.post("/set-and-fail/cart/tea").await;
        assert_eq!((failed.status, failed.set_cookie()), (StatusCode::INTERNAL_SERVER_ERROR, None));
        browser.post("/set/cart/coffee").await;
        browser.post("/set-and-fail/cart/tea").await;
        browser.get("/get/cart").await.assert_is("coffee");
    }
}

#[tokio::test]
async fn a_session_that_ends_while_a_request_has_it_does_not_come_back() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/login/ann").await;
        let mut other_tab = browser.clone();
        let slow = tokio::spawn(async move { (other_tab.post("/read-and-hold/cart/tea").await, other_tab) });
        service.gate.entered.acquire().await.unwrap().forget();
        browser.post("/logout").await;
        assert_eq!(browser.cookie, None);
        service.gate.open.add_permits(1);
        let (page, other_tab) = slow.await.unwrap();
        page.assert_is("ann");
        assert_eq!(other_tab.cookie, None, "its cookie goes");
        let ann = cloakroom::Selector::user("ann");
        assert_eq!(service.store.count(&ann).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_cookie_of_a_session_that_is_gone_is_taken_away_or_gets_a_new_session() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/cart/tea").await;
        let gone = browser.cookie.clone();
        let token = gone.as_deref().unwrap().parse::<cloakroom::Token>().unwrap();
        service.store.delete(&token).await.unwrap();

        browser.get("/nothing").await;
        assert_eq!(browser.cookie, gone, "nobody asked for it");
        browser.get("/get/cart").await.assert_is("");
        assert_eq!(browser.cookie, None);

        browser.cookie.clone_from(&gone);
        browser.post("/set/cart/coffee").await.assert_is("coffee");
        assert!(browser.cookie.is_some() && browser.cookie != gone, "no client chooses its token");
        browser.get("/get/cart").await.assert_is("coffee");
    }
}
