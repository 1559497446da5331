//! Calls that wait for replicas: their answer never claims more than the replicas have.

use std::time::Duration;

use cloakroom::{
    Applied, Durability, Error, NewSession, Obstacle, OperationId, Patch, RedisStore, Refusal, Removed,
    Rotation, Rules, Session, SessionStore as _,
};
use futures::future::join_all;

use crate::support::context::eventually;
use crate::support::expect::{reason, refusal, session_id};
use crate::support::record::{DELETED, LIVE};
use crate::support::replicated::Replicated;

/// Longer than a busy machine takes.
const LONG: Duration = Duration::from_secs(60);
/// For replicas that will not come.
const SHORT: Duration = Duration::from_millis(100);

async fn store(servers: &Replicated) -> RedisStore {
    servers.master.builder(Rules::new()).build().await.unwrap()
}

async fn created(store: &RedisStore) -> Session {
    store.create(NewSession::new().user("ann")).await.unwrap().session
}

#[tokio::test]
async fn a_logout_that_replicas_have_is_told_so_and_they_have_it() {
    let servers = Replicated::start(2).await;
    let store = store(&servers).await;
    let both = Durability::Replicas(2, LONG);
    let created = store.durably(both, async |store| store.create(NewSession::new()).await).await.unwrap();
    assert!(created.is_replicated());
    let id = created.value.session.id().clone();
    assert_eq!((created.replicas, servers.count(&id, LIVE).await), (2, 2));
    let logout = store.durably(both, async |store| store.delete(&id).await).await.unwrap();
    assert!(logout.value.is_some() && logout.is_replicated());
    assert_eq!((logout.replicas, servers.count(&id, DELETED).await), (2, 2));
    servers.master.check().await;
}

#[tokio::test]
async fn a_replica_that_is_silent_is_not_counted_and_what_was_applied_is_told() {
    let mut servers = Replicated::start(2).await;
    let store = store(&servers).await;
    let id = created(&store).await.id().clone();
    servers.replicas[0].freeze().await;
    let logout = store.durably(Durability::Replicas(2, SHORT), async |store| store.delete(&id).await);
    let logout: Applied<Option<Removed>> = logout.await.unwrap();
    assert!(logout.value.is_some() && !logout.is_replicated());
    assert!(store.get(&id).await.unwrap().is_none());
    let one = store.durably(Durability::Replicas(1, LONG), async |store| store.delete(&id).await);
    let one = one.await.unwrap();
    assert!(one.value.is_none() && one.is_replicated(), "it was deleted before, and one replica knows");
    servers.replicas[0].thaw().await;
    let both = store.durably(Durability::Replicas(2, LONG), async |store| store.delete(&id).await);
    assert!(both.await.unwrap().is_replicated());
    assert_eq!(servers.count(&id, DELETED).await, 2);
}

/// From Redis 7.2 on WAIT counts what its own connection wrote, which is nothing then; on one that has sent nothing it counts
/// nothing before.
#[tokio::test]
async fn a_call_that_had_happened_on_another_connection_is_waited_for() {
    let mut servers = Replicated::start(1).await;
    let store = store(&servers).await;
    let session = created(&store).await;
    servers.replicas[0].freeze().await;
    let id = OperationId::random();
    assert!(store.with_operation_id(id).delete(&session).await.unwrap().is_some());
    let one = Durability::Replicas(1, SHORT);
    for _ in 0..2 {
        let again = async |store: RedisStore| store.with_operation_id(id).delete(&session).await;
        let again = store.durably(one, again).await.unwrap();
        assert_eq!((again.value.is_some(), again.replicas), (true, 0));
        let read = store.durably(one, async |store| store.get(session.id()).await).await.unwrap();
        assert_eq!((read.value, read.replicas), (None, 0), "that it is gone is not replicated");
    }
}

#[tokio::test]
async fn all_calls_of_one_are_waited_for_once_also_in_several_partitions() {
    let mut servers = Replicated::start(2).await.spread();
    let store = store(&servers).await;
    let visitors = join_all((0..20).map(|_| store.create(NewSession::new().set("cart", &7).unwrap()))).await;
    let logins = async |store: RedisStore| {
        let mut ids = Vec::new();
        for visitor in visitors {
            let visitor = visitor?.session;
            ids.push(store.rotate(&visitor, Rotation::new().user("ann")).await?.session.id().clone());
        }
        Ok::<_, Error>(ids)
    };
    let logins = store.durably(Durability::Replicas(2, LONG), logins).await.unwrap();
    assert_eq!(logins.replicas, 2);
    for id in &logins.value {
        assert_eq!(servers.count(id, LIVE).await, 2);
    }
    servers.replicas[1].freeze().await;
    let everywhere = async |store: RedisStore| store.delete_user("ann", None).await;
    let everywhere = store.durably(Durability::Replicas(2, SHORT), everywhere).await.unwrap();
    assert_eq!((everywhere.value.removed.len(), everywhere.is_replicated()), (20, false));
    servers.master.check().await;
}

#[tokio::test]
async fn while_one_waits_the_calls_of_others_go_on() {
    let mut servers = Replicated::start(1).await;
    let store = store(&servers).await;
    let session = created(&store).await;
    servers.replicas[0].freeze().await;
    let patch = |nth: i32| Patch::new().set("a", &nth).unwrap();
    let one = Durability::Replicas(1, LONG);
    let waits = join_all((0..3).map(|nth| {
        let (store, id) = (&store, session.id());
        store.durably(one, async move |store: RedisStore| store.patch(id, patch(nth)).await)
    }));
    let (waited, ()) = tokio::join!(waits, async {
        eventually("they wait", async || servers.is_waited_for().await).await;
        for _ in 0..100 {
            store.patch(session.id(), patch(7)).await.unwrap();
            assert!(store.get(session.id()).await.unwrap().is_some());
        }
        servers.replicas[0].thaw().await;
    });
    assert!(waited.into_iter().all(|applied| applied.unwrap().is_replicated()));
}

#[tokio::test]
async fn a_connection_that_breaks_while_it_waits_leaves_what_was_applied_and_no_word_of_replicas() {
    let mut servers = Replicated::start(1).await;
    let store = store(&servers).await;
    let session = created(&store).await;
    servers.replicas[0].freeze().await;
    let wait = store.durably(Durability::Replicas(1, LONG), async |store| store.delete(&session).await);
    let (waited, ()) = tokio::join!(wait, async {
        eventually("it waits", async || servers.is_waited_for().await).await;
        let list: String = servers.master.command(&["CLIENT", "LIST"]).await;
        let line = list.lines().find(|line| line.contains(" cmd=wait ")).unwrap();
        let id = line.split_whitespace().find_map(|field| field.strip_prefix("id=")).unwrap();
        servers.master.command::<i64>(&["CLIENT", "KILL", "ID", id]).await;
    });
    let waited = waited.unwrap();
    assert_eq!((waited.value.is_some(), waited.replicas, waited.is_replicated()), (true, 0, false));
}

#[tokio::test]
async fn what_was_sent_on_a_connection_that_was_lost_since_is_not_proved_by_the_next() {
    let servers = Replicated::start(2).await;
    let store = store(&servers).await;
    let session = created(&store).await;
    let both = Durability::Replicas(2, LONG);
    let calls = async |store: RedisStore| {
        store.patch(&session, Patch::new().set("a", &1).unwrap()).await?;
        servers.master.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        store.patch(session.id(), Patch::new().set("a", &2).unwrap()).await
    };
    let applied = store.durably(both, calls).await.unwrap();
    assert_eq!((applied.value.version.get(), applied.replicas), (3, 0));
    // The next has a connection of its own from the beginning.
    let next = store.durably(both, async |store| store.delete(&session).await).await.unwrap();
    assert!(next.is_replicated());
}

#[tokio::test]
async fn a_script_that_the_server_has_not_is_loaded_and_no_replica_is_none() {
    let servers = Replicated::start(0).await;
    let store = store(&servers).await;
    let session = created(&store).await;
    servers.master.command::<()>(&["SCRIPT", "FLUSH"]).await;
    let alone = store.durably(Durability::Replicas(1, SHORT), async |store| store.delete(&session).await);
    let alone = alone.await.unwrap();
    assert_eq!((alone.value.is_some(), alone.replicas), (true, 0));
}

#[tokio::test]
async fn a_write_is_proved_though_the_namespace_was_emptied_meanwhile() {
    let servers = Replicated::start(1).await;
    let store = store(&servers).await;
    servers.master.command::<()>(&["FLUSHALL"]).await;
    let create = async |store: RedisStore| store.create(NewSession::new()).await;
    let created = store.durably(Durability::Replicas(1, LONG), create).await.unwrap();
    assert!(created.is_replicated());
    servers.master.check().await;
}

#[tokio::test]
async fn one_after_the_other_they_share_a_connection_and_a_closed_store_has_none() {
    let servers = Replicated::start(1).await;
    let store = store(&servers).await;
    let connections = async || {
        let stats: String = servers.master.command(&["INFO", "stats"]).await;
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse::<u64>().unwrap()
    };
    let one = Durability::Replicas(1, LONG);
    let create = async || {
        let create = async |store: RedisStore| store.create(NewSession::new()).await;
        store.durably(one, create).await.map(|created| created.value)
    };
    create().await.unwrap();
    let before = connections().await;
    for _ in 0..10 {
        create().await.unwrap();
        let updated = store.durably(one, async |store| store.update(&mut created(&store).await).await).await;
        assert!(updated.unwrap().is_replicated());
        let missing = async |store: RedisStore| store.unbind(&session_id("none"), "c").await;
        assert!(!store.durably(one, missing).await.unwrap().value);
    }
    assert_eq!(connections().await, before);
    store.close().await;
    assert_eq!(reason(&create().await.unwrap_err()), Obstacle::Closed);
}

#[tokio::test]
async fn a_user_who_may_not_wait_and_what_cannot_be_waited_for_are_refused_before_anything_is_done() {
    let servers = Replicated::start(0).await;
    let own = store(&servers).await;
    let user = ["ACL", "SETUSER", "limited", "on", ">p", "~*", "+@all", "-wait"];
    servers.master.command::<()>(&user).await;
    let url = servers.master.server().url().replace("redis://", "redis://limited:p@");
    let store = RedisStore::builder(url).namespace(&servers.master.namespace).deadline(LONG);
    let store = store.build().await.unwrap();
    let create = async |store: RedisStore| store.create(NewSession::new()).await;
    let forbidden = store.durably(Durability::Replicas(1, SHORT), create).await;
    assert_eq!(refusal(forbidden), Refusal::Forbidden { lacking: vec!["+wait".to_owned()] });
    for (count, timeout) in [(0, SHORT), (1001, SHORT), (1, Duration::ZERO), (1, Duration::from_secs(3601))] {
        let error = own.durably(Durability::Replicas(count, timeout), create).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    }
    assert_eq!(servers.master.keys().await, Vec::<String>::new());
}
