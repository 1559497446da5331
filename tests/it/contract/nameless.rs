//! Sessions without a user, connection or node: no call names the key of a missing one.

use std::time::Duration;

use cloakroom::migration::{Freezing, Import, Leftover, TaskId};
use cloakroom::nodes::Claim;
use cloakroom::{Binding, NewSession, Patch, Rotation, Rules, Selector};
use cloakroom_export::keys::names;

use super::calls::{do_each_operation, rules_that_evict};
use super::scripts;
use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::leases::register;
use crate::support::server::Server;

const SPAN: Duration = Duration::from_secs(60);

/// Does to sessions that lack a name what makes a script declare it, with the session at hand and by its bare id. Leaves
/// some to be reaped.
pub(super) async fn exercise_nameless(store: &Store, strict: &Store) {
    for new in [
        NewSession::new(),
        NewSession::new().user("una"),
        NewSession::new().connection("c-una"),
        NewSession::new().node("n-una"),
    ] {
        exercise_lacking(store, new.clone()).await;
        for made in store.create_many(vec![new.clone()]).await {
            store.delete(made.unwrap().session.id()).await.unwrap();
        }
        store.create(new).await.unwrap();
    }
    store.delete_user("una", None).await.unwrap();
    for _ in 0..3 {
        strict.create(NewSession::new().user("una")).await.unwrap();
    }
    let visit = strict.create(NewSession::new()).await.unwrap().session;
    assert_eq!(strict.rotate(&visit, Rotation::new().user("una")).await.unwrap().evicted.len(), 1);
    register(store, "m-una").await;
    let claimed = store.recover(Claim::new("n-una", "m-una")).await.unwrap();
    assert_eq!(claimed.sessions.len(), 1);
    assert_eq!(store.count(&Selector::user("una")).await.unwrap(), 2);
}

async fn exercise_lacking(store: &Store, new: NewSession) {
    let mut session = store.create(new).await.unwrap().session;
    session.set("a", &1).unwrap();
    session.set_ttl(SPAN);
    store.update(&mut session).await.unwrap();
    store.patch(&session, Patch::new().ttl(SPAN * 2)).await.unwrap();
    store.patch(session.id(), Patch::new().ttl(SPAN * 3)).await.unwrap();
    store.refresh(&session).await.unwrap().unwrap();
    store.refresh_and_get(session.id()).await.unwrap().unwrap();
    let task = TaskId::random();
    let frozen = store.freeze(&session, Freezing::new(task, "elsewhere").span(SPAN)).await.unwrap();
    store.depart(session.id(), task, frozen.until_ms).await.unwrap();
    store.clean(&session, task, Leftover::Departed).await.unwrap();
    let import = Import::new(frozen.export.clone());
    store.import(import.incoming(task, frozen.until_ms, "elsewhere")).await.unwrap();
    store.clean(session.id(), task, Leftover::Copy { until_ms: frozen.until_ms }).await.unwrap();
    store.import(Import::new(frozen.export)).await.unwrap();
    let rotated = store.rotate(&session, Rotation::new()).await.unwrap().session;
    let rotated = store.rotate(rotated.id(), Rotation::new()).await.unwrap().session;
    store.bind(rotated.id(), Binding::new("c-held")).await.unwrap();
    let other = store.create(NewSession::new()).await.unwrap().session;
    store.bind(&other, Binding::new("c-held").take_over()).await.unwrap();
    store.unbind(other.id(), "c-held").await.unwrap();
    store.delete(&other).await.unwrap();
    store.delete(rotated.id()).await.unwrap();
}

/// The keys of a namespace but for those of an empty user, connection or node, as an ACL has them.
fn patterns(context: &Context) -> Vec<String> {
    let named = ["user:?*:sessions", "connection:?*:session", "node:?*:sessions", "node:?*:lease"];
    let others = ["session:?*", "aside:?*", "expiry", "migrations", "contract", "nodes", "nodes:kept"];
    named.into_iter().chain(others).map(|rest| format!("~{}", context.key(rest))).collect()
}

#[tokio::test]
async fn a_store_does_all_that_it_does_without_a_key_of_an_empty_name() {
    for context in [Context::own(&[]).await, Context::own(&[]).await.near()] {
        let store = context.store_at(Rules::new()).await;
        let strict = context.store_at(rules_that_evict()).await;
        // What proves at the start that each kind of key may be touched is behind it.
        let patterns = patterns(&context);
        let rules = ["ACL", "SETUSER", "default", "resetkeys"].into_iter();
        context.command::<()>(&rules.chain(patterns.iter().map(String::as_str)).collect::<Vec<_>>()).await;
        do_each_operation(&context.clock, &store, &strict).await;
        context
            .try_command::<Option<String>>(&["GET", &context.key("connection::session")])
            .await
            .unwrap_err();
    }
}

/// A node of a cluster, and how it is told that another one will get the slot of all keys of a namespace.
async fn node_of_a_cluster() -> (Context, Server, Vec<String>) {
    let options = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
    let (context, other) = (Context::own(&options).await, Server::spawn(&options).await);
    let slot: u64 = context.command(&["CLUSTER", "KEYSLOT", &context.key("")]).await;
    let slot = slot.to_string();
    context.command::<()>(&["CLUSTER", "ADDSLOTS", &slot]).await;
    let address = other.address();
    let (host, port) = address.split_once(':').unwrap();
    context.command::<()>(&["CLUSTER", "MEET", host, port]).await;
    let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut other.connect().await).await.unwrap();
    eventually("the nodes know each other and serve", async || {
        let nodes: String = context.command(&["CLUSTER", "NODES"]).await;
        let info: String = context.command(&["CLUSTER", "INFO"]).await;
        nodes.contains(&id) && info.contains("cluster_state:ok")
    })
    .await;
    let migrate = ["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id].map(str::to_owned);
    (context, other, migrate.to_vec())
}

/// While a slot is on the move, the node that has it refuses each call that names several keys of which one is not there.
#[tokio::test]
async fn calls_about_live_sessions_are_served_while_their_slot_is_on_the_move() {
    let (context, _other, migrate) = node_of_a_cluster().await;
    let store = context.store_at(Rules::new()).await;
    let mut sessions = Vec::new();
    for new in [
        NewSession::new(),
        NewSession::new().user("una"),
        NewSession::new().user("una").connection("c-una"),
        NewSession::new().user("una").connection("d-una").node("n-una"),
    ] {
        sessions.push(store.create(new).await.unwrap().session);
    }
    context.command::<()>(&migrate.iter().map(String::as_str).collect::<Vec<_>>()).await;
    store.create(NewSession::new()).await.unwrap_err();
    for session in &sessions {
        store.refresh(session).await.unwrap().unwrap();
        store.patch(session.id(), Patch::new().set("a", &1).unwrap()).await.unwrap();
        store.patch(session, Patch::new().ttl(SPAN)).await.unwrap();
        assert!(store.delete(session).await.unwrap().is_some());
    }
}

#[test]
fn each_key_that_may_have_no_name_has_an_id_to_stand_in() {
    for script in scripts() {
        let header = &script.header;
        let group = header.group.as_ref();
        let keys = header.keys.iter().map(|key| (&key.pattern, &header.arguments));
        let keys_of_group =
            group.iter().flat_map(|group| group.keys.iter().map(|key| (&key.pattern, &group.arguments)));
        for (pattern, arguments) in keys.chain(keys_of_group) {
            let may_be_empty = |name: &str| arguments.iter().any(|other| other.name == name && other.empty);
            let has_id = arguments.iter().any(|argument| argument.name == "id" && !argument.empty);
            assert!(has_id || !names(pattern).any(may_be_empty), "{}: {pattern}", script.stem());
        }
    }
}
