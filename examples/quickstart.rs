//! A session's life, printed as it happens: `cargo run --example quickstart`.
//!
//! Runs in memory, or on the server of `REDIS_URL`. It is the same but for the line that makes the store.

// An example prints.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::{
    Binding, MemoryStore, NewSession, PageRequest, RedisStore, Rotation, Rules, Selector, Session,
    SessionStore, SessionStoreExt,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rules = Rules::new().idle_timeout(Duration::from_secs(2)).grace(Duration::from_secs(60));
    let store = store(rules).await?;

    let visit = store.create(NewSession::new().set("cart", &["umbrella"])?).await?.session;
    tell("a visitor comes", format!("{}, cart {:?}", told(&visit), cart(&visit)?));

    // A new id, the same data, her index, in one step.
    let login = store.rotate(&visit, Rotation::new().user("ann")).await?.session;
    let old = store.get(visit.id()).await.expect_err("a login cuts the old id off");
    tell("Ann logs in", format!("{}, a new id; under the old one: {old}", told(&login)));

    let bound = store.bind(&login, Binding::new("socket-7").node("gateway-1")).await?;
    tell("she opens a WebSocket", format!("socket-7 at gateway-1, version {}", bound.version));

    let page = store.list(&Selector::user("ann"), &PageRequest::first(10)).await?;
    tell("found by user", format!("{} session", page.sessions.len()));
    let found = store.session_by_connection("socket-7").await?.ok_or("no session has socket-7")?;
    tell("found by connection", format!("{}, cart {:?}", told(&found), cart(&found)?));

    let add = |item: &'static str| {
        store.modify(login.id(), move |session| {
            let mut items = cart(session)?;
            items.push(item.to_owned());
            session.set("cart", &items)
        })
    };
    tokio::try_join!(add("gloves"), add("scarf"))?;
    let session = store.get(login.id()).await?.ok_or("the session is gone")?;
    let items = cart(&session)?.len();
    tell("two requests at once", format!("{}, cart of {items}: neither change is lost", told(&session)));

    tokio::time::sleep(Duration::from_millis(500)).await;
    let refreshed = store.refresh(&session).await?.ok_or("the session is gone")?;
    let is_later = refreshed.expires_at_ms > session.expires_at_ms();
    tell("she uses it", format!("it expires later than before: {is_later}"));

    let (sender, mut removed) = tokio::sync::mpsc::unbounded_channel();
    let reaper = Reaper::builder(store.clone())
        .every(Duration::from_millis(200))
        .on_removed(move |session: &Session| drop(sender.send(session.clone())))
        .spawn()?;
    let gone = removed.recv().await.ok_or("the reaper ended")?;
    let (connection, node) = (gone.connection().unwrap_or("?"), gone.node().unwrap_or("?"));
    tell("she goes away", format!("a reaper reports: it expired, close {connection} at {node}"));
    reaper.stop().await;
    let (left, late) = (store.count(&Selector::user("ann")).await?, store.refresh(&session).await?);
    tell("afterwards", format!("{left} sessions of ann; a late refresh finds {late:?}"));

    store.close().await;
    Ok(())
}

fn tell(what: &str, outcome: String) {
    println!("{what:<22} {outcome}");
}

fn told(session: &Session) -> String {
    format!("{}, version {}", session.user().unwrap_or("nobody"), session.version())
}

fn cart(session: &Session) -> Result<Vec<String>, cloakroom::Error> {
    Ok(session.get("cart")?.unwrap_or_default())
}

/// On the server of `REDIS_URL`, in a namespace of this run; without one, in memory.
async fn store(rules: Rules) -> Result<Arc<dyn SessionStore>, cloakroom::Error> {
    let Ok(url) = std::env::var("REDIS_URL") else {
        println!("In memory; with REDIS_URL set, on that server.\n");
        return Ok(Arc::new(MemoryStore::builder().rules(rules).build()?));
    };
    println!("On the server of REDIS_URL.\n");
    let namespace = format!("quickstart-{}", std::process::id());
    Ok(Arc::new(RedisStore::builder(url).namespace(namespace).rules(rules).build().await?))
}
