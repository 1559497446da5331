//! The example of the repository's README: a login, the user's devices, and a kick.
//! `cargo run -p cloakroom-axum --example devices`, with a Redis at 127.0.0.1.

use std::{sync::Arc, time::Duration};

use axum::routing::{get, post};
use axum::{Router, extract::Path};
use cloakroom::{IdScheme, RedisStore, Rules, SessionStore};
use cloakroom_axum::{CurrentUser, Session, SessionError, SessionLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The cookie has a token; Redis has only its hash. A session ends 29 to 30 minutes after its last use.
    let rules = Rules::new().id_scheme(IdScheme::Token).idle_timeout(Duration::from_secs(30 * 60));
    let store = RedisStore::builder("redis://127.0.0.1/").namespace("shop").rules(rules).build().await?;
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app(Arc::new(store))?).await?;
    Ok(())
}

fn app(store: Arc<dyn SessionStore>) -> Result<Router, cloakroom::Error> {
    Ok(Router::new()
        .route("/", get(async |CurrentUser(user): CurrentUser| format!("hello {user}\n"))) // 401 for others
        .route("/login/{user}", post(login))
        .route("/devices", get(devices))
        .route("/kick/{id}", post(kick))
        .layer(SessionLayer::new(store)?)) // the cookie `__Host-session`: Secure, HttpOnly, SameSite=Lax
}

async fn login(session: Session, Path(user): Path<String>) -> Result<(), SessionError> {
    session.login(&user).await // under a new token; check the password first
}

async fn devices(session: Session) -> Result<String, SessionError> {
    let devices = session.devices().await?; // `true` is the browser that asks
    Ok(devices.iter().map(|device| format!("{} {}\n", device.id(), device.is_current())).collect())
}

async fn kick(session: Session, Path(id): Path<String>) -> Result<String, SessionError> {
    Ok(format!("kicked: {}\n", session.kick(&id).await?)) // false for one's own, and for another user's
}
