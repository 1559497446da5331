//! Writes of a node: they happen while it holds its lease and the session, and are refused afterwards, however late
//! they come.

use std::sync::Arc;

use cloakroom::nodes::{Claim, Heartbeat, NodeIdentity};
use cloakroom::{
    Binding, Error, NewSession, OperationId, Patch, Refusal, Result, Rotation, Rules, Session, SessionStore,
};
use futures::future::{BoxFuture, FutureExt as _};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::expect::{refusal, session_id};
use crate::support::leases::{LEASE, register, session_at};

/// What a node does to a session of its own.
type Write = fn(Arc<dyn SessionStore>, Session) -> BoxFuture<'static, Result<()>>;

const WRITES: &[(&str, Write)] = &[
    ("patch", |store, session| {
        async move { store.patch(&session, Patch::new().set("color", "red")?).await.map(drop) }.boxed()
    }),
    ("patch of the ttl by id", |store, session| {
        async move { store.patch(session.id(), Patch::new().ttl(LEASE * 1000)).await.map(drop) }.boxed()
    }),
    ("update", |store, mut session| {
        async move {
            session.set("color", "red")?;
            store.update(&mut session).await
        }
        .boxed()
    }),
    ("refresh", |store, session| async move { store.refresh(&session).await.map(drop) }.boxed()),
    ("refresh by id", |store, session| async move { store.refresh(session.id()).await.map(drop) }.boxed()),
    ("refresh and get", |store, session| {
        async move { store.refresh_and_get(&session).await.map(drop) }.boxed()
    }),
    ("rotate", |store, session| {
        async move { store.rotate(&session, Rotation::new()).await.map(drop) }.boxed()
    }),
    ("login", |store, session| {
        async move { store.rotate(session.id(), Rotation::new().user("ann")).await.map(drop) }.boxed()
    }),
    ("unbind", |store, session| {
        async move {
            let connection = session.connection().unwrap().to_owned();
            store.unbind(&session, &connection).await.map(|unbound| assert!(unbound))
        }
        .boxed()
    }),
    ("delete", |store, session| {
        async move { store.delete(&session).await.map(|deleted| assert!(deleted.is_some())) }.boxed()
    }),
    ("delete by id", |store, session| async move { store.delete(session.id()).await.map(drop) }.boxed()),
];

/// What a node does to have a session.
const ARRIVALS: &[(&str, Write)] = &[
    ("create", |store, session| {
        async move {
            let new = NewSession::new().user("new").connection(format!("new-{}", session.id().as_str()));
            let made = store.create(new).await?.session;
            assert_eq!(made.node(), Some("n"), "it is made where it is");
            Ok(())
        }
        .boxed()
    }),
    ("create_many", |store, session| {
        async move {
            let new = NewSession::new().connection(format!("many-{}", session.id().as_str()));
            let made = store.create_many(vec![new]).await.pop().unwrap()?.session;
            assert_eq!(made.node(), Some("n"), "it is made where it is");
            Ok(())
        }
        .boxed()
    }),
    ("bind", |store, session| {
        async move {
            let binding = Binding::new(format!("new-{}", session.id().as_str()));
            store.bind(&session, binding).await.map(drop)
        }
        .boxed()
    }),
];

async fn assert_fenced(
    context: &Context,
    store: &Arc<dyn SessionStore>,
    session: &Session,
    name: &str,
    write: Write,
) {
    let before = context.dump().await;
    let error = write(store.clone(), session.clone()).await.unwrap_err();
    assert!(error.is_fenced(), "{name}: {error:?}");
    assert_eq!(context.dump().await, before, "{name} changed something");
}

#[rstest]
#[tokio::test]
async fn a_node_writes_to_its_sessions_while_it_holds_its_lease(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let owner = store.as_node(&register(&store, "n").await);
    for (number, (name, write)) in WRITES.iter().chain(ARRIVALS).enumerate() {
        let session = session_at(&store, "n", &format!("s{number}")).await;
        let before = context.dump().await;
        context.clock.advance(std::time::Duration::from_millis(1));
        write(owner.clone(), session).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_ne!(context.dump().await, before, "{name} did nothing");
        context.check().await;
    }
}

#[rstest]
#[tokio::test]
async fn a_node_that_lost_its_lease_writes_nothing_even_when_it_has_a_new_one(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let owner = store.as_node(&register(&store, "n").await);
    let session = session_at(&store, "n", "s").await;
    context.lapse();
    for (name, write) in WRITES.iter().chain(ARRIVALS) {
        assert_fenced(&context, &owner, &session, name, *write).await;
    }
    let again = store.as_node(&register(&store, "n").await);
    for (name, write) in WRITES.iter().chain(ARRIVALS) {
        assert_fenced(&context, &owner, &session, name, *write).await;
    }
    again.patch(&session, Patch::new().suspend()).await.unwrap();
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_does_not_write_to_what_was_taken_from_it(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let owner = store.as_node(&register(&store, "n").await);
    let session = session_at(&store, "n", "s").await;
    register(&store, "other").await;
    store.recover(Claim::new("n", "other").even_if_leased()).await.unwrap();
    for (name, write) in WRITES.iter().filter(|(name, _)| *name != "unbind") {
        assert_fenced(&context, &owner, &session, name, *write).await;
    }
    // It lost the connection too, so there is nothing to detach.
    assert!(!owner.unbind(&session, "connection-s").await.unwrap());
    // Its client may well come back to this node.
    owner.bind(&session, Binding::new("new")).await.unwrap();
    owner.patch(session.id(), Patch::new().set("color", "red").unwrap()).await.unwrap();
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_node_does_not_write_to_sessions_of_no_node_or_put_any_elsewhere(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let owner = store.as_node(&register(&store, "n").await);
    let visit = store.create(NewSession::new().id(session_id("visit"))).await.unwrap().session;
    let patch = Patch::new().set("color", "red").unwrap();
    assert_eq!(refusal(owner.patch(&visit, patch).await), Refusal::Fenced);
    let before = context.dump().await;
    for error in [
        owner.bind(&visit, Binding::new("c").node("other")).await.unwrap_err(),
        owner.create(NewSession::new().node("other")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Invalid(_)));
        assert_eq!(error.to_string(), "node id is not that of the node that makes the call");
    }
    assert_eq!(context.dump().await, before);
    assert_eq!(owner.bind(&visit, Binding::new("c")).await.unwrap().version.get(), 2);
    let found = owner.session_by_connection("c").await.unwrap().unwrap();
    assert_eq!(found.node(), Some("n"));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_write_that_happened_is_recognized_though_the_lease_is_lost_by_now(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let owner = store.as_node(&register(&store, "n").await);
    for (number, (name, write)) in
        WRITES.iter().enumerate().filter(|(_, (name, _))| !name.starts_with("refresh"))
    {
        let session = session_at(&store, "n", &format!("s{number}")).await;
        let repeated = owner.with_operation_id(OperationId::random());
        write(repeated.clone(), session.clone()).await.unwrap();
        let before = context.dump().await;
        // A lease is shorter than tombstones and moved records last.
        let clock = context.clock.now_ms();
        context.lapse();
        write(repeated, session).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(context.dump().await, before, "{name} happened again");
        context.clock.set_ms(clock);
    }
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn operations_that_are_nobodys_in_particular_are_not_fenced(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let lost = store.as_node(&NodeIdentity::new("n").unwrap());
    session_at(&store, "n", "s").await;
    assert!(lost.get(&session_id("s")).await.unwrap().is_some());
    assert_eq!(lost.delete_user("user-s", None).await.unwrap().removed.len(), 1);
    assert!(lost.reap(10).await.unwrap().sessions.is_empty());
    // What is about nodes is no call of one.
    assert!(store.nodes().await.unwrap().is_empty());
    store.heartbeat(&NodeIdentity::new("other").unwrap(), Heartbeat::register()).await.unwrap();
    context.check().await;
}

#[tokio::test]
async fn a_write_that_is_not_fenced_costs_nothing_more_and_one_that_is_asks_for_the_lease() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    let owner = store.as_node(&register(&store, "n").await);
    let session = session_at(&store, "n", "s").await;
    let mut gets = Vec::new();
    let anybody: Arc<dyn SessionStore> = store;
    for (store, color) in [(anybody, "red"), (owner, "blue")] {
        let before = context.count().await;
        store.patch(session.id(), Patch::new().set("color", color).unwrap()).await.unwrap();
        let cost = context.cost_since(&before).await;
        assert_eq!((cost.round_trips, cost.scripts), (1, 1));
        gets.push(cost.calls());
    }
    assert_eq!(gets, [3, 4]);
}
