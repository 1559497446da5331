//! Refreshes that are answered without the server, because this process used the session a moment ago.

use std::future::Future;
use std::time::Duration;

use cloakroom::migration::Import;
use cloakroom::{
    Binding, Error, NewSession, Obstacle, OperationId, Patch, Refreshed, Rotation, Rules, Session,
    SessionStore as _,
};

use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::proxy::Proxy;

const INTERVAL: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);
/// How long a call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

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
        let context = Context::own(&[]).await;
        let builder = context.builder(rules()).pool_size(1).clock(context.clock.clone());
        let store = build(builder.coalesce_touches(1000)).await;
        let other = context.store_at(rules()).await;
        // The connection is made, so that round trips are those of calls.
        store.create(NewSession::new()).await.unwrap();
        Self { context, store, other }
    }

    async fn session(&self, name: &str) -> Session {
        self.context.session(&self.store, name).await
    }

    /// What a call comes to, and whether it asked the server: 0 or 1.
    async fn asks<T>(&self, call: impl Future<Output = T>) -> (T, u64) {
        let before = self.context.count().await;
        let answer = call.await;
        (answer, self.context.cost_since(&before).await.round_trips.min(1))
    }

    async fn refresh(&self, session: &Session) -> (Option<Refreshed>, u64) {
        let (answer, asked) = self.asks(self.store.refresh(session.id())).await;
        (answer.unwrap(), asked)
    }
}

#[tokio::test]
async fn within_the_interval_a_refresh_asks_nothing_and_after_it_the_server() {
    let world = World::new().await;
    let session = world.session("a").await;
    world.context.clock.advance(INTERVAL - MOMENT);
    let (answer, asked) = world.refresh(&session).await;
    let (from_server, _) = world.asks(world.other.refresh(session.id())).await;
    assert_eq!((answer.clone(), asked), (from_server.unwrap(), 0), "answered as the server would");
    assert!(!answer.unwrap().changed);

    world.context.clock.advance(MOMENT);
    let (answer, asked) = world.refresh(&session).await;
    let answer = answer.unwrap();
    assert_eq!((answer.changed, answer.last_active_ms, asked), (true, world.context.clock.now_ms(), 1));
    let (again, asked) = world.refresh(&session).await;
    let again = again.unwrap();
    assert_eq!((again.changed, again.last_active_ms, asked), (false, answer.last_active_ms, 0));
    assert_eq!(again.expires_at_ms, answer.expires_at_ms);
}

#[tokio::test]
async fn what_was_used_by_another_process_is_asked_for() {
    let world = World::new().await;
    let session = world.context.session(&world.other, "a").await;
    for _ in 0..2 {
        let (answer, asked) = world.refresh(&session).await;
        assert_eq!(
            (answer.unwrap().changed, asked),
            (false, 1),
            "how long ago that is the answer does not tell"
        );
    }
    world.context.clock.advance(INTERVAL);
    assert!(world.store.refresh_and_get(session.id()).await.unwrap().is_some());
    assert_eq!(world.refresh(&session).await.1, 0, "this process used it");
}

#[tokio::test]
async fn after_a_delete_by_this_process_nothing_is_answered_whatever_the_id() {
    let world = World::new().await;
    let session = world.session("a").await;
    assert_eq!(world.refresh(&session).await.1, 0);
    assert!(world.store.delete(&session).await.unwrap());
    assert_eq!(world.refresh(&session).await, (None, 1));

    // The old id leads a delete to the session, which is answered for under its new id.
    let old = world.session("b").await;
    world.context.clock.advance(INTERVAL);
    let new = world.other.rotate(&old, Rotation::new()).await.unwrap().session;
    assert!(world.store.refresh(&new).await.unwrap().unwrap().changed);
    assert_eq!(world.refresh(&new).await.1, 0);
    assert!(world.store.delete(old.id()).await.unwrap());
    assert_eq!(world.refresh(&new).await, (None, 1));
}

#[tokio::test]
async fn each_change_by_this_process_lets_the_server_be_asked_again() {
    let world = World::new().await;
    let store = &world.store;
    let fresh = async |name: &str| {
        let session = world.session(name).await;
        assert_eq!(world.refresh(&session).await.1, 0, "{name}");
        session
    };
    let is_asked = async |session: &Session, name: &str| {
        let (answer, asked) = world.refresh(session).await;
        assert_eq!(asked, 1, "{name}");
        answer
    };

    let mut session = fresh("update").await;
    session.set("a", &1).unwrap();
    store.update(&mut session).await.unwrap();
    assert_eq!(is_asked(&session, "update").await.unwrap().version.get(), 2);

    let session = fresh("patch").await;
    store.patch(session.id(), Patch::new().set("a", &1).unwrap()).await.unwrap();
    assert_eq!(is_asked(&session, "patch").await.unwrap().version.get(), 2);

    let (taker, loser) = (fresh("taker").await, fresh("loser").await);
    let binding = Binding::new("connection-loser").take_over();
    store.bind(&taker, binding).await.unwrap();
    assert_eq!(is_asked(&taker, "bind").await.unwrap().version.get(), 2);
    assert_eq!(is_asked(&loser, "bind that takes").await.unwrap().version.get(), 2);

    let session = fresh("unbind").await;
    store.unbind(&session, "connection-unbind").await.unwrap();
    assert_eq!(is_asked(&session, "unbind").await.unwrap().version.get(), 2);

    let session = fresh("rotate").await;
    let rotated = store.rotate(&session, Rotation::new().user("another")).await.unwrap().session;
    assert_eq!(is_asked(&session, "rotate").await, None);
    assert!(is_asked(&rotated, "rotated").await.is_some());

    let session = fresh("delete_user").await;
    store.delete_user("user-delete_user", None).await.unwrap();
    assert_eq!(is_asked(&session, "delete_user").await, None);

    let session = fresh("import").await;
    let export = world.other.export(session.id()).await.unwrap().unwrap();
    store.import(Import::new(export)).await.unwrap();
    assert!(is_asked(&session, "import").await.is_some());

    let session = fresh("get").await;
    world.other.delete(&session).await.unwrap();
    assert!(store.get(session.id()).await.unwrap().is_none());
    assert_eq!(is_asked(&session, "get that finds none").await, None);
    world.context.check().await;
}

#[tokio::test]
async fn a_logout_elsewhere_is_noticed_when_the_interval_is_over() {
    let world = World::new().await;
    let session = world.session("a").await;
    world.other.delete(&session).await.unwrap();
    world.context.clock.advance(INTERVAL - MOMENT);
    assert!(world.refresh(&session).await.0.is_some(), "as the documentation says");
    assert_eq!(world.store.refresh_and_get(session.id()).await.unwrap(), None, "that one asks");
    assert_eq!(world.refresh(&session).await, (None, 1));
}

#[tokio::test]
async fn nothing_is_answered_for_a_session_that_may_have_expired() {
    let world = World::new().await;
    let short = NewSession::new().ttl(INTERVAL + INTERVAL / 2);
    let session = world.store.create(short).await.unwrap().session;
    assert_eq!(world.refresh(&session).await.1, 0);
    world.context.clock.advance(INTERVAL / 2);
    let (answer, asked) = world.refresh(&session).await;
    assert_eq!((answer.unwrap().changed, asked), (true, 1), "it is extended as ever");
}

#[tokio::test]
async fn a_batch_is_answered_for_and_a_call_that_is_repeated_is_not() {
    let world = World::new().await;
    let made = world.store.create_many((0..150).map(|_| NewSession::new()).collect()).await;
    for created in made {
        assert_eq!(world.refresh(&created.unwrap().session).await.1, 0);
    }
    let call = world.store.with_operation_id(OperationId::random());
    call.create(NewSession::new()).await.unwrap();
    world.context.clock.advance(INTERVAL * 2);
    let again = call.create(NewSession::new()).await.unwrap().session;
    let (answer, asked) = world.refresh(&again).await;
    assert_eq!((answer.unwrap().changed, asked), (true, 1), "it was made long ago");
}

#[tokio::test]
async fn once_the_server_is_away_it_is_asked() {
    let context = Context::own(&[]).await;
    let proxy = Proxy::start(context.server().address()).await;
    let builder = cloakroom::RedisStore::builder(&proxy.url).namespace(&context.namespace).rules(rules());
    let store =
        builder.deadline(PATIENCE).connect_timeout(PATIENCE).coalesce_touches(10).build().await.unwrap();
    let session = store.create(NewSession::new()).await.unwrap().session;
    proxy.cut_off(true);
    assert!(store.refresh(&session).await.unwrap().is_some(), "nobody knows yet");
    assert!(store.get(session.id()).await.is_err());
    let error = store.refresh(&session).await.unwrap_err();
    assert!(error.is_not_executed() || error.is_ambiguous(), "{error:?}");
    proxy.cut_off(false);
    store.close().await;
    let closed = store.refresh(&session).await;
    assert!(matches!(closed, Err(Error::NotExecuted { reason: Obstacle::Closed, .. })), "{closed:?}");
}

#[tokio::test]
async fn a_store_that_is_not_told_to_always_asks() {
    let world = World::new().await;
    let session = world.session("a").await;
    for _ in 0..2 {
        assert_eq!(world.asks(world.other.refresh(session.id())).await.1, 1);
    }
}

#[tokio::test]
async fn touches_are_not_coalesced_without_an_interval_or_room() {
    let context = Context::redis().await;
    let error = context.builder(Rules::new()).coalesce_touches(10).build().await.unwrap_err();
    assert_eq!(error.to_string(), "coalesce_touches needs a touch interval");
    let error = context.builder(rules()).coalesce_touches(0).build().await.unwrap_err();
    assert_eq!(error.to_string(), "coalesce_touches is 0, must be at least 1");
}
