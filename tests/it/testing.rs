//! What the crate has for the tests of a service.

use cloakroom::testing::{TestClock, TestServer};
use cloakroom::{NewSession, RedisStore, Rules, SessionStore};
use std::time::Duration;

#[tokio::test]
async fn a_server_of_a_test_serves_and_is_gone_when_it_is_dropped() {
    let server = TestServer::start().unwrap();
    let clock = TestClock::new();
    let rules = Rules::new().ttl(Duration::from_secs(60));
    let store = RedisStore::builder(server.url()).rules(rules).clock(clock.clone()).build().await.unwrap();
    let session = store.create(NewSession::new()).await.unwrap().session;
    clock.advance(Duration::from_secs(59));
    assert!(store.get(session.id()).await.unwrap().is_some());
    clock.advance(Duration::from_secs(1));
    assert!(store.get(session.id()).await.unwrap().is_none());
    let url = server.url().to_owned();
    drop(server);
    let error = RedisStore::builder(url).build().await.unwrap_err();
    assert!(error.is_not_executed(), "{error}");
}

#[tokio::test]
async fn servers_of_tests_that_run_at_once_are_each_their_own() {
    let servers: Vec<TestServer> = (0..4).map(|_| TestServer::start().unwrap()).collect();
    for server in &servers {
        let store = RedisStore::builder(server.url()).build().await.unwrap();
        store.create(NewSession::new().user("ann")).await.unwrap();
        assert_eq!(store.count(&cloakroom::Selector::user("ann")).await.unwrap(), 1);
    }
}
