//! What goes to the server, and what becomes of a request when it is away.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tower_sessions::{Session, SessionManagerLayer};

use crate::support::{Place, ask, redis_alone, rules};

/// One command, and its answer as it comes.
fn command(place: &Place, words: &[&str]) -> String {
    let url = place.server.as_ref().unwrap().url();
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(format!("{}\r\nQUIT\r\n", words.join(" ")).as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// How often the server has run a command of a client's.
fn calls(place: &Place, name: &str) -> u64 {
    let stats = command(place, &["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

fn app(place: &Place) -> Router {
    Router::new()
        .route("/untouched", get(|_: Session| async { "hello" }))
        .route(
            "/read",
            get(|session: Session| async move { format!("{:?}", session.get_value("user").await) }),
        )
        .route("/login", get(|session: Session| async move { session.insert("user", "ann").await.unwrap() }))
        .route(
            "/write",
            get(|session: Session| async move { session.insert("seen", "x").await.map_err(|_| "away") }),
        )
        .layer(SessionManagerLayer::new((*place.store).clone()))
}

#[tokio::test]
async fn a_request_costs_a_read_if_it_asks_for_the_session_and_one_script_if_it_changes_it() {
    let place = redis_alone(rules()).await;
    let app = app(&place);
    let cookie = ask(&app, "/login", None).await.cookie;
    // A read is a GET. A script may do others.
    let (reads, scripts) = (calls(&place, "get"), calls(&place, "evalsha"));
    let counted = |place: &Place| (calls(place, "get") - reads, calls(place, "evalsha") - scripts);

    ask(&app, "/untouched", cookie.as_ref()).await;
    assert_eq!(counted(&place), (0, 0));
    ask(&app, "/read", cookie.as_ref()).await;
    assert_eq!(counted(&place), (1, 0));
    ask(&app, "/write", cookie.as_ref()).await;
    assert_eq!(counted(&place).1, 1);
}

#[tokio::test]
async fn nothing_that_is_stored_logs_anybody_in() {
    let place = redis_alone(rules()).await;
    let cookie = ask(&app(&place), "/login", None).await.cookie.unwrap();
    let keys = command(&place, &["KEYS", "*"]);
    assert!(keys.contains(":session:") && !keys.contains(cookie.value()));
    assert_eq!(place.of_user("ann").await.len(), 1);
    assert!(!place.of_user("ann").await[0].id().as_str().contains(cookie.value()));
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_and_never_no_session() {
    let mut place = redis_alone(rules()).await;
    let app = app(&place);
    let cookie = ask(&app, "/login", None).await.cookie;
    drop(place.server.take());

    let read = ask(&app, "/read", cookie.as_ref()).await;
    assert!(read.body.starts_with("Err(") && read.body.contains("not executed"), "{}", read.body);
    assert_eq!(read.cookie, None, "the client keeps its cookie");
    let write = ask(&app, "/write", cookie.as_ref()).await;
    assert_eq!((write.body.as_str(), write.cookie), ("away", None));
    let login = ask(&app, "/login", None).await;
    assert_eq!((login.status, login.cookie), (StatusCode::INTERNAL_SERVER_ERROR, None));
}
