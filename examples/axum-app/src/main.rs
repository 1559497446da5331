//! A shop: a cart for visitors, login, "your devices", log out everywhere, and a socket per tab that closes at once when its
//! session ends, wherever that happens.
//!
//! ```sh
//! cargo run -p axum-app                                     # in memory, http://localhost:3000
//! REDIS_URL=redis://localhost PORT=3001 cargo run -p axum-app   # any number of these share their sessions
//! ```

mod pages;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade};
use axum::extract::{Form, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, extract::Request};
use cloakroom::background::Reaper;
use cloakroom::{IdScheme, MemoryStore, RedisStore, Rules, SessionStore};
use cloakroom_axum::{CurrentUser, Session, SessionCookie, SessionError, SessionLayer, SessionWatcher};
use serde::Deserialize;
use tokio::net::TcpListener;

/// What a socket is closed with when its session ends. assets/app.js knows it.
const SESSION_ENDED: u16 = 4401;

type Page = Result<Response, SessionError>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let idle = std::env::var("IDLE_SECONDS").map_or(Ok(1800), |text| text.parse())?;
    let rules =
        Rules::new().id_scheme(IdScheme::Token).idle_timeout(Duration::from_secs(idle)).events(10_000);
    let store: Arc<dyn SessionStore> = match std::env::var("REDIS_URL") {
        Ok(url) => Arc::new(RedisStore::builder(url).namespace("shop").rules(rules).build().await?),
        Err(_) => Arc::new(MemoryStore::builder().rules(rules).build()?),
    };
    // What expires is told when it is reaped.
    let reaper = Reaper::builder(store.clone()).every(Duration::from_millis(500)).spawn()?;
    let watcher = SessionWatcher::start(store.clone()).await?;
    // It speaks plain HTTP. A service behind TLS leaves that cookie out.
    let sessions = SessionLayer::new(store)?.watcher(watcher).cookie(SessionCookie::new().insecure_dev());
    let app = Router::new()
        .route("/", get(shop))
        .route("/cart", post(add_to_cart))
        .route("/login", get(login_page).post(login))
        .route("/logout", post(logout))
        .route("/logout-everywhere", post(logout_everywhere))
        .route("/devices", get(devices))
        .route("/devices/kick", post(kick))
        .route("/socket", get(socket))
        .layer(sessions)
        .route(
            "/app.js",
            get(([(header::CONTENT_TYPE, "text/javascript")], include_str!("../assets/app.js"))),
        )
        .route("/style.css", get(([(header::CONTENT_TYPE, "text/css")], include_str!("../assets/style.css"))))
        .layer(from_fn(with_policy));
    let port = std::env::var("PORT").map_or(Ok(3000), |text| text.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    eprintln!("http://localhost:{}", listener.local_addr()?.port());
    axum::serve(listener, app).await?;
    reaper.stop().await;
    Ok(())
}

async fn with_policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
    response
}

async fn shop(session: Session) -> Page {
    let cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    let (user, csrf) = (session.user().await?, session.csrf_token().await?);
    Ok(Html(pages::shop(user.as_deref(), &csrf, &cart)).into_response())
}

#[derive(Deserialize)]
struct Added {
    item: String,
    csrf: String,
}

async fn add_to_cart(session: Session, Form(added): Form<Added>) -> Page {
    session.check_csrf(&added.csrf).await?;
    let mut cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    cart.extend(pages::ITEMS.iter().find(|item| **item == added.item).map(|item| (*item).to_owned()));
    session.set("cart", &cart).await?;
    Ok(Redirect::to("/").into_response())
}

#[derive(Deserialize)]
struct Why {
    ended: Option<String>,
}

async fn login_page(session: Session, Query(why): Query<Why>) -> Page {
    let words = why.ended.map(|_| "You were logged out.");
    Ok(Html(pages::login(&session.csrf_token().await?, words)).into_response())
}

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
    csrf: String,
}

async fn login(session: Session, headers: HeaderMap, Form(login): Form<Login>) -> Page {
    session.check_csrf(&login.csrf).await?;
    // A service has a table of users, and hashes of their passwords.
    if !["ann", "ben"].contains(&login.user.as_str()) || login.password != "secret" {
        let page = Html(pages::login(&login.csrf, Some("That is not right.")));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    }
    let browser = headers.get(header::USER_AGENT).and_then(|name| name.to_str().ok());
    session.set("browser", browser.unwrap_or("unknown")).await?;
    session.login(&login.user).await?;
    Ok(Redirect::to("/").into_response())
}

#[derive(Deserialize)]
struct Confirmed {
    csrf: String,
}

async fn logout(session: Session, Form(confirmed): Form<Confirmed>) -> Page {
    session.check_csrf(&confirmed.csrf).await?;
    session.logout().await?;
    Ok(Redirect::to("/").into_response())
}

async fn logout_everywhere(session: Session, Form(confirmed): Form<Confirmed>) -> Page {
    session.check_csrf(&confirmed.csrf).await?;
    session.logout_everywhere().await?;
    Ok(Redirect::to("/login?ended").into_response())
}

async fn devices(user: Option<CurrentUser>, session: Session) -> Page {
    let Some(CurrentUser(user)) = user else {
        return Ok(Redirect::to("/login").into_response());
    };
    let (devices, csrf) = (session.devices().await?, session.csrf_token().await?);
    Ok(Html(pages::devices(&user, &csrf, &devices)).into_response())
}

#[derive(Deserialize)]
struct Kick {
    id: String,
    csrf: String,
}

async fn kick(session: Session, Form(kick): Form<Kick>) -> Page {
    session.check_csrf(&kick.csrf).await?;
    session.kick(&kick.id).await?;
    Ok(Redirect::to("/devices").into_response())
}

/// Stays open as long as the tab and its session do.
async fn socket(session: Session, upgrade: WebSocketUpgrade) -> Page {
    let mut ended = session.ended().await?.ok_or(SessionError::Anonymous)?;
    Ok(upgrade.on_upgrade(async move |mut socket| {
        tokio::select! {
            () = ended.wait() => {
                let frame = CloseFrame { code: SESSION_ENDED, reason: "the session ended".into() };
                // Whoever went away meanwhile needs no goodbye.
                let _ = socket.send(Message::Close(Some(frame))).await;
            }
            // A tab says nothing: what comes is its end.
            _ = socket.recv() => {}
        }
    }))
}
