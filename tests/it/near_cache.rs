//! Sessions that are answered from memory, until the server says that they changed.
//!
//! Where the staleness is an hour, only the server's word, an end of the connection or the process itself can end an entry.

mod changes;
mod links;
mod random;
mod servers;

use std::time::Duration;

use cloakroom::{
    Binding, Error, NewSession, Obstacle, Patch, RedisStoreBuilder, Refreshed, Rotation, Rules, Session,
};

use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::expect::unless_left;
use crate::support::leases::{register, session_at};
use crate::support::manager::Manager;

const INTERVAL: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn rules() -> Rules {
    Rules::new().ttl(Duration::from_secs(1200)).touch_interval(INTERVAL).refresh_threshold(1.0)
}

/// A server of its own; a store that answers from memory, and that of another process.
struct World {
    context: Context,
    store: Store,
    other: Store,
}

impl World {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(setting: impl FnOnce(RedisStoreBuilder) -> RedisStoreBuilder) -> Self {
        let context = Context::own(&[]).await;
        let builder = context.builder(rules()).clock(context.clock.clone());
        let store = build(setting(builder.near_cache(1000).near_cache_staleness(HOUR))).await;
        let other = context.store_at(rules()).await;
        Self { context, store, other }
    }

    /// Made by another process, and read by the store.
    async fn read(&self, name: &str) -> Session {
        let session = self.context.session(&self.other, name).await;
        let read = self.store.get(session.id()).await.unwrap().unwrap();
        assert_eq!(
            self.asks(async { self.store.get(session.id()).await }).await,
            (Ok(Some(read)), 0),
            "{name}"
        );
        session
    }

    /// What a call comes to, and how often it asked for a session.
    async fn asks<T>(&self, call: impl Future<Output = T>) -> (T, u64) {
        asks(&self.context, call).await
    }

    async fn refresh(&self, session: &Session) -> (Option<Refreshed>, u64) {
        let (answer, asked) = self.asks(self.store.refresh(session.id())).await;
        (answer.unwrap(), asked)
    }
}

async fn asks<T>(context: &Context, call: impl Future<Output = T>) -> (T, u64) {
    let before = context.count().await;
    let answer = call.await;
    let cost = context.cost_since(&before).await;
    let reads = if cost.scripts == 0 { cost.commands.get("get").copied().unwrap_or(0) } else { 0 };
    (answer, cost.scripts + reads)
}

#[tokio::test]
async fn what_was_read_is_answered_from_memory_and_a_fresh_read_always_asks() {
    let world = World::new().await;
    let session = world.read("a").await;
    let (many, asked) = world.asks(world.store.get_many(&[session.id().clone(), session.id().clone()])).await;
    assert_eq!((many.len(), asked), (2, 0));
    let fresh = world.asks(world.store.get_fresh(session.id())).await;
    assert_eq!(fresh, (Ok(Some(session.clone())), 1));
    // And so does a store without a near cache.
    assert_eq!(world.asks(world.other.get(session.id())).await, (Ok(Some(session)), 1));
}

#[tokio::test]
async fn a_fresh_read_asks_through_a_fallback_store_too() {
    let world = World::new().await;
    let session = world.read("a").await;
    let fallback = cloakroom::fallback::FallbackStore::builder(world.store.clone()).build().unwrap();
    let fallback: Store = std::sync::Arc::new(fallback);
    assert_eq!(world.asks(fallback.get(session.id())).await.1, 0);
    assert_eq!(world.asks(fallback.get_fresh(session.id())).await, (Ok(Some(session)), 1));
}

#[tokio::test]
async fn a_copy_that_is_changed_in_hand_leaves_what_is_kept_as_it_was() {
    let world = World::new().await;
    let session = world.read("a").await;
    let mut copy = world.store.get(session.id()).await.unwrap().unwrap();
    copy.set("color", "red").unwrap();
    copy.extensions_mut().set("layer", &1).unwrap();
    copy.set_user("another");
    assert_eq!(world.asks(world.store.get(session.id())).await, (Ok(Some(session)), 0));
}

#[tokio::test]
async fn absence_is_not_kept_and_neither_is_a_frozen_session() {
    use cloakroom::migration::{Freezing, TaskId};
    let world = World::new().await;
    let id = crate::support::expect::session_id("later");
    assert_eq!(world.asks(world.store.get(&id)).await, (Ok(None), 1));
    world.other.create(NewSession::new().id(id.clone())).await.unwrap();
    assert!(world.store.get(&id).await.unwrap().is_some());

    let session = world.context.session(&world.other, "frozen").await;
    world.other.freeze(&session, Freezing::new(TaskId::random(), "elsewhere")).await.unwrap();
    for _ in 0..2 {
        let (found, asked) = world.asks(world.store.get(session.id())).await;
        assert!(found.unwrap().is_some());
        assert_eq!(asked, 1, "it ends by the clock, and nobody tells of that");
    }
}

#[tokio::test]
async fn an_id_that_was_rotated_away_leads_to_the_session_by_asking() {
    let world = World::new().await;
    let old = world.context.session(&world.other, "a").await;
    let new = world.other.rotate(&old, Rotation::new()).await.unwrap().session;
    for _ in 0..2 {
        let (found, asked) = world.asks(world.store.get(old.id())).await;
        assert_eq!(found.unwrap().as_ref().map(Session::id), Some(new.id()));
        assert!(asked > 0);
    }
    assert_eq!(world.asks(world.store.get(new.id())).await.1, 0, "it was read");
}

#[tokio::test]
async fn within_the_interval_a_refresh_asks_nothing_and_after_it_the_server() {
    let world = World::new().await;
    let session = world.read("a").await;
    world.context.clock.advance(INTERVAL - MOMENT);
    let (answer, asked) = world.refresh(&session).await;
    let from_server = world.other.refresh(session.id()).await.unwrap();
    assert_eq!((answer.clone(), asked), (from_server, 0), "answered as the server would");
    assert!(!answer.unwrap().changed);
    let (whole, asked) = world.asks(world.store.refresh_and_get(session.id())).await;
    assert_eq!((whole, asked), (Ok(Some(session.clone())), 0));

    world.context.clock.advance(MOMENT);
    let (answer, asked) = world.refresh(&session).await;
    let answer = answer.unwrap();
    assert!(answer.changed && asked > 0);
    assert_eq!(answer.last_active_ms, world.context.clock.now_ms());
    let read = world.store.get(session.id()).await.unwrap().unwrap();
    assert_eq!(read.last_active_ms(), answer.last_active_ms, "what this process did it sees");
    let (again, asked) = world.refresh(&session).await;
    let again = again.unwrap();
    assert_eq!((again.changed, again.last_active_ms, asked), (false, answer.last_active_ms, 0));
}

#[tokio::test]
async fn a_refresh_that_is_answered_by_a_read_keeps_what_it_read() {
    let world = World::new().await;
    let session = world.context.session(&world.other, "a").await;
    assert_eq!(world.refresh(&session).await.1, 1);
    assert_eq!(world.refresh(&session).await.1, 0);
    let session = world.context.session(&world.other, "b").await;
    assert_eq!(world.asks(world.store.refresh_and_get(&session)).await, (Ok(Some(session.clone())), 1));
    assert_eq!(world.asks(world.store.get(session.id())).await, (Ok(Some(session)), 0));
}

#[tokio::test]
async fn a_session_that_would_be_extended_is_asked_for_and_one_that_has_expired_too() {
    let world = World::new().await;
    let short = NewSession::new().ttl(INTERVAL + INTERVAL / 2);
    let session = world.other.create(short).await.unwrap().session;
    world.store.get(session.id()).await.unwrap().unwrap();
    world.context.clock.advance(INTERVAL / 2 - MOMENT);
    assert_eq!(world.refresh(&session).await.1, 0);
    world.context.clock.advance(MOMENT);
    let (answer, asked) = world.refresh(&session).await;
    assert!(answer.unwrap().changed && asked > 0);

    let read = world.store.get(session.id()).await.unwrap().unwrap();
    let left = read.expires_at_ms() - world.context.clock.now_ms();
    world.context.clock.advance(Duration::from_millis(left) - MOMENT);
    assert_eq!(world.asks(world.store.get(session.id())).await, (Ok(Some(read)), 0));
    world.context.clock.advance(MOMENT);
    assert_eq!(world.asks(world.store.get(session.id())).await, (Ok(None), 1));
}

#[tokio::test]
async fn a_refresh_under_a_lease_asks_whether_the_node_has_it() {
    let world = World::new().await;
    let identity = register(&world.other, "n").await;
    let session = session_at(&world.other, "a", "n").await;
    world.store.get(session.id()).await.unwrap().unwrap();
    let node = world.store.as_node(&identity);
    assert!(world.asks(node.refresh(&session)).await.1 > 0);
}

#[tokio::test]
async fn what_a_process_did_it_sees_at_once() {
    let world = World::new().await;
    let store = &world.store;
    let seen = async |session: &Session, name: &str| {
        let (found, asked) = world.asks(store.get(session.id())).await;
        assert_eq!(asked, 1, "{name}");
        unless_left(found)
    };
    let mut session = world.read("update").await;
    session.set("a", &1).unwrap();
    store.update(&mut session).await.unwrap();
    assert_eq!(seen(&session, "update").await.as_ref(), Some(&session));

    let session = world.read("patch").await;
    store.patch(session.id(), Patch::new().set("a", &1).unwrap()).await.unwrap();
    assert_eq!(seen(&session, "patch").await.unwrap().get("a").unwrap(), Some(1));

    let (taker, loser) = (world.read("taker").await, world.read("loser").await);
    store.bind(&taker, Binding::new("connection-loser").take_over()).await.unwrap();
    assert_eq!(seen(&taker, "bind").await.unwrap().connection(), Some("connection-loser"));
    assert_eq!(seen(&loser, "bind that takes").await.unwrap().connection(), None);

    let session = world.read("unbind").await;
    store.unbind(session.id(), "connection-unbind").await.unwrap();
    assert_eq!(seen(&session, "unbind").await.unwrap().connection(), None);

    let session = world.read("rotate").await;
    store.rotate(session.id(), Rotation::new().user("another")).await.unwrap();
    assert_eq!(seen(&session, "rotate").await, None);

    let session = world.read("delete_user").await;
    store.delete_user("user-delete_user", None).await.unwrap();
    assert_eq!(seen(&session, "delete_user").await, None);

    let session = world.read("delete").await;
    assert!(store.delete(session.id()).await.unwrap().is_some());
    assert_eq!(seen(&session, "delete").await, None);
    world.context.check().await;
}

#[tokio::test]
async fn a_closed_store_answers_nothing() {
    let world = World::new().await;
    let session = world.read("a").await;
    world.store.close().await;
    let closed = world.store.get(session.id()).await;
    assert!(matches!(closed, Err(Error::NotExecuted { reason: Obstacle::Closed, .. })), "{closed:?}");
}

#[tokio::test]
async fn no_more_sessions_are_kept_than_there_is_room_for() {
    let world = World::with(|builder| builder.near_cache(32)).await;
    let made = world.other.create_many((0..500).map(|_| NewSession::new()).collect()).await;
    let ids: Vec<_> = made.into_iter().map(|made| made.unwrap().session.id().clone()).collect();
    world.store.get_many(&ids).await;
    let (_, asked) = world.asks(world.store.get_many(&ids)).await;
    assert!(asked >= 500 - 32, "{asked}");
}

#[tokio::test]
async fn scripts_that_are_flushed_change_nothing_of_what_is_kept() {
    let world = World::new().await;
    let session = world.read("a").await;
    world.context.command::<()>(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(world.asks(world.store.get(session.id())).await.1, 0);
    world.store.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap();
    assert_eq!(world.store.get(session.id()).await.unwrap().unwrap().get("a").unwrap(), Some(1));
}

#[tokio::test]
async fn each_bad_setting_of_the_near_cache_is_named() {
    let context = Context::redis().await;
    let builder = || context.builder(Rules::new());
    let manager = Manager::new(context.server().url());
    for (builder, expected) in [
        (builder().near_cache(0), "near_cache is 0, must be at least 1"),
        (builder().near_cache_staleness(MOMENT), "near_cache_staleness is 1ms, must be 10ms to 3600s"),
        (
            cloakroom::RedisStore::builder_with_manager(manager).near_cache(10),
            "near_cache needs connections that the store makes itself",
        ),
    ] {
        assert_eq!(builder.build().await.unwrap_err().to_string(), expected);
    }
}
