//! A session's life, printed as it happens: `cargo run --example quickstart`.
//!
//! Runs on the server of `REDIS_URL`, or on a `redis-server` that it starts itself and stops again.

// An example prints.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloakroom::{
    Binding, NewSession, Owner, PageRequest, RedisStore, Rotation, Rules, Session, SessionStore,
    SessionStoreExt,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::start()?;
    let rules =
        Rules::new().ttl(Duration::from_secs(2)).refresh_threshold(1.0).grace(Duration::from_secs(60));
    let namespace = format!("quickstart-{}", std::process::id());
    let store = server.store(&namespace, rules).await?;

    println!("A visitor comes. The session is anonymous, and in nobody's index.");
    let visit = store.create(NewSession::new().set("cart", &["umbrella"])?).await?.session;
    show(&visit);

    println!("\nAnn logs in: a new id, the same data, her index, in one step.");
    let login = store.rotate(&visit, Rotation::new().user("ann")).await?.session;
    show(&login);
    println!("  The old id leads to {:?}: whoever planted it stays outside.", store.get(visit.id()).await?);

    println!("\nHer browser opens a WebSocket at gateway-1.");
    let bound = store.bind(&login, Binding::new("socket-7").node("gateway-1")).await?;
    println!(
        "  version {} now, it had no connection before: {}",
        bound.version,
        bound.previous_connection.is_none()
    );

    println!("\nOther processes find the session:");
    let page = store.list(&Owner::user("ann"), &PageRequest::first(10)).await?;
    println!("  by user:       {} session", page.sessions.len());
    let found = store.session_by_connection("socket-7").await?.ok_or("no session has socket-7")?;
    println!("  by connection: {:?}, cart {:?}", found.user(), found.get::<Vec<String>>("cart")?);

    println!("\nTwo requests change the cart at once. Neither change is lost.");
    let add = |item: &'static str| {
        store.modify(login.id(), move |session| {
            let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
            cart.push(item.to_owned());
            session.set("cart", &cart)
        })
    };
    tokio::try_join!(add("gloves"), add("scarf"))?;
    let session = store.get(login.id()).await?.ok_or("the session is gone")?;
    println!(
        "  {} items, version {}",
        session.get::<Vec<String>>("cart")?.unwrap_or_default().len(),
        session.version()
    );

    println!("\nShe is active, so the session lives on.");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refreshed = store.refresh(&session).await?.ok_or("the session is gone")?;
    println!("  expires {} ms later than before", refreshed.expires_at_ms - session.expires_at_ms());

    println!("\nShe goes away. A reaper, in any process, collects what expires.");
    let (sender, mut removed) = tokio::sync::mpsc::unbounded_channel();
    let hand_on = Box::new(move |session: Session| drop(sender.send(session)));
    let reaper = store.spawn_reaper_with(Duration::from_millis(200), 100, hand_on)?;
    let session = removed.recv().await.ok_or("the reaper ended")?;
    println!("  {:?} expired; close {:?} at {:?}", session.user(), session.connection(), session.node());
    let stats = reaper.stop().await;
    println!(
        "  reaped {}, still stored of Ann's: {}",
        stats.removed,
        store.count(&Owner::user("ann")).await?
    );
    println!("  a late refresh finds {:?}: nothing revives", store.refresh(&session).await?);

    store.close().await;
    Ok(())
}

fn show(session: &Session) {
    println!(
        "  {:?} user {:?}, version {}, lives {:?}",
        session.id(),
        session.user(),
        session.version(),
        session.ttl()
    );
}

/// The server of `REDIS_URL`, or one of our own.
struct Server {
    url: String,
    own: Option<Child>,
}

impl Server {
    fn start() -> Result<Self, Box<dyn Error>> {
        if let Ok(url) = std::env::var("REDIS_URL") {
            println!("Using the server of REDIS_URL.\n");
            return Ok(Self { url, own: None });
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("cannot start redis-server ({error}): install it (Debian: apt-get install redis-server), or set REDIS_URL")
            })?;
        println!("Started a redis-server of its own on port {port}.\n");
        Ok(Self { url: format!("redis://127.0.0.1:{port}/"), own: Some(child) })
    }

    /// A store, as soon as a server that was just started takes connections.
    async fn store(&self, namespace: &str, rules: Rules) -> Result<RedisStore, Box<dyn Error>> {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let builder = RedisStore::builder(&self.url).namespace(namespace).rules(rules.clone());
            match builder.build().await {
                Err(error)
                    if error.is_not_executed()
                        && self.own.is_some()
                        && std::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                result => return Ok(result?),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
