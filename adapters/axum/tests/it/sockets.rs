//! Sockets that close when their session ends.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use cloakroom_axum::{Ended, Session, SessionError, SessionLayer};
use tokio::sync::mpsc;

use crate::browser::Browser;
use crate::service::{BOTH, Service};

/// Opens a socket, as a handler does that upgrades, and gives what it waits for.
async fn socket(service: &Service, browser: &Browser) -> Option<Ended> {
    let (sender, mut receiver) = mpsc::channel(1);
    let open = get(async move |session: Session| -> Result<(), SessionError> {
        sender.send(session.ended().await?).await.unwrap();
        Ok(())
    });
    let layer = SessionLayer::new(Arc::clone(&service.store)).unwrap().watcher(service.watcher.clone());
    let mut tab = Browser::of(&Router::new().route("/", open).layer(layer));
    tab.cookie.clone_from(&browser.cookie);
    assert_eq!(tab.get("/").await.status, 200);
    receiver.recv().await.unwrap()
}

/// Whether it has ended; what waits has had its turn.
async fn has_ended(ended: &mut Ended) -> bool {
    tokio::select! {
        biased;
        () = ended.wait() => true,
        () = std::future::ready(()) => false,
    }
}

#[tokio::test]
async fn each_tab_has_a_socket_and_all_end_with_the_session() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let [mut browser, mut other] = [(); 2].map(|()| Browser::of(&service.app));
        browser.post("/login/ann").await;
        other.post("/login/ben").await;
        let mut tabs = [socket(&service, &browser).await.unwrap(), socket(&service, &browser).await.unwrap()];
        let mut others = socket(&service, &other).await.unwrap();
        browser.post("/set/cart/tea").await;
        assert!(!has_ended(&mut tabs[0]).await);
        let mut elsewhere = Browser::of(&service.app);
        elsewhere.post("/login/ann").await;
        elsewhere.post("/logout-everywhere").await;
        for tab in &mut tabs {
            tab.wait().await;
        }
        assert!(!has_ended(&mut others).await);
    }
}

#[tokio::test]
async fn a_socket_follows_its_session_through_a_login() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        browser.post("/set/cart/tea").await;
        let mut tab = socket(&service, &browser).await.unwrap();
        browser.post("/login/ann").await;
        // Another that is told later: so the login was told.
        let mut another = Browser::of(&service.app);
        another.post("/login/ben").await;
        let mut others = socket(&service, &another).await.unwrap();
        another.post("/logout").await;
        others.wait().await;
        assert!(!has_ended(&mut tab).await);
        browser.post("/logout").await;
        tab.wait().await;
    }
}

#[tokio::test]
async fn there_is_no_socket_without_a_session_and_one_whose_session_ended_before_ends_at_once() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        let mut browser = Browser::of(&service.app);
        assert!(socket(&service, &browser).await.is_none());
        browser.post("/login/ann").await;
        let stale = browser.clone();
        browser.post("/logout").await;
        assert!(socket(&service, &stale).await.is_none());
    }
}

#[tokio::test]
async fn a_socket_ends_when_its_user_logs_out_and_the_session_goes_on() {
    for stored in BOTH {
        let service = Service::start(stored).await;
        for (leave, goes_on_as) in [("/leave", "nobody"), ("/login/ben", "ben")] {
            let mut browser = Browser::of(&service.app);
            browser.post("/login/ann").await;
            let mut tab = socket(&service, &browser).await.unwrap();
            browser.post("/login/ann").await;
            assert!(!has_ended(&mut tab).await);
            browser.post(leave).await;
            tab.wait().await;
            browser.get("/anybody").await.assert_is(goes_on_as);
        }
    }
}
