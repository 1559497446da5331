//! The acceptance tests that actix-session has for its stores: `test_helpers::acceptance_test_suite` of actix-session 0.11.0
//! (src/lib.rs, © the Actix team, MIT OR Apache-2.0), which that crate builds for its own tests alone. They are told anew
//! here, under their names, without a server of their own: as `acceptance_test_suite(store, true)` runs them.

use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
use actix_session::storage::SessionStore;
use actix_session::{Session, SessionExt as _, SessionMiddleware};
use actix_web::body::MessageBody;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, Key};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::web::{get, post};
use actix_web::{App, Error, HttpResponse, Result, guard, test, web};
use cloakroom_actix_session::CloakroomStore;

use crate::support::{Place, memory, redis, rules};

const POLICIES: [CookieContentSecurity; 2] = [CookieContentSecurity::Signed, CookieContentSecurity::Private];

/// The middleware, its cookie, and how long its sessions live.
fn middleware(
    place: &Place,
    policy: CookieContentSecurity,
    lifecycle: PersistentSession,
) -> SessionMiddleware<impl SessionStore + use<>> {
    let store: CloakroomStore = place.store.clone();
    SessionMiddleware::builder(store, Key::generate())
        .cookie_name("test-session".to_owned())
        .cookie_content_security(policy)
        .session_lifecycle(lifecycle)
        .build()
}

fn lives(ttl: Duration) -> PersistentSession {
    PersistentSession::default().session_ttl(ttl)
}

async fn read(session: &Session) -> Result<String> {
    let user: Option<String> = session.get("user_id")?;
    let counter: Option<i32> = session.get("counter")?;
    Ok(format!("{} {}", user.as_deref().unwrap_or("nobody"), counter.unwrap_or(0)))
}

async fn index(session: Session) -> Result<String> {
    read(&session).await
}

async fn do_something(session: Session) -> Result<String> {
    let counter: Option<i32> = session.get("counter")?;
    session.insert("counter", counter.unwrap_or(0) + 1)?;
    read(&session).await
}

async fn login(user: web::Path<String>, session: Session) -> Result<String> {
    session.insert("user_id", user.as_str())?;
    session.renew();
    read(&session).await
}

async fn logout(session: Session) -> Result<&'static str> {
    if session.get::<String>("user_id")?.is_some() {
        session.purge();
    }
    Ok("logged out")
}

/// The app of the two long ones.
fn services(config: &mut web::ServiceConfig) {
    let is_known =
        guard::fn_guard(|context| context.get_session().get::<String>("user_id").unwrap().is_some());
    config
        .route("/", get().to(index))
        .route("/do_something", post().to(do_something))
        .route("/login/{user}", post().to(login))
        .route("/logout", post().to(logout))
        .service(web::scope("/protected").guard(is_known).route("/count", get().to(index)));
}

struct Answer {
    body: String,
    is_success: bool,
    cookie: Option<Cookie<'static>>,
}

async fn ask<B: MessageBody>(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    request: test::TestRequest,
    cookie: Option<&Cookie<'static>>,
) -> Answer {
    let request = cookie.into_iter().fold(request, |request, cookie| request.cookie(cookie.clone()));
    let answer = test::call_service(app, request.to_request()).await;
    let cookie = answer.response().cookies().find(|cookie| cookie.name() == "test-session");
    let (cookie, is_success) = (cookie.map(Cookie::into_owned), answer.status().is_success());
    let body = String::from_utf8(test::read_body(answer).await.to_vec()).unwrap();
    Answer { body, is_success, cookie }
}

fn to_get(path: &str) -> test::TestRequest {
    test::TestRequest::get().uri(path)
}

fn to_post(path: &str) -> test::TestRequest {
    test::TestRequest::post().uri(path)
}

async fn basic_workflow(place: &Place) {
    for policy in POLICIES {
        let middleware = SessionMiddleware::builder(place.store.clone(), Key::generate())
            .cookie_path("/test/".to_owned())
            .cookie_name("test-session".to_owned())
            .cookie_domain(Some("localhost".to_owned()))
            .cookie_content_security(policy)
            .session_lifecycle(lives(Duration::seconds(100)))
            .build();
        let app = App::new()
            .wrap(middleware)
            .route(
                "/",
                get().to(|session: Session| async move { session.insert("counter", 100).map(|()| "test") }),
            )
            .route("/test/", get().to(index));
        let app = test::init_service(app).await;
        let cookie = ask(&app, to_get("/"), None).await.cookie.unwrap();
        assert_eq!(cookie.path(), Some("/test/"));
        assert_eq!(ask(&app, to_get("/test/"), Some(&cookie)).await.body, "nobody 100");
    }
}

async fn expiration_is_refreshed_on_changes(place: &Place) {
    for policy in POLICIES {
        let ttl = Duration::seconds(60);
        let app = App::new().wrap(middleware(place, policy, lives(ttl))).configure(services);
        let app = test::init_service(app).await;
        let first = ask(&app, to_post("/do_something"), None).await.cookie.unwrap();
        assert_eq!(first.max_age(), Some(ttl));
        assert_eq!(ask(&app, to_get("/"), Some(&first)).await.cookie, None);
        let second = ask(&app, to_post("/do_something"), Some(&first)).await.cookie.unwrap();
        assert_eq!(second.max_age(), Some(ttl));
    }
}

async fn expiration_is_always_refreshed_if_configured_to_refresh_on_every_request(place: &Place) {
    for policy in POLICIES {
        let ttl = Duration::seconds(60);
        let lives = lives(ttl).session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        let app =
            test::init_service(App::new().wrap(middleware(place, policy, lives)).configure(services)).await;
        let first = ask(&app, to_post("/do_something"), None).await.cookie.unwrap();
        assert_eq!(first.max_age(), Some(ttl));
        let second = ask(&app, to_get("/"), Some(&first)).await.cookie.unwrap();
        assert_eq!(second.max_age(), Some(ttl));
    }
}

async fn guard(place: &Place) {
    for policy in POLICIES {
        let app = App::new().wrap(middleware(place, policy, lives(Duration::days(7)))).configure(services);
        let app = test::init_service(app).await;
        assert!(!ask(&app, to_get("/protected/count"), None).await.is_success);
        let first = ask(&app, to_post("/login/ferris"), None).await.cookie.unwrap();
        let answer = ask(&app, to_post("/do_something"), Some(&first)).await;
        assert_eq!(answer.body, "ferris 1");
        assert_eq!(ask(&app, to_get("/protected/count"), answer.cookie.as_ref()).await.body, "ferris 1");
    }
}

async fn complex_workflow(place: &Place) {
    for policy in POLICIES {
        let ttl = Duration::days(7);
        let app = App::new().wrap(middleware(place, policy, lives(ttl))).configure(services);
        let app = test::init_service(app).await;

        let visit = ask(&app, to_get("/"), None).await;
        assert_eq!((visit.body.as_str(), visit.cookie), ("nobody 0", None));
        let answer = ask(&app, to_post("/do_something"), None).await;
        let first = answer.cookie.unwrap();
        assert_eq!((answer.body.as_str(), first.max_age()), ("nobody 1", Some(ttl)));
        let answer = ask(&app, to_get("/"), Some(&first)).await;
        assert_eq!((answer.body.as_str(), answer.cookie), ("nobody 1", None));
        let answer = ask(&app, to_post("/do_something"), Some(&first)).await;
        let second = answer.cookie.unwrap();
        assert_eq!((answer.body.as_str(), second.max_age()), ("nobody 2", first.max_age()));

        let answer = ask(&app, to_post("/login/ferris"), Some(&second)).await;
        let third = answer.cookie.unwrap();
        assert_ne!(second.value(), third.value());
        assert_eq!(answer.body, "ferris 2");
        assert_eq!(ask(&app, to_get("/"), Some(&third)).await.body, "ferris 2");
        assert_eq!(ask(&app, to_post("/do_something"), Some(&third)).await.body, "ferris 3");
        let answer = ask(&app, to_get("/"), Some(&second)).await;
        assert_eq!((answer.body.as_str(), answer.cookie), ("nobody 0", None));

        let removal = ask(&app, to_post("/logout"), Some(&third)).await.cookie.unwrap();
        assert_eq!((removal.max_age(), removal.path()), (Some(Duration::ZERO), Some("/")));
        for cookie in [&removal, &third] {
            let answer = ask(&app, to_get("/"), Some(cookie)).await;
            assert_eq!((answer.body.as_str(), answer.cookie), ("nobody 0", None));
        }
    }
}

/// What those tests show of the handlers' answers.
#[actix_web::test]
async fn the_middleware_answers_as_with_any_other_store() {
    let app = App::new().wrap(middleware(&memory(rules()), POLICIES[0], lives(Duration::days(7))));
    let app =
        test::init_service(app.route("/", get().to(|| async { HttpResponse::Ok().body("hello") }))).await;
    let answer = ask(&app, to_get("/"), None).await;
    assert_eq!((answer.body.as_str(), answer.cookie), ("hello", None));
}

macro_rules! on_both {
    ($($case:ident)*) => {
        mod in_memory {
            $(#[actix_web::test] async fn $case() { super::$case(&super::memory(super::rules())).await })*
        }
        mod on_redis {
            $(#[actix_web::test] async fn $case() { super::$case(&super::redis(super::rules(), 1).await).await })*
        }
    };
}

on_both! {
    basic_workflow expiration_is_refreshed_on_changes
    expiration_is_always_refreshed_if_configured_to_refresh_on_every_request complex_workflow guard
}
