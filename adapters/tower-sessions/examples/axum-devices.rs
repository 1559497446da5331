//! A service where people log in, see their other sessions, and log out everywhere. In memory, or on the server
//! of `REDIS_URL`.
//!
//! ```sh
//! cargo run -p cloakroom-tower-sessions --example axum-devices
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use cloakroom::{IdScheme, MemoryStore, PageRequest, RedisStore, Rules, Selector, SessionStore};
use cloakroom_tower_sessions::CloakroomStore;
use tower_sessions::cookie::SameSite;
use tower_sessions::{Session, SessionManagerLayer};

type Sessions = Arc<dyn SessionStore>;

/// For example, the store is away. That logs nobody out.
fn away(_: impl std::error::Error) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

async fn home(session: Session) -> Result<String, StatusCode> {
    let user: Option<String> = session.get("user").await.map_err(away)?;
    Ok(format!(
        "You are {}. Go to /login/YOU, /devices, /logout, /logout-everywhere.",
        user.as_deref().unwrap_or("nobody")
    ))
}

async fn login(Path(user): Path<String>, session: Session) -> Result<&'static str, StatusCode> {
    // A real service checks a password here. Then it gives the session a new id against fixation, and sets the user,
    // by whom the session is found.
    session.cycle_id().await.map_err(away)?;
    session.insert("user", user).await.map_err(away)?;
    Ok("Welcome.")
}

async fn logout(session: Session) -> Result<&'static str, StatusCode> {
    session.flush().await.map_err(away)?;
    Ok("Goodbye.")
}

async fn devices(State(sessions): State<Sessions>, session: Session) -> Result<String, StatusCode> {
    let user: Option<String> = session.get("user").await.map_err(away)?;
    let user = user.ok_or(StatusCode::UNAUTHORIZED)?;
    let page = sessions.list(&Selector::user(user), &PageRequest::first(20)).await.map_err(away)?;
    // The id of a session is no secret here: a page may show it, and end a session by it.
    let lines = page
        .sessions
        .iter()
        .map(|session| format!("{}, seen {:?}", session.id().as_str(), session.last_active()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn logout_everywhere(State(sessions): State<Sessions>, session: Session) -> Result<String, StatusCode> {
    let user: Option<String> = session.get("user").await.map_err(away)?;
    let gone = sessions.delete_user(&user.ok_or(StatusCode::UNAUTHORIZED)?, None).await.map_err(away)?;
    Ok(format!("{} logged out.", gone.removed.len()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Rules::new().id_scheme(IdScheme::Token);
    let sessions: Sessions = match std::env::var("REDIS_URL") {
        Ok(url) => Arc::new(RedisStore::builder(url).namespace("devices").rules(rules).build().await?),
        Err(_) => Arc::new(MemoryStore::builder().rules(rules).build()?),
    };
    let store =
        CloakroomStore::new(sessions.clone()).user_from(|data| Some(data.get("user")?.as_str()?.to_owned()));
    // Not secure: only for http://localhost. Lax, so that a user who comes by a link is still logged in.
    let layer = SessionManagerLayer::new(store).with_secure(false).with_same_site(SameSite::Lax);
    let app = Router::new()
        .route("/", get(home))
        .route("/login/{user}", get(login))
        .route("/logout", get(logout))
        .route("/devices", get(devices))
        .route("/logout-everywhere", get(logout_everywhere))
        .layer(layer)
        .with_state(sessions);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    eprintln!("http://localhost:3000");
    axum::serve(listener, app).await?;
    Ok(())
}
