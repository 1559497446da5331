//! Sessions that others change are gone from memory once the server has reported it.

use cloakroom::migration::{Freezing, Import, TaskId};
use cloakroom::nodes::Claim;
use cloakroom::{Binding, NewSession, Patch, Rotation, Session};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{INTERVAL, World};
use crate::support::context::eventually;
use crate::support::expect::session_id;
use crate::support::leases::register;

/// What another process does to a session.
type Change = fn(&World, Session) -> BoxFuture<'_, ()>;

const CHANGES: &[(&str, Change)] = &[
    ("delete", |world, session| {
        async move { assert!(world.other.delete(&session).await.unwrap().is_some()) }.boxed()
    }),
    ("patch", |world, session| {
        async move { drop(world.other.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap()) }
            .boxed()
    }),
    ("update", |world, mut session| {
        async move {
            session.set_user("another");
            world.other.update(&mut session).await.unwrap();
        }
        .boxed()
    }),
    ("rotate", |world, session| {
        async move { drop(world.other.rotate(&session, Rotation::new().user("b")).await.unwrap()) }.boxed()
    }),
    ("bind", |world, session| {
        async move { drop(world.other.bind(&session, Binding::new("another")).await.unwrap()) }.boxed()
    }),
    ("a connection that is taken over", |world, session| {
        async move {
            let taker = world.other.create(NewSession::new()).await.unwrap().session;
            let binding = Binding::new(session.connection().unwrap()).take_over();
            world.other.bind(&taker, binding).await.unwrap();
        }
        .boxed()
    }),
    ("unbind", |world, session| {
        async move {
            assert!(world.other.unbind(&session, session.connection().unwrap()).await.unwrap());
        }
        .boxed()
    }),
    ("delete_user", |world, session| {
        async move { drop(world.other.delete_user(session.user().unwrap(), None).await.unwrap()) }.boxed()
    }),
    ("refresh", |world, session| {
        async move {
            world.context.clock.advance(INTERVAL);
            assert!(world.other.refresh(&session).await.unwrap().unwrap().changed);
        }
        .boxed()
    }),
    ("freeze", |world, session| {
        async move {
            let freezing = Freezing::new(TaskId::random(), "elsewhere");
            world.other.freeze(&session, freezing).await.unwrap();
        }
        .boxed()
    }),
    ("depart", |world, session| {
        async move {
            let task = TaskId::random();
            let frozen = world.other.freeze(&session, Freezing::new(task, "elsewhere")).await.unwrap();
            world.other.depart(&session, task, frozen.until_ms).await.unwrap();
        }
        .boxed()
    }),
    ("recover", |world, session| {
        async move {
            register(&world.other, "n").await;
            let claim = Claim::new(session.node().unwrap(), "n").even_if_leased();
            assert_eq!(world.other.recover(claim).await.unwrap().sessions.len(), 1);
        }
        .boxed()
    }),
    ("import", |world, session| {
        async move {
            let export = world.other.export(session.id()).await.unwrap().unwrap();
            world.other.patch(&session, Patch::new().set("a", &1).unwrap()).await.unwrap();
            world.other.delete(&session).await.unwrap();
            world.context.command::<()>(&["DEL", &world.context.record_key(session.id())]).await;
            assert!(world.other.import(Import::new(export)).await.unwrap());
        }
        .boxed()
    }),
    ("DEL by hand", |world, session| {
        async move { world.context.command(&["DEL", &world.context.record_key(session.id())]).await }.boxed()
    }),
    ("UNLINK by a script of somebody's own", |world, session| {
        async move {
            let script = "return redis.call('UNLINK', KEYS[1])";
            let key = world.context.record_key(session.id());
            world.context.command(&["EVAL", script, "1", &key]).await
        }
        .boxed()
    }),
    ("RENAME by hand", |world, session| {
        async move {
            let key = world.context.record_key(session.id());
            world.context.command(&["RENAME", &key, "elsewhere"]).await
        }
        .boxed()
    }),
    ("a time to live that is over", |world, session| {
        async move {
            let key = world.context.record_key(session.id());
            world.context.command(&["PEXPIRE", &key, "1"]).await
        }
        .boxed()
    }),
    ("FLUSHALL", |world, _| async move { world.context.command(&["FLUSHALL"]).await }.boxed()),
    ("FLUSHDB of another database", |world, _| {
        async move {
            let mut flush = redis::pipe();
            flush.cmd("SELECT").arg(1).cmd("FLUSHDB").cmd("SELECT").arg(0);
            flush.query_async::<()>(&mut world.context.raw()).await.unwrap();
        }
        .boxed()
    }),
];

#[tokio::test]
async fn each_change_by_others_ends_what_is_kept() {
    let world = World::new().await;
    for (number, (name, change)) in CHANGES.iter().enumerate() {
        let session = world.read(&number.to_string()).await;
        change(&world, session.clone()).await;
        let asked = async || world.asks(world.store.get(session.id())).await.1 > 0;
        eventually(name, asked).await;
        let is_as_there = async || world.store.get(session.id()).await == world.other.get(session.id()).await;
        eventually(name, is_as_there).await;
    }
}

#[tokio::test]
async fn an_expired_session_that_is_reaped_is_gone_by_any_clock() {
    let world = World::new().await;
    let session = world.read("a").await;
    let now = world.context.clock.now_ms();
    world.context.clock.advance(super::HOUR);
    assert_eq!(world.other.reap(10).await.unwrap().sessions.len(), 1);
    world.context.clock.set_ms(now);
    eventually("it is gone", async || world.store.get(session.id()).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn what_changes_elsewhere_leaves_the_others_kept() {
    let world = World::new().await;
    let (one, other) = (world.read("one").await, world.read("other").await);
    world.other.delete(&one).await.unwrap();
    eventually("it is gone", async || world.store.get(one.id()).await.unwrap().is_none()).await;
    assert_eq!(world.asks(world.store.get(other.id())).await.1, 0);
    world.other.create(NewSession::new().id(session_id("new"))).await.unwrap();
    assert_eq!(world.asks(world.store.get(other.id())).await.1, 0);
}
