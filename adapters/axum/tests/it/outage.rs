//! A store that is away.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;

use crate::browser::Browser;
use crate::service::{Service, Stored};

#[tokio::test]
async fn a_store_that_is_away_is_a_503_and_logs_nobody_out() {
    let mut service = Service::start(Stored::InRedis).await;
    let mut browser = Browser::of(&service.app);
    browser.post("/login/ann").await;
    let cookie = browser.cookie.clone();
    drop(service.server.take());
    let read = browser.get("/me").await;
    let set = browser.post("/set/cart/tea").await;
    let logout = browser.post("/logout").await;
    for page in [read, set, logout] {
        assert_eq!((page.status, page.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{page:?}");
        assert_eq!(page.headers.get(RETRY_AFTER).unwrap(), "1");
    }
    assert_eq!(browser.cookie, cookie);
    assert_eq!(browser.get("/nothing").await.status, StatusCode::OK);
}
