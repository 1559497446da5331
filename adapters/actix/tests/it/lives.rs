//! How long sessions live.

use std::sync::Arc;
use std::time::Duration;

use actix_session::storage::SessionStore as _;
use cloakroom::MemoryStore;
use cloakroom::testing::TestClock;

use crate::support::{HOUR, Place, key, rules};

/// In memory, with a clock that the test moves.
fn place() -> (Place, TestClock) {
    let clock = TestClock::new();
    let rules = rules().refresh_threshold(1.0);
    let sessions = MemoryStore::builder().rules(rules).clock(clock.clone()).build().unwrap();
    (Place::new(Arc::new(sessions), None), clock)
}

#[actix_web::test]
async fn each_update_begins_the_time_anew_and_a_read_does_not() {
    let (place, clock) = place();
    let session = place.session(&[("user", "ann")]).await;
    for _ in 0..5 {
        clock.advance(Duration::from_secs(59 * 60));
        let state = place.load(&session).await.unwrap();
        place.update(&session, state).await.unwrap();
    }
    clock.advance(Duration::from_secs(59 * 60));
    let late = place.load(&session).await.unwrap();
    clock.advance(Duration::from_secs(60));
    assert_eq!(place.load(&session).await, None);
    assert!(place.update(&session, late).await.is_err(), "what has expired is not brought back");
}

#[actix_web::test]
async fn a_session_is_extended_at_each_request_where_the_middleware_asks_for_it() {
    let (place, clock) = place();
    let session = place.session(&[("user", "ann")]).await;
    for _ in 0..5 {
        clock.advance(Duration::from_secs(59 * 60));
        place.store.update_ttl(&key(&session), &HOUR).await.unwrap();
    }
    assert!(place.load(&session).await.is_some());
    clock.advance(Duration::from_secs(60 * 60));
    place.store.update_ttl(&key(&session), &HOUR).await.unwrap();
    assert_eq!(place.load(&session).await, None);
}
