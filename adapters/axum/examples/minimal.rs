//! A counter, a login and a logout, in memory. `cargo run -p cloakroom-axum --example minimal`, then http://localhost:3000.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Form;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use axum::{Router, serve};
use cloakroom::{IdScheme, MemoryStore, Rules};
use cloakroom_axum::{Session, SessionCookie, SessionError, SessionLayer};
use tokio::net::TcpListener;

#[derive(serde::Deserialize)]
struct Login {
    user: String,
    csrf: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Rules::new().id_scheme(IdScheme::Token).idle_timeout(Duration::from_secs(1800));
    let store = Arc::new(MemoryStore::builder().rules(rules).build()?);
    let sessions = SessionLayer::new(store)?.cookie(SessionCookie::new().insecure_dev());
    let app = Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .layer(sessions);
    serve(TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}

async fn home(session: Session) -> Result<Html<String>, SessionError> {
    let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
    session.set("visits", &visits).await?;
    let csrf = session.csrf_token().await?;
    let form = match session.user().await? {
        None => "<form method=post action=/login><input name=user>".to_owned(),
        Some(_) => "<form method=post action=/logout>".to_owned(),
    };
    Ok(Html(format!(
        "<p>{visits} visits</p>{form}<input type=hidden name=csrf value={csrf}><button>Go</button></form>"
    )))
}

async fn login(session: Session, Form(form): Form<Login>) -> Result<Redirect, SessionError> {
    session.check_csrf(&form.csrf).await?;
    session.login(&form.user).await?;
    Ok(Redirect::to("/"))
}

async fn logout(session: Session) -> Result<Redirect, SessionError> {
    session.logout().await?;
    Ok(Redirect::to("/"))
}
