//! Every writing operation as a call that can be repeated.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::migration::{Direction, Export, Freezing, Import, TaskId};
use cloakroom::nodes::{Claim, Claimed, Heartbeat, NodeIdentity};
use cloakroom::{
    Binding, Error, NewSession, OperationId, Patch, Refusal, Removed, Result, Rotation, Session, SessionId,
    SessionStore,
};
use futures::future::{BoxFuture, FutureExt as _};

use crate::support::context::Store;
use crate::support::leases::LEASE;

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The session that it acted on, under the id that it has now.
    pub(super) id: SessionId,
    /// What it says of that session: the same for ever.
    pub(super) own: String,
    /// What it says of others that had to go, or of what was there before: known to one call, with its re-sends.
    pub(super) others: String,
}

/// Who makes a call, under an operation id of its own or under one that is given. What it is dereferenced to has that id.
#[derive(Clone)]
pub(super) struct Caller {
    all: Store,
    operation_id: Option<OperationId>,
    store: Arc<dyn SessionStore>,
}

impl Caller {
    pub(super) fn new(store: &Store) -> Self {
        Self { all: store.clone(), operation_id: None, store: store.clone() }
    }

    pub(super) fn under(store: &Store, id: OperationId) -> Self {
        Self { all: store.clone(), operation_id: Some(id), store: store.with_operation_id(id) }
    }

    async fn import(&self, import: Import) -> Result<bool> {
        let id = self.operation_id;
        self.all.import(id.map_or(import.clone(), |id| import.operation_id(id))).await
    }

    async fn recover(&self, claim: Claim) -> Result<Claimed> {
        let id = self.operation_id;
        self.all.recover(id.map_or(claim.clone(), |id| claim.operation_id(id))).await
    }
}

impl Deref for Caller {
    type Target = dyn SessionStore;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// A call, and the session that it acts on.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) call: fn(Caller, Given) -> BoxFuture<'static, Result<Answer>>,
    /// How many later changes it is recognized after, by the ids of the last changes in the live record.
    pub(super) remembered: u32,
}

/// What a call is given to act on.
#[derive(Clone)]
pub(super) struct Given {
    /// The session itself.
    pub(super) session: Session,
    /// A later version of the session "s", with other owners.
    pub(super) later: Export,
    /// A session that is not there.
    pub(super) elsewhere: Export,
    /// Of the node "live", who holds its lease.
    pub(super) holder: NodeIdentity,
}

fn answer(id: &SessionId, own: impl std::fmt::Debug, others: impl std::fmt::Debug) -> Answer {
    Answer { id: id.clone(), own: format!("{own:?}"), others: format!("{others:?}") }
}

fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

fn ids(removed: &[Removed]) -> Vec<&str> {
    let mut ids: Vec<_> = removed.iter().map(|removed| removed.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

async fn create(store: Caller, user: &str) -> Result<Answer> {
    let new = NewSession::new().id(id("new")).user(user).connection("x").node("n");
    let created = store.create(new.set("color", "red")?).await?;
    let session = &created.session;
    Ok(answer(session.id(), session, ids(&created.evicted)))
}

/// The first of many is repeated under the operation id that its error has, as the call itself.
async fn create_many(store: Caller) -> Result<Answer> {
    let new = ["new", "other"].map(|name| NewSession::new().id(id(name)).connection(name).node("n"));
    let made = store.create_many(new.to_vec()).await.into_iter().collect::<Result<Vec<_>>>()?;
    let sessions: Vec<&Session> = made.iter().map(|created| &created.session).collect();
    Ok(answer(sessions[0].id(), &sessions, ()))
}

async fn rotate(store: Caller, session: Session, rotation: Rotation) -> Result<Answer> {
    let rotated = store.rotate(&session, rotation.new_id(id("r"))).await?;
    let own = (&rotated.session, rotated.by_another);
    Ok(answer(rotated.session.id(), own, ids(&rotated.evicted)))
}

async fn bind(store: Caller, target: &dyn cloakroom::SessionRef, binding: Binding) -> Result<Answer> {
    let bound = store.bind(target, binding).await?;
    let others = (&bound.previous_connection, &bound.previous_node, &bound.taken_from);
    Ok(answer(&bound.id, (bound.version, bound.changed), others))
}

async fn delete_user(store: Caller, session: Session, keep: Option<&SessionId>) -> Result<Answer> {
    let deleted = store.delete_user("ann", keep).await?;
    Ok(answer(session.id(), &deleted.corrupt, ids(&deleted.removed)))
}

async fn import(store: Caller, export: Export) -> Result<Answer> {
    let id = export.session().id().clone();
    let imported = store.import(Import::new(export)).await?;
    assert!(imported);
    Ok(answer(&id, imported, ()))
}

/// The task of all migrations here: a call that comes again is of the same.
fn task() -> TaskId {
    TaskId::new([7; 8]).unwrap()
}

/// Lets go of a session by its id, as a migration does. When it comes again after that was done, there is nothing to freeze.
async fn depart(store: Caller, session: Session) -> Result<Answer> {
    let id = session.id();
    let freezing = Freezing::new(task(), "elsewhere").span(Duration::from_secs(60));
    let until = match store.all.freeze(id, freezing).await {
        Err(Error::Refused(Refusal::Departed { .. })) => 0,
        frozen => frozen?.until_ms,
    };
    let departed = store.all.depart(id, task(), until).await?;
    Ok(answer(id, departed, ()))
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "patch by id",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let patch = Patch::new().set("color", "red")?.set_extension("seen", &1)?.suspend();
                let patched = store.patch(session.id(), patch).await?;
                Ok(answer(&patched.id, (patched.version, patched.changed), ()))
            }
            .boxed()
        },
        remembered: 3,
    },
    Case {
        name: "patch of the ttl by id",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let patch = Patch::new().ttl(Duration::from_secs(7200)).remove("color");
                let patched = store.patch(session.id(), patch).await?;
                Ok(answer(&patched.id, (patched.version, patched.expires_at_ms, patched.changed), ()))
            }
            .boxed()
        },
        remembered: 3,
    },
    Case { name: "create", target: "s", call: |store, _| create(store, "bob").boxed(), remembered: 3 },
    Case {
        name: "create that evicts",
        target: "s",
        call: |store, _| create(store, "ann").boxed(),
        remembered: 3,
    },
    Case { name: "create_many", target: "s", call: |store, _| create_many(store).boxed(), remembered: 3 },
    Case {
        name: "update",
        target: "s",
        call: |store, Given { mut session, .. }| {
            async move {
                session.set("color", "red")?;
                session.set_user("bob");
                session.set_connection("x");
                session.set_node("m");
                session.set_ttl(Duration::from_secs(7200));
                store.update(&mut session).await?;
                Ok(answer(&session.id().clone(), session, ()))
            }
            .boxed()
        },
        remembered: 3,
    },
    Case {
        name: "refresh",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let refreshed = store.refresh(session.id()).await?.unwrap();
                Ok(answer(&refreshed.id.clone(), refreshed, ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "rotate",
        target: "s",
        call: |store, Given { session, .. }| rotate(store, session, Rotation::new()).boxed(),
        remembered: 0,
    },
    Case {
        name: "rotate to a user that evicts",
        target: "g",
        call: |store, Given { session, .. }| rotate(store, session, Rotation::new().user("ann")).boxed(),
        remembered: 0,
    },
    Case {
        name: "bind",
        target: "s",
        call: |store, Given { session, .. }| {
            async move { bind(store, &session, Binding::new("x").node("m")).await }.boxed()
        },
        remembered: 3,
    },
    Case {
        name: "bind by id that takes over",
        target: "s",
        call: |store, Given { session, .. }| {
            let binding = Binding::new("d").node("m2").take_over();
            async move { bind(store, session.id(), binding).await }.boxed()
        },
        remembered: 3,
    },
    Case {
        name: "unbind",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let unbound = store.unbind(session.id(), "c").await?;
                assert!(unbound);
                Ok(answer(session.id(), unbound, ()))
            }
            .boxed()
        },
        remembered: 3,
    },
    Case {
        name: "delete",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let deleted = store.delete(&session).await?.is_some();
                assert!(deleted);
                Ok(answer(session.id(), deleted, ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "delete by id",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let deleted = store.delete(session.id()).await?.is_some();
                Ok(answer(session.id(), deleted, ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "import",
        target: "s",
        call: |store, Given { elsewhere, .. }| import(store, elsewhere).boxed(),
        remembered: 2,
    },
    Case {
        name: "import that replaces",
        target: "s",
        call: |store, Given { later, .. }| import(store, later).boxed(),
        remembered: 2,
    },
    Case {
        name: "freeze",
        target: "s",
        call: |store, Given { session, .. }| {
            async move {
                let freezing = Freezing::new(task(), "elsewhere").span(Duration::from_secs(60));
                let frozen = store.all.freeze(&session, freezing).await?;
                Ok(answer(session.id(), frozen, ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "depart",
        target: "s",
        call: |store, Given { session, .. }| depart(store, session).boxed(),
        remembered: 0,
    },
    Case {
        name: "import of a copy",
        target: "s",
        call: |store, Given { elsewhere, .. }| {
            async move {
                let id = elsewhere.session().id().clone();
                let import = Import::new(elsewhere).incoming(task(), 1, "elsewhere");
                let imported = store.import(import).await?;
                Ok(answer(&id, imported, ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "import and thaw of a copy",
        target: "s",
        call: |store, Given { elsewhere, .. }| {
            async move {
                let id = elsewhere.session().id().clone();
                match store.import(Import::new(elsewhere).incoming(task(), 1, "elsewhere")).await {
                    // It was thawed when this came the last time.
                    Ok(_) | Err(Error::Refused(Refusal::Conflict { .. })) => {}
                    Err(error) => return Err(error),
                }
                store.all.thaw(&id, task(), Direction::Incoming).await?;
                Ok(answer(&id, (), ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "delete_user",
        target: "s",
        call: |store, Given { session, .. }| delete_user(store, session, None).boxed(),
        remembered: 0,
    },
    Case {
        name: "delete_user but one",
        target: "s",
        call: |store, Given { session, .. }| {
            async move { delete_user(store, session, Some(&id("t"))).await }.boxed()
        },
        remembered: 0,
    },
    Case {
        name: "heartbeat",
        target: "s",
        call: |store, Given { session, holder, .. }| {
            async move {
                let status = store.all.heartbeat(&holder, Heartbeat::renew().lease(LEASE * 2)).await?;
                Ok(answer(session.id(), status, ()))
            }
            .boxed()
        },
        remembered: 0,
    },
    Case {
        name: "recover",
        target: "s",
        call: |store, Given { session, holder, .. }| {
            async move {
                let claim = Claim::new("n", holder.node()).as_node(&holder);
                let claimed = store.recover(claim).await?;
                Ok(answer(session.id(), (&claimed.corrupt, &claimed.next), &claimed.sessions))
            }
            .boxed()
        },
        remembered: 0,
    },
];
