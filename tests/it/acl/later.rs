//! An ACL that is changed while a store works: a call that is refused changes nothing, or says that it may have.

use cloakroom::migration::{Freezing, MigrationStore as _, TaskId};
use cloakroom::nodes::{Claim, Heartbeat, NodeIdentity, NodeRegistry as _};
use cloakroom::{
    Binding, Error, NewSession, OperationId, Patch, RedisStore, Result, Rotation, Rules, Session,
    SessionStore as _,
};

use super::{builder, commands, set_user};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::expect::{causes, session_id};
use crate::support::invariants::violations;

/// An operation that writes, of those that write more than one key.
#[derive(Clone, Copy, Debug)]
enum Act {
    Create,
    Update,
    Patch,
    Refresh,
    Rotate,
    Bind,
    Unbind,
    Delete,
    DeleteUser,
    Freeze,
    Heartbeat,
    Recover,
}

const ACTS: [Act; 12] = [
    Act::Create,
    Act::Update,
    Act::Patch,
    Act::Refresh,
    Act::Rotate,
    Act::Bind,
    Act::Unbind,
    Act::Delete,
    Act::DeleteUser,
    Act::Freeze,
    Act::Heartbeat,
    Act::Recover,
];

/// What an operation works on: a session, and a node that holds its lease.
struct World {
    session: Session,
    node: NodeIdentity,
    task: TaskId,
}

impl World {
    async fn new(context: &Context, free: &Store) -> Self {
        let session = context.session(free, "a").await;
        let node = NodeIdentity::new("live").unwrap();
        free.heartbeat(&node, Heartbeat::register()).await.unwrap();
        Self { session, node, task: TaskId::random() }
    }

    async fn run(&self, store: &RedisStore, act: Act, id: Option<OperationId>) -> Result<()> {
        let session = &self.session;
        let repeated = id.map(|id| store.with_operation_id(id));
        let calls = repeated.as_deref().unwrap_or(store);
        match act {
            Act::Create => {
                let new = NewSession::new().id(session_id("new")).user("b").connection("b").node("b");
                calls.create(new).await.map(drop)
            }
            Act::Update => {
                let mut changed = session.clone();
                changed.set_user("c");
                changed.set_connection("c");
                calls.update(&mut changed).await
            }
            Act::Patch => calls.patch(session, Patch::new().set("color", &"red").unwrap()).await.map(drop),
            Act::Refresh => calls.refresh(session).await.map(drop),
            Act::Rotate => calls.rotate(session, Rotation::new().user("c")).await.map(drop),
            Act::Bind => calls.bind(session, Binding::new("new").node("new")).await.map(drop),
            Act::Unbind => calls.unbind(session, "connection-a").await.map(drop),
            Act::Delete => calls.delete(session).await.map(drop),
            Act::DeleteUser => calls.delete_user("user-a", None).await.map(drop),
            Act::Freeze => store.freeze(session, Freezing::new(self.task, "elsewhere")).await.map(drop),
            Act::Heartbeat => store.heartbeat(&self.node, Heartbeat::renew()).await.map(drop),
            Act::Recover => store.recover(Claim::new("node-a", "live")).await.map(drop),
        }
    }
}

#[tokio::test]
async fn a_call_that_is_refused_a_command_changes_nothing_or_is_ambiguous_and_mended_by_the_same_call() {
    let mut context = Context::own(&[]).await;
    set_user(&context, &["~*", "+@all"]).await;
    let mut refused = 0;
    for act in ACTS {
        for command in commands() {
            context.begin_anew().await;
            let free = context.store(Rules::new()).await;
            let world = World::new(&context, &free).await;
            let rules = Rules::new().refresh_threshold(1.0);
            let store = builder(&context).rules(rules).build().await.unwrap();
            let before = context.dump().await;
            let rule = format!("-{}", command.to_lowercase());
            context.command::<()>(&["ACL", "SETUSER", "limited", &rule]).await;
            let answer = world.run(&store, act, None).await;
            context.command::<()>(&["ACL", "SETUSER", "limited", "+@all"]).await;
            let Err(error) = answer else { continue };
            refused += 1;
            let text = causes(&error);
            assert!(text.to_uppercase().contains(&command), "{act:?} without {command}: {text}");
            match error {
                Error::Ambiguous { operation_id, .. } => {
                    world.run(&store, act, Some(operation_id)).await.unwrap();
                }
                error => {
                    assert!(error.is_not_executed(), "{act:?} without {command}: {text}");
                    assert_eq!(context.dump().await, before, "{act:?} without {command}: {text}");
                    world.run(&store, act, None).await.unwrap();
                }
            }
            let violations = violations(&context).await;
            assert!(violations.is_empty(), "{act:?} without {command}: {violations:?}");
        }
    }
    assert!(refused > ACTS.len(), "{refused} were refused");
}

#[tokio::test]
async fn a_call_that_is_refused_as_a_whole_is_not_executed() {
    let context = Context::own(&[]).await;
    set_user(&context, &["~*", "+@all"]).await;
    let store = builder(&context).build().await.unwrap();
    for rules in [&["~*", "+@all", "-evalsha"], &["~other:*", "+@all", "+ping"]] {
        set_user(&context, rules).await;
        let error = store.create(NewSession::new().user("ann")).await.unwrap_err();
        assert!(error.is_not_executed(), "{}", causes(&error));
    }
}
