//! How long sessions live.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::MemoryStore;
use cloakroom::testing::TestClock;
use time::OffsetDateTime;
use tower_sessions::Expiry;

use crate::support::{Place, places, rules};

#[tokio::test]
async fn each_save_begins_the_time_anew_and_a_read_does_not() {
    let clock = TestClock::new();
    let sessions = MemoryStore::builder().rules(rules()).clock(clock.clone()).build().unwrap();
    let place = Place::new(Arc::new(sessions), None);
    let half_an_hour = Some(Expiry::OnInactivity(time::Duration::minutes(30)));

    let request = place.request(None);
    request.set_expiry(half_an_hour);
    request.insert("user", "ann").await.unwrap();
    request.save().await.unwrap();
    let id = request.id().unwrap();
    for _ in 0..5 {
        clock.advance(Duration::from_secs(29 * 60));
        let request = place.request(Some(id));
        request.set_expiry(half_an_hour);
        request.get_value("user").await.unwrap();
        request.save().await.unwrap();
    }
    clock.advance(Duration::from_secs(29 * 60));
    let late = place.request(Some(id));
    assert_eq!(late.get::<String>("user").await.unwrap().as_deref(), Some("ann"));
    clock.advance(Duration::from_secs(60));
    assert_eq!(place.read(id, "user").await, None);
    assert!(late.save().await.is_err(), "what has expired is not brought back");
}

#[tokio::test]
async fn an_expiry_that_is_over_ends_the_session() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let request = place.request(Some(id));
        request.get_value("user").await.unwrap();
        request.set_expiry(Some(Expiry::AtDateTime(OffsetDateTime::now_utc())));
        request.save().await.unwrap();
        assert!(place.of_user("ann").await.is_empty());
    }
}
