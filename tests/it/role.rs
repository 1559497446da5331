//! A server that is not the master serves nothing: not at the start, and not from a second after its
//! demotion on.

use cloakroom::{Error, NewSession, Obstacle, RedisStore, RedisStoreBuilder, Refusal, Rules, Selector};
use rstest::rstest;
use std::time::Duration;

use crate::deadlines::{CALLS, Given};
use crate::support::Context;
use crate::support::context::{Store, build, eventually};
use crate::support::expect::refusal;
use crate::support::manager::Manager;

/// How long a server is taken for the master that said that it is: the promise.
const COUNTS_FOR: Duration = Duration::from_secs(1);

/// Two servers, and the second follows the first.
struct Pair {
    master: Context,
    replica: Context,
}

impl Pair {
    async fn new() -> Self {
        let master = Context::own(&[]).await;
        let mut replica = Context::own(&["--repl-diskless-sync-delay", "0"]).await;
        replica.namespace.clone_from(&master.namespace);
        follow(&replica, &master).await;
        Self { master, replica }
    }
}

/// Makes a server the replica of another, and waits until it has what that has.
async fn follow(replica: &Context, master: &Context) {
    let address = master.server().address();
    let (host, port) = address.split_once(':').unwrap();
    replica.command::<()>(&["REPLICAOF", host, port]).await;
    eventually("it follows", async || {
        replica.command::<String>(&["INFO", "replication"]).await.contains("master_link_status:up")
    })
    .await;
}

/// How a store is connected.
#[derive(Clone, Copy, Debug)]
enum By {
    Url,
    Manager,
    /// As a user who may not ask by ROLE.
    Info,
}

async fn builder(by: By, context: &Context) -> RedisStoreBuilder {
    let url = context.server().url();
    let builder = match by {
        By::Url => RedisStore::builder(url),
        By::Manager => RedisStore::builder_with_manager(Manager::new(url)),
        By::Info => {
            context.command::<()>(&["ACL", "SETUSER", "q", "on", ">p", "~*", "+@all", "-role"]).await;
            RedisStore::builder(format!("redis://q:p@{}/", context.server().address()))
        }
    };
    let builder = builder.namespace(&context.namespace).rules(Rules::new());
    builder.deadline(Duration::from_secs(20)).connect_timeout(Duration::from_secs(10))
}

/// Fails unless the error says that nothing was done, and that the server is a replica.
fn assert_of_a_replica(what: &str, error: &Error) {
    let Error::NotExecuted { reason, source } = error else { panic!("{what}: {error:?}") };
    assert_eq!(*reason, Obstacle::Unavailable, "{what}: {source:?}");
    let source = source.as_ref().unwrap().to_string();
    assert!(source.contains("replica"), "{what}: {source}");
}

#[rstest]
#[tokio::test]
async fn a_store_does_not_start_at_a_replica_and_starts_there_once_it_is_promoted(
    #[values(By::Url, By::Manager, By::Info)] by: By,
) {
    let pair = Pair::new().await;
    let hasty = builder(by, &pair.replica).await.deadline(Duration::from_secs(1));
    assert_of_a_replica("start", &hasty.build().await.unwrap_err());
    pair.replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    let store = build(builder(by, &pair.replica).await).await;
    pair.replica.session(&store, "a").await;
    pair.replica.check().await;
}

#[rstest]
#[tokio::test]
async fn no_operation_is_answered_by_a_master_that_was_demoted_a_second_ago(
    #[values(By::Url, By::Manager, By::Info)] by: By,
) {
    let Pair { master, replica } = Pair::new().await;
    let store = build(builder(by, &master).await).await;
    let mut given = Vec::new();
    for n in 0..CALLS.len() as u64 {
        let session = master.session(&store, &format!("s{n}")).await;
        let export = store.export(session.id()).await.unwrap().unwrap();
        given.push(Given { id: session.id().clone(), session, export, n });
    }
    let other = given[0].id.clone();
    // What is read now is read from a master.
    store.get(&other).await.unwrap().unwrap();
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    follow(&master, &replica).await;
    let before = master.dump().await;
    tokio::time::sleep(COUNTS_FOR).await;
    for ((name, call), given) in CALLS.iter().zip(given) {
        assert_of_a_replica(name, &call(store.clone(), given).await.unwrap_err());
    }
    assert_eq!(master.dump().await, before);

    master.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually("it is found again", async || store.get(&other).await.is_ok()).await;
    store.create(NewSession::new()).await.unwrap();
    master.check().await;
}

/// Reads only, so that no refused write tells; on connections that are in use.
#[rstest]
#[case::asked(None)]
#[case::near_cache(Some(100))]
#[tokio::test]
async fn who_only_reads_finds_out_that_the_master_was_demoted(#[case] near_cache: Option<usize>) {
    const STALENESS: Duration = Duration::from_millis(300);
    let Pair { master, replica } = Pair::new().await;
    let builder = builder(By::Url, &master).await;
    let store: Store = match near_cache {
        Some(sessions) => build(builder.near_cache(sessions).near_cache_staleness(STALENESS)).await,
        None => build(builder).await,
    };
    let session = master.session(&store, "a").await;
    store.get(session.id()).await.unwrap().unwrap();
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    let promoted = build(self::builder(By::Url, &replica).await).await;
    follow(&master, &replica).await;
    let demoted = std::time::Instant::now();
    // The new master's word reaches the old one and changes nothing of this.
    promoted.delete(&session).await.unwrap();
    loop {
        let began = demoted.elapsed();
        match store.get(session.id()).await {
            Ok(_) => assert!(began <= COUNTS_FOR + STALENESS, "answered {began:?} after the demotion"),
            Err(error) => break assert_of_a_replica("get", &error),
        }
    }
    for _ in 0..20 {
        assert_of_a_replica("get", &store.get(session.id()).await.unwrap_err());
        assert_of_a_replica("count", &store.count(&Selector::user("user-a")).await.unwrap_err());
    }
}

#[tokio::test]
async fn a_store_does_not_start_where_it_may_not_ask_for_the_role() {
    let context = Context::own(&[]).await;
    context.command::<()>(&["ACL", "SETUSER", "q", "on", ">p", "~*", "+@all", "-role", "-info"]).await;
    let url = format!("redis://q:p@{}/", context.server().address());
    let lacking = match refusal(RedisStore::builder(url).build().await) {
        Refusal::Forbidden { lacking } => lacking,
        other => panic!("{other:?}"),
    };
    assert_eq!(lacking, ["+role"]);
}
