//! Sessions of which each operation finds what it needs.

use std::time::Duration;

use cloakroom::{
    Binding, NewSession, OnLimit, Owner, PageRequest, Patch, RedisStore, Result, Rotation, Rules, Session,
    SessionId, SessionStore as _,
};

use crate::support::Context;
use crate::support::expect::session_id;

const MINUTE: Duration = Duration::from_secs(60);

/// One operation in a world, on a way through its script that touches certain keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
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
    ListUser,
    ListNode,
    Count,
    Expired,
    Reap,
    DeleteUser,
}

/// Sessions of which each call finds what it needs: `main` with less than half of its ttl left, `holder` of a
/// connection, `victim` of a limit, `dead` and not reaped.
pub(super) struct World {
    pub(super) store: RedisStore,
    main: Session,
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

impl World {
    pub(super) async fn new(context: &Context) -> Self {
        let rules = Rules::new().sessions_per_user(1, OnLimit::EvictOldest);
        let store = context.store_at(rules).await;
        store.create(named("dead").ttl(MINUTE)).await.unwrap();
        store.create(named("victim")).await.unwrap();
        store.create(named("holder")).await.unwrap();
        let main = store.create(named("main")).await.unwrap().session;
        context.clock.advance(MINUTE * 20);
        Self { store, main }
    }

    /// Runs a call, and returns the sessions that it reports as corrupt.
    pub(super) async fn run(&self, call: Call) -> Result<Vec<SessionId>> {
        let (store, main) = (&self.store, &self.main);
        let login = |user: &str| Rotation::new().new_id(session_id("new")).user(user);
        let none = Vec::new();
        match call {
            Call::Create => store.create(named("new")).await.map(|_| none),
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
            _ => self.run_bulk(call).await,
        }
    }

    async fn run_bulk(&self, call: Call) -> Result<Vec<SessionId>> {
        let store = &self.store;
        let page = PageRequest::first(10);
        match call {
            Call::ListUser => {
                let page = store.list(&Owner::user("user-main"), &page).await;
                page.map(|_| Vec::new())
            }
            Call::ListNode => {
                let page = store.list(&Owner::node("node-main"), &page).await;
                page.map(|_| Vec::new())
            }
            Call::Count => {
                let count = store.count(&Owner::user("user-main")).await;
                count.map(|_| Vec::new())
            }
            Call::Expired => store.expired(None, 0, 10).await.map(|_| Vec::new()),
            Call::Reap => store.reap(10).await.map(|reaped| reaped.corrupt),
            Call::DeleteUser => {
                let deleted = store.delete_user("user-main", None).await;
                deleted.map(|deleted| deleted.corrupt)
            }
            _ => unreachable!("{call:?} is no bulk work"),
        }
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
