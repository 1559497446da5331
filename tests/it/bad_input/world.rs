//! A set of sessions in which each operation finds what it needs.

use std::time::Duration;

use cloakroom::migration::{Export, Freezing, Import, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, NodeIdentity};
use cloakroom::{
    Binding, NewSession, OnLimit, PageRequest, Patch, Result, Rotation, Rules, Selector, Session, SessionId,
};

use crate::support::Context;
use crate::support::context::Store;
use crate::support::expect::session_id;
use crate::support::leases::{LEASE, register};

const MINUTE: Duration = Duration::from_secs(60);

/// One operation in a world, on a way through its script that touches certain keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    CreateMany,
    CreateAgain,
    CreateHeld,
    CreateCrowded,
    Get,
    ByConnection,
    Update,
    UpdateHeld,
    Patch,
    Refresh,
    RefreshAndGet,
    Rotate,
    RotateCrowded,
    Bind,
    BindTaking,
    Unbind,
    Delete,
    Freeze,
    Import,
    ImportHeld,
    ImportLater,
    ListUser,
    ListNode,
    Count,
    Expired,
    Reap,
    DeleteUser,
    Heartbeat,
    Nodes,
    Recover,
    Migrations,
}

/// Sessions of which each call finds what it needs: `main` with less than half of its ttl left, `holder` of a
/// connection, `victim` of a limit, `dead` and not reaped.
pub(super) struct World {
    pub(super) store: Store,
    main: Session,
    /// Who holds the lease of the node "live".
    holder: NodeIdentity,
    /// A session "new" that is not there, the same with the connection of `holder`, and a later version of `main` with
    /// other owners.
    exports: [Export; 3],
}

pub(super) fn named(name: &str) -> NewSession {
    NewSession::new()
        .id(session_id(name))
        .user(format!("user-{name}"))
        .connection(format!("connection-{name}"))
        .node(format!("node-{name}"))
        .set("color", "green")
        .unwrap()
}

/// Sessions are made, exported and removed without a trace. That of `main` is at a later version than the one that is
/// made afterwards at the same time.
async fn exports(context: &Context, store: &Store) -> [Export; 3] {
    let mut exports = Vec::new();
    for new in [named("new"), named("new").connection("connection-holder"), named("main")] {
        let mut session = store.create(new).await.unwrap().session;
        if session.id().as_str() == "main" {
            session.set_user("user-new");
            session.set_connection("connection-new");
            session.set_node("node-new");
            store.update(&mut session).await.unwrap();
        }
        exports.push(store.export(session.id()).await.unwrap().unwrap());
        for key in context.keys().await {
            context.command::<i64>(&["DEL", &key]).await;
        }
    }
    exports.try_into().unwrap()
}

impl World {
    pub(super) async fn new(context: &Context) -> Self {
        let rules = Rules::new().sessions_per_user(1, OnLimit::EvictOldest);
        let store = context.store_at(rules).await;
        let exports = exports(context, &store).await;
        store.create(named("dead").ttl(MINUTE)).await.unwrap();
        store.create(named("victim")).await.unwrap();
        store.create(named("holder")).await.unwrap();
        let main = store.create(named("main")).await.unwrap().session;
        context.clock.advance(MINUTE * 20);
        let holder = register(&store, "live").await;
        Self { store, main, holder, exports }
    }

    /// Runs a call, and returns the sessions that it reports as corrupt.
    pub(super) async fn run(&self, call: Call) -> Result<Vec<SessionId>> {
        let (store, main) = (&self.store, &self.main);
        let login = |user: &str| Rotation::new().new_id(session_id("new")).user(user);
        let none = Vec::new();
        match call {
            Call::Create => store.create(named("new")).await.map(|_| none),
            Call::CreateMany => self.create_many().await.map(|()| none),
            Call::CreateAgain => store.create(named("main")).await.map(|_| none),
            Call::CreateHeld => {
                let new = named("new").connection("connection-holder");
                store.create(new).await.map(|_| none)
            }
            Call::CreateCrowded => {
                let new = named("new").user("user-victim");
                store.create(new).await.map(|_| none)
            }
            Call::Get => store.get(main.id()).await.map(|_| none),
            Call::ByConnection => store.session_by_connection("connection-main").await.map(|_| none),
            Call::Update => self.update("connection-new").await.map(|()| none),
            Call::UpdateHeld => self.update("connection-holder").await.map(|()| none),
            Call::Patch => {
                let patch = Patch::new().set("color", "red").unwrap().ttl(MINUTE);
                store.patch(main, patch).await.map(|_| none)
            }
            Call::Refresh => store.refresh(main).await.map(|_| none),
            Call::RefreshAndGet => store.refresh_and_get(main).await.map(|_| none),
            Call::Rotate => store.rotate(main, login("user-new")).await.map(|_| none),
            Call::RotateCrowded => store.rotate(main, login("user-victim")).await.map(|_| none),
            Call::Bind => {
                let binding = Binding::new("connection-new").node("node-new");
                store.bind(main, binding).await.map(|_| none)
            }
            Call::BindTaking => {
                let binding = Binding::new("connection-holder").node("node-new");
                store.bind(main, binding.take_over()).await.map(|_| none)
            }
            Call::Unbind => store.unbind(main, "connection-main").await.map(|_| none),
            Call::Delete => store.delete(main).await.map(|_| none),
            Call::Freeze => {
                let (task, span) = (TaskId::random(), MINUTE);
                store.freeze(main, Freezing::new(task, "elsewhere").span(span)).await.map(|_| none)
            }
            Call::Import => self.import(0).await.map(|_| none),
            Call::ImportHeld => self.import(1).await.map(|_| none),
            Call::ImportLater => self.import(2).await.map(|_| none),
            _ => self.run_bulk(call).await,
        }
    }

    async fn run_bulk(&self, call: Call) -> Result<Vec<SessionId>> {
        let store = &self.store;
        let page = PageRequest::first(10);
        match call {
            Call::ListUser => {
                let page = store.list(&Selector::user("user-main"), &page).await;
                page.map(|_| Vec::new())
            }
            Call::ListNode => {
                let page = store.list(&Selector::node("node-main"), &page).await;
                page.map(|_| Vec::new())
            }
            Call::Count => {
                let count = store.count(&Selector::user("user-main")).await;
                count.map(|_| Vec::new())
            }
            Call::Expired => store.expired(None, 0, 10).await.map(|_| Vec::new()),
            Call::Reap => store.reap(10).await.map(|reaped| reaped.corrupt),
            Call::DeleteUser => {
                let deleted = store.delete_user("user-main", None).await;
                deleted.map(|deleted| deleted.corrupt)
            }
            Call::Heartbeat => {
                let status = store.heartbeat(&self.holder, Heartbeat::renew().lease(LEASE)).await;
                status.map(|_| Vec::new())
            }
            Call::Migrations => store.migrations(0, 10).await.map(|_| Vec::new()),
            Call::Nodes => store.lapsed_nodes().await.map(|_| Vec::new()),
            Call::Recover => {
                let claimed = store.recover(Claim::new("node-main", "live")).await;
                claimed.map(|claimed| claimed.corrupt)
            }
            _ => unreachable!("{call:?} is no bulk work"),
        }
    }

    /// One alone, and nobody's: with users whose sessions are limited there is no batch.
    async fn create_many(&self) -> Result<()> {
        let mut made = self.store.create_many(vec![named("new").user("")]).await;
        made.remove(0).map(drop)
    }

    async fn import(&self, export: usize) -> Result<bool> {
        self.store.import(Import::new(self.exports[export].clone())).await
    }

    async fn update(&self, connection: &str) -> Result<()> {
        let mut copy = self.main.clone();
        copy.set_user("user-new");
        copy.set_connection(connection);
        copy.set_node("node-new");
        copy.set_ttl(MINUTE);
        self.store.update(&mut copy).await
    }
}
