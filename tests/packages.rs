//! A crate that depends on what is published. tests/packages builds and runs it.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use cloakroom::{IdScheme, MemoryStore, NewSession, RedisStore, Rules, SessionStore};
use cloakroom_actix_session as of_actix;
use cloakroom_axum::{Session, SessionError, SessionLayer};
use cloakroom_tower_sessions as of_tower;

async fn visits(session: Session) -> Result<String, SessionError> {
    let visits = session.get::<u32>("visits").await?.unwrap_or(0) + 1;
    session.set("visits", &visits).await?;
    Ok(format!("visit {visits}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Rules::new().id_scheme(IdScheme::Token);
    let store = Arc::new(MemoryStore::builder().rules(rules).build()?);
    let created = store.create(NewSession::new().user("ann")).await?;
    assert!(store.get(created.session.id()).await?.is_some());
    let _others = (of_tower::CloakroomStore::new(store.clone()), of_actix::CloakroomStore::new(store.clone()));
    let _app: Router = Router::new().route("/", get(visits)).layer(SessionLayer::new(store)?);
    // Its scripts are in it. Nobody listens there.
    let unreachable = RedisStore::builder("redis://127.0.0.1:1/").build().await;
    assert!(unreachable.is_err());
    println!("what is published builds and runs");
    Ok(())
}
