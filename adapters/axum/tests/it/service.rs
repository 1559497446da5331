//! A service with a route for each thing that a handler can do.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cloakroom::testing::TestServer;
use cloakroom::{IdScheme, MemoryStore, RedisStore, Rules, SessionStore};
use cloakroom_axum::{CurrentUser, Login, Session, SessionError, SessionLayer, SessionWatcher};
use tokio::sync::Semaphore;

/// A service with its store, and the server of that.
pub(crate) struct Service {
    pub(crate) app: Router,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) watcher: SessionWatcher,
    pub(crate) gate: Arc<Gate>,
    pub(crate) server: Option<TestServer>,
}

/// Holds a request in its handler.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) entered: Semaphore,
    pub(crate) open: Semaphore,
}

/// Where the sessions are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    InMemory,
    InRedis,
}

pub(crate) const BOTH: [Stored; 2] = [Stored::InMemory, Stored::InRedis];

pub(crate) fn rules() -> Rules {
    Rules::new().id_scheme(IdScheme::Token).events(1_000)
}

impl Service {
    pub(crate) async fn start(stored: Stored) -> Self {
        Self::with_rules(stored, rules()).await
    }

    pub(crate) async fn with_rules(stored: Stored, rules: Rules) -> Self {
        match stored {
            Stored::InMemory => {
                let store = Arc::new(MemoryStore::builder().rules(rules).build().unwrap());
                let watcher = SessionWatcher::start(store.clone()).await.unwrap();
                Self::of(store, watcher, None)
            }
            Stored::InRedis => {
                let server = TestServer::start().unwrap();
                let store = RedisStore::builder(server.url()).rules(rules).build().await.unwrap();
                let store = Arc::new(store);
                let watcher = SessionWatcher::start(store.clone()).await.unwrap();
                Self::of(store, watcher, Some(server))
            }
        }
    }

    fn of(store: Arc<dyn SessionStore>, watcher: SessionWatcher, server: Option<TestServer>) -> Self {
        let gate = Arc::new(Gate { entered: Semaphore::new(0), open: Semaphore::new(0) });
        let layer = SessionLayer::new(store.clone()).unwrap().watcher(watcher.clone());
        let app = routes(gate.clone()).layer(layer);
        Self { app, store, watcher, gate, server }
    }
}

pub(crate) fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/nothing", get(async || "nothing"))
        .route("/get/{key}", get(read))
        .route("/set/{key}/{value}", post(set))
        .route("/remove/{key}", post(remove))
        .route("/read-and-hold/{key}/{value}", post(read_and_hold))
        .route("/set-and-fail/{key}/{value}", post(set_and_fail))
        .route("/login/{user}", post(login))
        .route("/remember/{user}/{seconds}", post(remember))
        .route("/leave", post(async |session: Session| session.logout_keeping_data().await))
        .route("/logout", post(async |session: Session| session.logout().await))
        .route("/logout-everywhere", post(everywhere))
        .route("/logout-elsewhere", post(elsewhere))
        .route("/devices", get(devices))
        .route("/kick/{id}", post(kick))
        .route("/csrf", get(async |session: Session| session.csrf_token().await))
        .route("/csrf/{token}", post(check_csrf))
        .route("/me", get(async |CurrentUser(user): CurrentUser| user))
        .route("/anybody", get(anybody))
        .with_state(gate)
}

type Answer<T = String> = Result<T, SessionError>;

async fn read(session: Session, Path(key): Path<String>) -> Answer {
    Ok(session.get::<String>(&key).await?.unwrap_or_default())
}

async fn set(session: Session, Path((key, value)): Path<(String, String)>) -> Answer {
    session.set(&key, &value).await?;
    Ok(session.get::<String>(&key).await?.unwrap_or_default())
}

async fn remove(session: Session, Path(key): Path<String>) -> Answer {
    session.remove(&key).await?;
    Ok(session.get::<String>(&key).await?.unwrap_or_default())
}

/// Reads the session, is held at the gate, and sets something then.
async fn read_and_hold(
    State(gate): State<Arc<Gate>>,
    session: Session,
    Path((key, value)): Path<(String, String)>,
) -> Answer {
    let user = session.user().await?;
    gate.entered.add_permits(1);
    gate.open.acquire().await.unwrap().forget();
    session.set(&key, &value).await?;
    Ok(user.unwrap_or_default())
}

async fn set_and_fail(session: Session, Path((key, value)): Path<(String, String)>) -> Response {
    session.set(&key, &value).await.unwrap();
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn login(session: Session, Path(user): Path<String>) -> Answer<()> {
    session.login(&user).await
}

async fn remember(session: Session, Path((user, seconds)): Path<(String, u64)>) -> Answer<()> {
    session.set("signed-in", "yes").await?;
    session.login(Login::new(user).remember(Duration::from_secs(seconds))).await
}

async fn everywhere(session: Session) -> Answer {
    Ok(session.logout_everywhere().await?.to_string())
}

async fn elsewhere(session: Session) -> Answer {
    Ok(session.logout_elsewhere().await?.to_string())
}

/// A line for each: its id, and whether it is this one.
async fn devices(session: Session) -> Answer {
    let devices = session.devices().await?;
    let lines = devices.iter().map(|device| format!("{} {}", device.id(), device.is_current()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn kick(session: Session, Path(id): Path<String>) -> Answer {
    Ok(session.kick(&id).await?.to_string())
}

async fn check_csrf(session: Session, Path(token): Path<String>) -> Answer<()> {
    session.check_csrf(&token).await
}

async fn anybody(user: Option<CurrentUser>) -> String {
    user.map_or("nobody".to_owned(), |CurrentUser(user)| user)
}
