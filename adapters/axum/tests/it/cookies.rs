//! What the cookie is, and when it is set.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::routing::post;
use cloakroom::{MemoryStore, Rules};
use cloakroom_axum::{SameSite, Session, SessionCookie, SessionLayer};

use crate::browser::Browser;
use crate::service::{BOTH, Service, rules};

#[tokio::test]
async fn who_only_reads_gets_no_session_and_who_sets_gets_one() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        let read = browser.get("/get/cart").await;
        read.assert_is("");
        assert_eq!((read.set_cookie(), read.headers.get(VARY).unwrap().to_str().unwrap()), (None, "cookie"));
        assert_eq!(browser.post("/remove/cart").await.set_cookie(), None);

        let set = browser.post("/set/cart/tea").await;
        let cookie = set.set_cookie().unwrap();
        assert!(cookie.starts_with("__Host-session=ckt_"), "{cookie}");
        let attributes = cookie.split_once("; ").unwrap().1;
        assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/");
        assert_eq!(set.headers.get(CACHE_CONTROL).unwrap(), "no-store");

        let read = browser.get("/get/cart").await;
        read.assert_is("tea");
        assert_eq!(
            (read.set_cookie(), read.headers.get(CACHE_CONTROL).unwrap().to_str().unwrap()),
            (None, "no-store")
        );
        let nothing = browser.get("/nothing").await;
        assert_eq!(
            (nothing.set_cookie(), nothing.headers.get(CACHE_CONTROL)),
            (None, None),
            "nobody asked for it"
        );
    }
}

#[tokio::test]
async fn the_cookie_is_named_and_sent_as_it_is_told() {
    let cases = [
        (SessionCookie::new().name("shop"), "__Host-shop=", "HttpOnly; SameSite=Lax; Secure; Path=/"),
        (
            SessionCookie::new().same_site(SameSite::Strict).max_age(Duration::from_secs(60)),
            "__Host-session=",
            "HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=60",
        ),
        (SessionCookie::new().insecure_dev(), "session=", "HttpOnly; SameSite=Lax; Path=/"),
        (SessionCookie::new().insecure_dev().name("shop"), "shop=", "HttpOnly; SameSite=Lax; Path=/"),
        (SessionCookie::new().name("shop").insecure_dev(), "shop=", "HttpOnly; SameSite=Lax; Path=/"),
    ];
    for (cookie, name, attributes) in cases {
        let store = Arc::new(MemoryStore::builder().rules(rules()).build().unwrap());
        let set = post(async |session: Session| session.set("cart", "tea").await);
        let layer = SessionLayer::new(store).unwrap().cookie(cookie);
        let mut browser = Browser::of(&Router::new().route("/", set).layer(layer));
        let page = browser.post("/").await;
        let header = page.set_cookie().unwrap();
        assert!(header.starts_with(name), "{header}");
        assert_eq!(header.split_once("; ").unwrap().1, attributes);
    }
}

#[tokio::test]
async fn what_is_no_token_is_nobodys_cookie() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/cart/tea").await;
        let token = browser.cookie.clone().unwrap();
        let id = token.parse::<cloakroom::Token>().unwrap().id().as_str().to_owned();
        for cookie in [id.as_str(), "", "ckt_", &token[1..]] {
            browser.cookie = Some(cookie.to_owned());
            browser.get("/get/cart").await.assert_is("");
        }
    }
}

#[tokio::test]
async fn a_store_whose_ids_are_no_hashes_is_refused() {
    let store = Arc::new(MemoryStore::builder().rules(Rules::new()).build().unwrap());
    let error = SessionLayer::new(store).unwrap_err().to_string();
    assert_eq!(error, "id_scheme must be IdScheme::Token");
}
