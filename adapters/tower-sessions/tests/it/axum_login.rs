//! Under axum-login 0.18, which is made for tower-sessions 0.14.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_login::tower_sessions::SessionManagerLayer;
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend};
use cloakroom_tower_sessions::CloakroomStore;

use crate::support::{Place, ask, places, rules};

#[derive(Clone, Debug)]
struct User(i64);

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.0
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"password"
    }
}

/// Who says a number is that user.
#[derive(Clone)]
struct Trusting;

impl AuthnBackend for Trusting {
    type User = User;
    type Credentials = i64;
    type Error = Infallible;

    async fn authenticate(&self, id: i64) -> Result<Option<User>, Infallible> {
        Ok(Some(User(id)))
    }

    async fn get_user(&self, id: &i64) -> Result<Option<User>, Infallible> {
        Ok(Some(User(*id)))
    }
}

type Auth = AuthSession<Trusting>;

fn app(place: &Place) -> Router {
    let store = CloakroomStore::new(place.sessions.clone()).users_of_axum_login("axum-login.data");
    let layer = AuthManagerLayerBuilder::new(Trusting, SessionManagerLayer::new(store)).build();
    let login = |Path(id): Path<i64>, mut auth: Auth| async move {
        let user = auth.authenticate(id).await.unwrap().unwrap();
        auth.login(&user).await.unwrap();
    };
    Router::new()
        .route("/", get(|auth: Auth| async move { format!("{:?}", auth.user) }))
        .route(
            "/visit",
            get(|auth: Auth| async move { auth.session.insert("cart", "umbrella").await.unwrap() }),
        )
        .route("/login/{id}", get(login))
        .route(
            "/logout",
            get(|mut auth: Auth| async move {
                auth.logout().await.unwrap();
            }),
        )
        .layer(layer)
}

#[tokio::test]
async fn a_login_is_listed_a_logout_is_not_and_log_out_everywhere_ends_all() {
    for place in places(rules()).await {
        let app = app(&place);
        let visitor = ask(&app, "/visit", None).await.cookie;
        let laptop = ask(&app, "/login/7", visitor.as_ref()).await.cookie;
        let phone = ask(&app, "/login/7", None).await.cookie;
        assert!(!ask(&app, "/", visitor.as_ref()).await.body.contains("Some"));
        for cookie in [&laptop, &phone] {
            assert_eq!(ask(&app, "/", cookie.as_ref()).await.body, "Some(User(7))");
        }
        let listed = place.of_user("7").await;
        assert_eq!(listed.len(), 2);
        let laptop_session =
            listed.iter().find(|session| session.get::<String>("cart").unwrap().is_some()).unwrap();

        // "Your devices": the id of a session is no secret, and ends it.
        assert!(place.sessions.delete(laptop_session.id()).await.unwrap());
        assert_eq!(ask(&app, "/", laptop.as_ref()).await.body, "None");
        ask(&app, "/logout", phone.as_ref()).await;
        assert!(place.of_user("7").await.is_empty());

        let cookies = [ask(&app, "/login/7", None).await.cookie, ask(&app, "/login/7", None).await.cookie];
        place.sessions.delete_user("7", None).await.unwrap();
        for cookie in cookies {
            assert_eq!(ask(&app, "/", cookie.as_ref()).await.body, "None");
        }
    }
}

#[tokio::test]
async fn a_user_who_logs_in_as_another_is_listed_as_that() {
    // Without a new id, for axum-login makes one only for who was not logged in: so it has to fit both users.
    for place in &places(rules()).await[..2] {
        let app = app(place);
        let cookie = ask(&app, "/login/7", None).await.cookie;
        let cookie = ask(&app, "/login/8", cookie.as_ref()).await.cookie;
        assert_eq!(ask(&app, "/", cookie.as_ref()).await.body, "Some(User(8))");
        assert_eq!((place.of_user("7").await.len(), place.of_user("8").await.len()), (0, 1));
    }
}
