//! One deadline per call, whatever the call does: the server falls silent after each reply in turn, and the call ends
//! at its deadline.

use std::time::Duration;

use cloakroom::migration::{Direction, Export, Freezing, Import, Leftover, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, NodeIdentity};
use cloakroom::{
    Binding, Error, NewSession, OnLimit, PageRequest, Patch, RedisStore, Rotation, Rules, Selector, Session,
    SessionId,
};
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::support::Context;
use crate::support::context::{Store, build};
use crate::support::proxy::Proxy;
use crate::support::stopped_time::StoppedTime;

const DEADLINE: Duration = Duration::from_secs(5);

/// What a call acts on, read before the server falls silent.
pub(crate) struct Given {
    pub(crate) id: SessionId,
    pub(crate) session: Session,
    pub(crate) export: Export,
    /// A number that no other call has.
    pub(crate) n: u64,
}

pub(crate) type Call = fn(Store, Given) -> BoxFuture<'static, Result<(), Error>>;

/// How far the end of a call may be from its deadline: the resolution of the runtime's timers.
const TOLERANCE: Duration = Duration::from_millis(2);

fn rules() -> Rules {
    Rules::new().sessions_per_user(1, OnLimit::EvictOldest)
}

/// Runs a call on a server that falls silent after none of its replies, after one, and so on until it has all it needs.
async fn ends_by_its_deadline(name: &str, call: Call) {
    let context = Context::own(&[]).await;
    let direct = context.store(rules()).await;
    let proxy = Proxy::start(context.server().address()).await;
    for replies in 0..20 {
        // A connection that was silent is asked by PING before its next use, which would count as a reply.
        let builder =
            RedisStore::builder(&proxy.url).namespace(&context.namespace).rules(rules()).pool_size(1);
        // And one that was silent for as long as a connection may take to be made is given up.
        let store = build(builder.deadline(DEADLINE).connect_timeout(2 * DEADLINE)).await;
        let session = context.session(&direct, &format!("s{replies}")).await;
        let export = direct.export(session.id()).await.unwrap().unwrap();
        let given = Given { id: session.id().clone(), session, export, n: replies };
        proxy.silence_after(replies);
        let stopped = StoppedTime::stop();
        let began = Instant::now();
        let mut call = tokio::spawn(call(store, given));
        let is_done = tokio::select! {
            done = &mut call => { done.unwrap().unwrap(); true }
            () = proxy.swallows() => false,
        };
        if is_done {
            stopped.resume();
            proxy.silence(false);
            assert!(replies > 0, "{name} asked the server nothing");
            return;
        }
        stopped.jump();
        let ended = call.await.unwrap();
        let took = began.elapsed();
        tokio::time::resume();
        proxy.silence(false);
        assert!(ended.is_err(), "{name} is answered after {replies} replies, without the next");
        assert!(
            (DEADLINE..=DEADLINE + TOLERANCE).contains(&took),
            "{name} took {took:?} after {replies} replies"
        );
    }
    panic!("{name} never has all it needs");
}

fn no_task() -> TaskId {
    TaskId::new([7; 8]).unwrap()
}

/// Every operation that has one deadline in all. `create_many` and `delete_user` of one batch have one.
pub(crate) const CALLS: &[(&str, Call)] = &[
    ("create", |store: Store, given: Given| {
        Box::pin(async move {
            store.create(NewSession::new().id(SessionId::new(format!("new-{}", given.n))?)).await.map(drop)
        })
    }),
    ("create_at_the_limit", |store: Store, given: Given| {
        Box::pin(
            async move { store.create(NewSession::new().user(format!("user-s{}", given.n))).await.map(drop) },
        )
    }),
    ("create_many", |store: Store, _: Given| {
        Box::pin(async move { store.create_many(vec![NewSession::new()]).await.remove(0).map(drop) })
    }),
    ("get", |store: Store, given: Given| Box::pin(async move { store.get(&given.id).await.map(drop) })),
    ("update", |store: Store, given: Given| {
        Box::pin(async move {
            let mut session = given.session;
            session.set("a", &1)?;
            store.update(&mut session).await
        })
    }),
    ("patch", |store: Store, given: Given| {
        Box::pin(
            async move { store.patch(&given.id, Patch::new().ttl(Duration::from_secs(9))).await.map(drop) },
        )
    }),
    ("refresh", |store: Store, given: Given| {
        Box::pin(async move { store.refresh(&given.id).await.map(drop) })
    }),
    ("refresh_and_get", |store: Store, given: Given| {
        Box::pin(async move { store.refresh_and_get(&given.id).await.map(drop) })
    }),
    ("rotate", |store: Store, given: Given| {
        Box::pin(async move { store.rotate(&given.id, Rotation::new()).await.map(drop) })
    }),
    ("bind", |store: Store, given: Given| {
        Box::pin(async move {
            store.bind(&given.id, Binding::new(format!("c{}", given.n)).node("n")).await.map(drop)
        })
    }),
    ("unbind", |store: Store, given: Given| {
        Box::pin(async move { store.unbind(&given.id, &format!("connection-s{}", given.n)).await.map(drop) })
    }),
    ("delete", |store: Store, given: Given| Box::pin(async move { store.delete(&given.id).await.map(drop) })),
    ("list", |store: Store, given: Given| {
        Box::pin(async move {
            store.list(&Selector::user(format!("user-s{}", given.n)), &PageRequest::first(5)).await.map(drop)
        })
    }),
    ("count", |store: Store, given: Given| {
        Box::pin(async move { store.count(&Selector::user(format!("user-s{}", given.n))).await.map(drop) })
    }),
    ("session_by_connection", |store: Store, given: Given| {
        Box::pin(
            async move { store.session_by_connection(&format!("connection-s{}", given.n)).await.map(drop) },
        )
    }),
    ("expired", |store: Store, _: Given| Box::pin(async move { store.expired(None, 0, 5).await.map(drop) })),
    ("reap", |store: Store, _: Given| Box::pin(async move { store.reap(5).await.map(drop) })),
    ("heartbeat", |store: Store, given: Given| {
        Box::pin(async move {
            store
                .heartbeat(&NodeIdentity::new(&format!("n{}", given.n))?, Heartbeat::register())
                .await
                .map(drop)
        })
    }),
    ("nodes", |store: Store, _: Given| Box::pin(async move { store.nodes().await.map(drop) })),
    ("lapsed_nodes", |store: Store, _: Given| Box::pin(async move { store.lapsed_nodes().await.map(drop) })),
    ("export", |store: Store, given: Given| Box::pin(async move { store.export(&given.id).await.map(drop) })),
    ("import", |store: Store, given: Given| {
        Box::pin(async move { store.import(Import::new(given.export)).await.map(drop) })
    }),
    ("freeze", |store: Store, given: Given| {
        Box::pin(async move {
            store.freeze(&given.id, Freezing::new(TaskId::random(), "elsewhere")).await.map(drop)
        })
    }),
    ("clean", |store: Store, given: Given| {
        Box::pin(async move { store.clean(&given.id, no_task(), Leftover::Departed).await.map(drop) })
    }),
    ("thaw", |store: Store, given: Given| {
        Box::pin(async move { store.thaw(&given.id, no_task(), Direction::Outgoing).await.map(drop) })
    }),
    ("migrations", |store: Store, _: Given| Box::pin(async move { store.migrations(0, 5).await.map(drop) })),
    ("migration", |store: Store, given: Given| {
        Box::pin(async move { store.migration(&given.id).await.map(drop) })
    }),
    ("recover", |store: Store, _: Given| {
        Box::pin(async move {
            match store.recover(Claim::new("dead", "live")).await {
                Err(Error::Refused(_)) => Ok(()),
                recovered => recovered.map(drop),
            }
        })
    }),
    ("delete_user", |store: Store, given: Given| {
        Box::pin(async move { store.delete_user(&format!("user-s{}", given.n), None).await.map(drop) })
    }),
];

#[tokio::test]
async fn a_call_ends_by_its_deadline_wherever_the_server_falls_silent() {
    for (name, call) in CALLS {
        ends_by_its_deadline(name, *call).await;
    }
}
