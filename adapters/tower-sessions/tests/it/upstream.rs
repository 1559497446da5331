//! The cases that tower-sessions has for its stores: `route_tests!` of tower-sessions 0.15.0 (tests/common/mod.rs), and the
//! unit tests of tower-sessions-memory-store 0.15.0, told anew for this store, under their names. Both are under the MIT
//! licence:
//!
//! Copyright (c) 2022 Max Countryman
//!
//! Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
//! documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
//! rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
//! persons to whom the Software is furnished to do so, subject to the following conditions:
//!
//! The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
//! Software.
//!
//! THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
//! WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
//! COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
//! OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use time::{Duration, OffsetDateTime};
use tower_cookies::Cookie;
use tower_cookies::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

use crate::support::{Place, ask, memory, redis, rules};

fn routes() -> Router {
    Router::new()
        .route("/", get(|_: Session| async { "Hello, world!" }))
        .route("/insert", get(|session: Session| async move { session.insert("foo", 42).await.unwrap() }))
        .route(
            "/get",
            get(|session: Session| async move { session.get::<usize>("foo").await.unwrap().unwrap().to_string() }),
        )
        .route(
            "/get_value",
            get(|session: Session| async move { format!("{:?}", session.get_value("foo").await.unwrap()) }),
        )
        .route("/remove_value", get(|session: Session| async move { drop(session.remove_value("foo").await.unwrap()) }))
        .route("/cycle_id", get(|session: Session| async move { session.cycle_id().await.unwrap() }))
        .route("/flush", get(|session: Session| async move { session.flush().await.unwrap() }))
        .route(
            "/set_expiry",
            get(|session: Session| async move {
                session.set_expiry(Some(Expiry::AtDateTime(OffsetDateTime::now_utc() + Duration::days(1))));
            }),
        )
        .route(
            "/remove_expiry",
            get(|session: Session| async move { session.set_expiry(Some(Expiry::OnSessionEnd)) }),
        )
}

fn app(place: &Place, max_age: Option<Duration>, domain: Option<&'static str>) -> Router {
    let mut layer = SessionManagerLayer::new((*place.store).clone()).with_secure(true);
    if let Some(max_age) = max_age {
        layer = layer.with_expiry(Expiry::OnInactivity(max_age));
    }
    if let Some(domain) = domain {
        layer = layer.with_domain(domain);
    }
    routes().layer(layer)
}

const HOUR: Option<Duration> = Some(Duration::hours(1));

fn assert_about(found: Option<Duration>, wanted: Duration) {
    let difference = found.unwrap() - wanted;
    assert!(difference.abs() <= Duration::seconds(1), "{found:?}");
}

async fn no_session_set(place: &Place) {
    assert_eq!(ask(&app(place, HOUR, None), "/", None).await.cookie, None);
}

async fn bogus_session_cookie(place: &Place) {
    let bogus = Cookie::new("id", "AAAAAAAAAAAAAAAAAAAAAA");
    let answer = ask(&app(place, HOUR, None), "/insert", Some(&bogus)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_ne!(answer.cookie.unwrap().value(), bogus.value());
}

async fn malformed_session_cookie(place: &Place) {
    let malformed = Cookie::new("id", "malformed");
    let answer = ask(&app(place, HOUR, None), "/", Some(&malformed)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_ne!(answer.cookie.unwrap().value(), malformed.value());
}

async fn insert_session(place: &Place) {
    let cookie = ask(&app(place, HOUR, None), "/insert", None).await.cookie.unwrap();
    assert_eq!((cookie.name(), cookie.path()), ("id", Some("/")));
    assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(true)));
    assert_eq!(cookie.same_site(), Some(SameSite::Strict));
    assert!(cookie.max_age() <= HOUR && cookie.max_age().is_some());
}

async fn session_max_age(place: &Place) {
    let cookie = ask(&app(place, None, None), "/insert", None).await.cookie.unwrap();
    assert_eq!(cookie.max_age(), None);
}

async fn get_session(place: &Place) {
    let app = app(place, HOUR, None);
    let cookie = ask(&app, "/insert", None).await.cookie;
    let answer = ask(&app, "/get", cookie.as_ref()).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "42"));
}

async fn get_no_value(place: &Place) {
    assert_eq!(ask(&app(place, HOUR, None), "/get_value", None).await.body, "None");
}

async fn remove_last_value(place: &Place) {
    let app = app(place, HOUR, None);
    let cookie = ask(&app, "/insert", None).await.cookie;
    ask(&app, "/remove_value", cookie.as_ref()).await;
    assert_eq!(ask(&app, "/get_value", cookie.as_ref()).await.body, "None");
}

async fn cycle_session_id(place: &Place) {
    let app = app(place, HOUR, None);
    let first = ask(&app, "/insert", None).await.cookie.unwrap();
    let second = ask(&app, "/cycle_id", Some(&first)).await.cookie.unwrap();
    assert_ne!(first.value(), second.value());
    assert_eq!(ask(&app, "/get", Some(&second)).await.body, "42");
}

async fn flush_session(place: &Place) {
    let app = app(place, HOUR, None);
    let cookie = ask(&app, "/insert", None).await.cookie;
    let cookie = ask(&app, "/flush", cookie.as_ref()).await.cookie.unwrap();
    assert_eq!((cookie.value(), cookie.max_age(), cookie.path()), ("", Some(Duration::ZERO), Some("/")));
}

async fn flush_with_domain(place: &Place) {
    let app = app(place, HOUR, Some("localhost"));
    let cookie = ask(&app, "/insert", None).await.cookie;
    let cookie = ask(&app, "/flush", cookie.as_ref()).await.cookie.unwrap();
    assert_eq!((cookie.value(), cookie.max_age(), cookie.path()), ("", Some(Duration::ZERO), Some("/")));
    assert_eq!(cookie.domain(), Some("localhost"));
}

async fn set_expiry(place: &Place) {
    let app = app(place, HOUR, Some("localhost"));
    let cookie = ask(&app, "/insert", None).await.cookie.unwrap();
    assert_about(cookie.max_age(), Duration::hours(1));
    let cookie = ask(&app, "/set_expiry", Some(&cookie)).await.cookie.unwrap();
    assert_about(cookie.max_age(), Duration::days(1));
}

async fn change_expiry_type(place: &Place) {
    let without = app(place, None, Some("localhost"));
    let cookie = ask(&without, "/insert", None).await.cookie.unwrap();
    assert_eq!(cookie.max_age(), None);
    let cookie = ask(&without, "/set_expiry", Some(&cookie)).await.cookie.unwrap();
    assert_about(cookie.max_age(), Duration::days(1));
    let with = app(place, HOUR, Some("localhost"));
    let cookie = ask(&with, "/insert", None).await.cookie.unwrap();
    assert_about(cookie.max_age(), Duration::hours(1));
    let cookie = ask(&with, "/remove_expiry", Some(&cookie)).await.cookie.unwrap();
    assert_eq!(cookie.max_age(), None);
}

fn record() -> Record {
    let expiry_date = OffsetDateTime::now_utc() + Duration::minutes(30);
    Record { id: Id::default(), data: Default::default(), expiry_date }
}

async fn test_create(place: &Place) {
    assert!(place.store.create(&mut record()).await.is_ok());
}

/// There a save makes the session. Here it is refused, and that is the point.
async fn test_save(place: &Place) {
    assert!(place.store.save(&record()).await.is_err());
    let mut record = record();
    place.store.create(&mut record).await.unwrap();
    assert!(place.store.save(&record).await.is_ok());
}

/// There the two records are equal. Here the one that is loaded has a note, and its id says that it was loaded.
async fn test_load(place: &Place) {
    let mut record = record();
    record.data.insert("foo".to_owned(), 42.into());
    place.store.create(&mut record).await.unwrap();
    let mut loaded = place.store.load(&record.id).await.unwrap().unwrap();
    assert!(loaded.data.remove("cloakroom").is_some());
    loaded.id = Id(loaded.id.0 & !1);
    assert_eq!(loaded, record);
}

async fn test_delete(place: &Place) {
    let mut record = record();
    place.store.create(&mut record).await.unwrap();
    assert!(place.store.delete(&record.id).await.is_ok());
    assert_eq!(place.store.load(&record.id).await.unwrap(), None);
}

async fn test_create_id_collision(place: &Place) {
    let (mut one, mut other) = (record(), record());
    place.store.create(&mut one).await.unwrap();
    other.id = one.id;
    place.store.create(&mut other).await.unwrap();
    assert_ne!(one.id, other.id);
}

macro_rules! on_both {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $case() { super::$case(&super::memory(super::rules())).await })*
        }
        mod on_redis {
            $(#[tokio::test] async fn $case() { super::$case(&super::redis(super::rules(), 1).await).await })*
        }
    };
}

on_both! {
    no_session_set bogus_session_cookie malformed_session_cookie insert_session session_max_age get_session get_no_value
    remove_last_value cycle_session_id flush_session flush_with_domain set_expiry change_expiry_type
    test_create test_save test_load test_delete test_create_id_collision
}
