//! Every writing operation as a call that can be repeated.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::{
    Binding, Deleted, NewSession, Patch, Removed, Result, Rotation, Session, SessionId, SessionStore, Unbound,
};
use futures::future::{BoxFuture, FutureExt as _};

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

/// A call, and the session that it acts on.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) call: fn(Arc<dyn SessionStore>, Session) -> BoxFuture<'static, Result<Answer>>,
    /// By the ids of the last changes in the live record.
    pub(super) recognized_later: bool,
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

async fn create(store: Arc<dyn SessionStore>, user: &str) -> Result<Answer> {
    let new = NewSession::new().id(id("new")).user(user).connection("x").node("n");
    let created = store.create(new.set("color", "red")?).await?;
    let session = &created.session;
    Ok(answer(session.id(), session, ids(&created.evicted)))
}

async fn rotate(store: Arc<dyn SessionStore>, session: Session, rotation: Rotation) -> Result<Answer> {
    let rotated = store.rotate(&session, rotation.new_id(id("r"))).await?;
    let own = (&rotated.session, rotated.by_another);
    Ok(answer(rotated.session.id(), own, ids(&rotated.evicted)))
}

async fn bind(
    store: Arc<dyn SessionStore>,
    target: &dyn cloakroom::Target,
    binding: Binding,
) -> Result<Answer> {
    let bound = store.bind(target, binding).await?;
    let others = (&bound.previous_connection, &bound.previous_node, &bound.taken_from);
    Ok(answer(&bound.id, (bound.version, bound.changed), others))
}

async fn delete_user(
    store: Arc<dyn SessionStore>,
    session: Session,
    keep: Option<&SessionId>,
) -> Result<Answer> {
    let deleted = store.delete_user("ann", keep).await?;
    Ok(answer(session.id(), &deleted.corrupt, ids(&deleted.removed)))
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "patch by id",
        target: "s",
        call: |store, session| {
            async move {
                let patch = Patch::new().set("color", "red")?.set_extension("seen", &1)?.suspend();
                let patched = store.patch(session.id(), patch).await?;
                Ok(answer(&patched.id, (patched.version, patched.changed), ()))
            }
            .boxed()
        },
        recognized_later: true,
    },
    Case {
        name: "patch of the ttl by id",
        target: "s",
        call: |store, session| {
            async move {
                let patch = Patch::new().ttl(Duration::from_secs(7200)).remove("color");
                let patched = store.patch(session.id(), patch).await?;
                Ok(answer(&patched.id, (patched.version, patched.expires_at_ms, patched.changed), ()))
            }
            .boxed()
        },
        recognized_later: true,
    },
    Case {
        name: "create",
        target: "s",
        call: |store, _| create(store, "bob").boxed(),
        recognized_later: true,
    },
    Case {
        name: "create that evicts",
        target: "s",
        call: |store, _| create(store, "ann").boxed(),
        recognized_later: true,
    },
    Case {
        name: "update",
        target: "s",
        call: |store, mut session| {
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
        recognized_later: true,
    },
    Case {
        name: "refresh",
        target: "s",
        call: |store, session| {
            async move {
                let refreshed = store.refresh(session.id()).await?.unwrap();
                Ok(answer(&refreshed.id.clone(), refreshed, ()))
            }
            .boxed()
        },
        recognized_later: false,
    },
    Case {
        name: "rotate",
        target: "s",
        call: |store, session| rotate(store, session, Rotation::new()).boxed(),
        recognized_later: true,
    },
    Case {
        name: "rotate to a user that evicts",
        target: "g",
        call: |store, session| rotate(store, session, Rotation::new().user("ann")).boxed(),
        recognized_later: true,
    },
    Case {
        name: "bind",
        target: "s",
        call: |store, session| {
            async move { bind(store, &session, Binding::new("x").node("m")).await }.boxed()
        },
        recognized_later: true,
    },
    Case {
        name: "bind by id that takes over",
        target: "s",
        call: |store, session| {
            let binding = Binding::new("d").node("m2").take_over();
            async move { bind(store, session.id(), binding).await }.boxed()
        },
        recognized_later: true,
    },
    Case {
        name: "unbind",
        target: "s",
        call: |store, session| {
            async move {
                let unbound = store.unbind(session.id(), "c").await?;
                assert_eq!(unbound, Unbound::Detached);
                Ok(answer(session.id(), unbound, ()))
            }
            .boxed()
        },
        recognized_later: true,
    },
    Case {
        name: "delete",
        target: "s",
        call: |store, session| {
            async move {
                let deleted = store.delete(&session).await?;
                assert_eq!(deleted, Deleted::Deleted);
                Ok(answer(session.id(), deleted, ()))
            }
            .boxed()
        },
        recognized_later: false,
    },
    Case {
        name: "delete by id",
        target: "s",
        call: |store, session| {
            async move {
                let deleted = store.delete(session.id()).await?;
                Ok(answer(session.id(), deleted, ()))
            }
            .boxed()
        },
        recognized_later: false,
    },
    Case {
        name: "delete_user",
        target: "s",
        call: |store, session| delete_user(store, session, None).boxed(),
        recognized_later: false,
    },
    Case {
        name: "delete_user but one",
        target: "s",
        call: |store, session| async move { delete_user(store, session, Some(&id("t"))).await }.boxed(),
        recognized_later: false,
    },
];
