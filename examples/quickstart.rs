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

    println!("A visitor comes. The session is anonymous, and in nobody's index.");
    let visit = store.create(NewSession::new().set("cart", &["umbrella"])?).await?.session;
    show(&visit);

    println!("\nAnn logs in: a new id, the same data, her index, in one step.");
    let login = store.rotate(&visit, Rotation::new().user("ann")).await?.session;
    show(&login);
    let old = store.get(visit.id()).await.expect_err("a login cuts the old id off");
    println!("  The old id is {old}: whoever planted it stays outside.");

    println!("\nHer browser opens a WebSocket at gateway-1.");
    let bound = store.bind(&login, Binding::new("socket-7").node("gateway-1")).await?;
    println!(
        "  version {} now, it had no connection before: {}",
        bound.version,
        bound.previous_connection.is_none()
    );

    println!("\nOther processes find the session:");
    let page = store.list(&Selector::user("ann"), &PageRequest::first(10)).await?;
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
    let reaper = Reaper::builder(store.clone())
        .every(Duration::from_millis(200))
        .on_removed(move |session: &Session| drop(sender.send(session.clone())))
        .spawn()?;
    let session = removed.recv().await.ok_or("the reaper ended")?;
    println!("  {:?} expired; close {:?} at {:?}", session.user(), session.connection(), session.node());
    let stats = reaper.stop().await;
    println!(
        "  reaped {}, still stored of Ann's: {}",
        stats.removed,
        store.count(&Selector::user("ann")).await?
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
