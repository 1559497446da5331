//! Login, logout, devices, and forms that others made.

use std::time::Duration;

use axum::http::StatusCode;
use cloakroom::{OnLimit, Selector};

use crate::browser::Browser;
use crate::service::{BOTH, Service, rules};

#[tokio::test]
async fn a_login_keeps_the_cart_of_the_visitor_under_a_new_token() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/cart/tea").await;
        // Who planted a cookie before the login has nothing by it.
        let mut attacker = browser.clone();
        browser.post("/login/ann").await;
        assert_ne!(browser.cookie, attacker.cookie);
        browser.get("/me").await.assert_is("ann");
        browser.get("/get/cart").await.assert_is("tea");

        attacker.get("/get/cart").await.assert_is("");
        assert_eq!(attacker.get("/me").await.status, StatusCode::UNAUTHORIZED);
        attacker.post("/set/cart/poison").await;
        browser.get("/get/cart").await.assert_is("tea");
    }
}

#[tokio::test]
async fn a_login_where_another_user_was_keeps_nothing_of_that_ones() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/login/ann").await;
        browser.post("/set/cart/tea").await;
        browser.post("/login/ben").await;
        browser.get("/me").await.assert_is("ben");
        browser.get("/get/cart").await.assert_is("");
        assert_eq!(service.store.count(&Selector::user("ann")).await.unwrap(), 0);
        // The same user once more has a new token, and the same data.
        browser.post("/set/cart/coffee").await;
        let before = browser.cookie.clone();
        browser.post("/login/ben").await;
        assert_ne!(browser.cookie, before);
        browser.get("/get/cart").await.assert_is("coffee");
        assert_eq!(service.store.count(&Selector::user("ben")).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_request_on_its_way_while_its_browser_logs_in_leaves_the_cookie_alone() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/cart/tea").await;
        let mut late = browser.clone();
        browser.post("/login/ann").await;
        let page = late.get("/get/cart").await;
        page.assert_is("");
        assert_eq!(page.set_cookie(), None);
        let page = late.post("/set/cart/coffee").await;
        assert_eq!((page.status, page.set_cookie()), (StatusCode::OK, None));
        browser.get("/get/cart").await.assert_is("tea");
        // Of two logins at once both are served: each has said a password.
        late.post("/login/ann").await;
        late.get("/me").await.assert_is("ann");
        assert_ne!(late.cookie, browser.cookie);
    }
}

#[tokio::test]
async fn nobody_is_told_to_log_in_and_a_handler_for_all_serves_both() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        assert_eq!(browser.get("/me").await.status, StatusCode::UNAUTHORIZED);
        browser.get("/anybody").await.assert_is("nobody");
        browser.post("/login/ann").await;
        browser.get("/anybody").await.assert_is("ann");
    }
}

#[tokio::test]
async fn devices_are_listed_and_kicked_by_their_user_alone() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let [mut laptop, mut phone, mut other] = [(); 3].map(|()| Browser::of(&service.app));
        laptop.post("/login/ann").await;
        phone.post("/login/ann").await;
        other.post("/login/ben").await;
        let devices = laptop.get("/devices").await.text;
        let is_own = |line: &&str| line.ends_with(" true");
        let (own, others): (Vec<_>, Vec<_>) = devices.lines().partition(is_own);
        assert_eq!((own.len(), others.len()), (1, 1), "{devices}");
        let [own, phones] = [own[0], others[0]].map(|line| line.split_once(' ').unwrap().0);

        other.post(&format!("/kick/{phones}")).await.assert_is("false");
        laptop.post(&format!("/kick/{own}")).await.assert_is("false");
        phone.get("/me").await.assert_is("ann");
        laptop.post(&format!("/kick/{phones}")).await.assert_is("true");
        laptop.post(&format!("/kick/{phones}")).await.assert_is("false");
        assert_eq!(phone.get("/me").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(phone.cookie, None);
        laptop.get("/me").await.assert_is("ann");
        assert_eq!(phone.get("/devices").await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_user_logs_out_elsewhere_and_everywhere() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browsers = [(); 3].map(|()| Browser::of(&service.app));
        for browser in &mut browsers {
            browser.post("/login/ann").await;
        }
        let [mut first, mut second, mut third] = browsers;
        first.post("/logout-elsewhere").await.assert_is("2");
        assert_eq!(second.get("/me").await.status, StatusCode::UNAUTHORIZED);
        first.get("/me").await.assert_is("ann");
        third.post("/login/ann").await;
        third.post("/logout-everywhere").await.assert_is("2");
        assert_eq!(third.cookie, None);
        assert_eq!(first.get("/me").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(first.post("/logout-everywhere").await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_user_with_too_many_sessions_is_told_so() {
    for stored in BOTH {
        let rules = rules().sessions_per_user(1, OnLimit::Reject);
        let service = Service::with_rules(stored, rules).await;
        let mut browsers = [(); 2].map(|()| Browser::of(&service.app));
        assert_eq!(browsers[0].post("/login/ann").await.status, StatusCode::OK);
        assert_eq!(browsers[1].post("/login/ann").await.status, StatusCode::CONFLICT);
        // It stays a visitor's, who asked to be remembered in vain.
        let page = browsers[1].post("/remember/ann/86400").await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        assert!(!page.set_cookie().unwrap().contains("Max-Age"), "{page:?}");
    }
}

#[tokio::test]
async fn only_a_page_of_the_same_session_makes_a_form_that_is_taken() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let [mut browser, mut attacker] = [(); 2].map(|()| Browser::of(&service.app));
        let token = browser.get("/csrf").await.text;
        assert!(browser.cookie.is_some(), "a visitor has a session by it");
        assert_eq!(browser.get("/csrf").await.text, token);
        assert_eq!(browser.post(&format!("/csrf/{token}")).await.status, StatusCode::OK);
        let foreign = attacker.get("/csrf").await.text;
        for other in [foreign.as_str(), "x", &token[1..]] {
            assert_eq!(browser.post(&format!("/csrf/{other}")).await.status, StatusCode::FORBIDDEN);
        }
        browser.post("/login/ann").await;
        assert_eq!(browser.post(&format!("/csrf/{token}")).await.status, StatusCode::FORBIDDEN);
        let mut nobody = Browser::of(&service.app);
        assert_eq!(nobody.post(&format!("/csrf/{token}")).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn who_is_remembered_has_session_and_cookie_for_so_long() {
    for stored in BOTH {
        let rules = rules().max_lifetime(Duration::from_secs(3_600));
        let service = Service::with_rules(stored, rules).await;
        for visitor in [true, false] {
            let mut browser = Browser::of(&service.app);
            if visitor {
                browser.post("/set/cart/tea").await;
            }
            let page = browser.post("/remember/ann/86400").await;
            assert!(page.set_cookie().unwrap().ends_with("Max-Age=86400"), "{page:?}");
            browser.get("/get/signed-in").await.assert_is("yes");
            let token = browser.cookie.unwrap().parse::<cloakroom::Token>().unwrap();
            let session = service.store.get(&token).await.unwrap().unwrap();
            assert_eq!(session.ttl(), Duration::from_secs(86_400));
            let lifetime = session.deadline_ms().unwrap() - session.last_active_ms();
            assert!((80_000_000..=86_400_000).contains(&lifetime), "whatever the rules say: {lifetime}");
        }
    }
}

#[tokio::test]
async fn a_logout_that_keeps_the_cart_leaves_a_visitor_under_a_new_token() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/leave").await;
        assert_eq!(browser.cookie, None);
        browser.post("/login/ann").await;
        browser.post("/set/cart/tea").await;
        let mut before = browser.clone();
        browser.post("/leave").await;
        assert_ne!(browser.cookie, before.cookie);
        browser.get("/get/cart").await.assert_is("tea");
        browser.get("/anybody").await.assert_is("nobody");
        before.get("/anybody").await.assert_is("nobody");
        assert_eq!(service.store.count(&Selector::user("ann")).await.unwrap(), 0);
    }
}
