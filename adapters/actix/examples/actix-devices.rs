//! A service where people log in, see their other sessions, and log out everywhere. In memory, or on the server
//! of `REDIS_URL`.
//!
//! ```sh
//! cargo run -p cloakroom-actix-session --example actix-devices
//! ```

use std::sync::Arc;

use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::error::{ErrorServiceUnavailable, ErrorUnauthorized};
use actix_web::web::{Data, Path, get};
use actix_web::{App, HttpServer, Result};
use cloakroom::{IdScheme, MemoryStore, PageRequest, RedisStore, Rules, Selector, SessionStore};
use cloakroom_actix_session::CloakroomStore;

type Sessions = Data<dyn SessionStore>;

fn user(session: &Session) -> Result<String> {
    session.get("user")?.ok_or_else(|| ErrorUnauthorized("Log in at /login/YOU."))
}

async fn home(session: Session) -> Result<String> {
    let user: Option<String> = session.get("user")?;
    Ok(format!(
        "You are {}. Go to /login/YOU, /devices, /logout, /logout-everywhere.",
        user.as_deref().unwrap_or("nobody")
    ))
}

async fn login(name: Path<String>, session: Session) -> Result<&'static str> {
    // A real service checks a password here. Then it renews the key against fixation, and sets the user, by whom the
    // session is found.
    session.renew();
    session.insert("user", name.as_str())?;
    Ok("Welcome.")
}

async fn logout(session: Session) -> &'static str {
    session.purge();
    "Goodbye."
}

async fn devices(sessions: Sessions, session: Session) -> Result<String> {
    let of_user = Selector::user(user(&session)?);
    let page = sessions.list(&of_user, &PageRequest::first(20)).await.map_err(ErrorServiceUnavailable)?;
    // The id of a session is no secret here: a page may show it, and end a session by it.
    let lines = page
        .sessions
        .iter()
        .map(|session| format!("{}, seen {:?}", session.id().as_str(), session.last_active()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn logout_everywhere(sessions: Sessions, session: Session) -> Result<String> {
    let gone = sessions.delete_user(&user(&session)?, None).await.map_err(ErrorServiceUnavailable)?;
    Ok(format!("{} logged out.", gone.removed.len()))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Rules::new().id_scheme(IdScheme::Token);
    let sessions: Arc<dyn SessionStore> = match std::env::var("REDIS_URL") {
        Ok(url) => Arc::new(RedisStore::builder(url).namespace("devices").rules(rules).build().await?),
        Err(_) => Arc::new(MemoryStore::builder().rules(rules).build()?),
    };
    let store = CloakroomStore::new(sessions.clone()).user_at("user");
    // A real service keeps its key. With this one, users must log in again after a restart.
    let key = Key::generate();
    let app = move || {
        // Not secure: only for http://localhost.
        let layer = SessionMiddleware::builder(store.clone(), key.clone()).cookie_secure(false).build();
        App::new()
            .wrap(layer)
            .app_data(Data::from(sessions.clone()))
            .route("/", get().to(home))
            .route("/login/{name}", get().to(login))
            .route("/logout", get().to(logout))
            .route("/devices", get().to(devices))
            .route("/logout-everywhere", get().to(logout_everywhere))
    };
    eprintln!("http://localhost:3000");
    HttpServer::new(app).workers(1).bind(("127.0.0.1", 3000))?.run().await?;
    Ok(())
}
