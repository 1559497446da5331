//! How many sessions there may be.

use cloakroom::migration::Import;
use cloakroom::{Binding, NewSession, OnLimit, Refusal, Rotation, Rules};
use rstest::rstest;

use super::{MINUTE, SECOND};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::expect::{refusal, session_id as id};
use crate::support::sessions::ids;

const FULL: Refusal = Refusal::Full { sessions: 3 };

fn rules() -> Rules {
    Rules::new().ttl(10 * MINUTE)
}

fn named(name: &str) -> NewSession {
    let new = NewSession::new().id(id(name)).user(format!("user-{name}"));
    new.connection(format!("connection-{name}")).node("gateway")
}

/// A store with room for three sessions, and three in it, made a second apart.
async fn full() -> (Context, Store) {
    let context = Context::memory(3);
    let store = context.store_at(rules()).await;
    for name in ["a", "b", "c"] {
        store.create(named(name)).await.unwrap();
        context.clock.advance(SECOND);
    }
    (context, store)
}

async fn stored(context: &Context) -> Vec<String> {
    context.entries(&context.key("expiry")).await
}

#[tokio::test]
async fn a_full_store_refuses_to_create_and_names_its_limit() {
    let (context, store) = full().await;
    let before = context.dump().await;
    let error = store.create(named("d")).await.unwrap_err();
    assert_eq!(error.to_string(), "refused: the store is at its limit of 3 sessions");
    assert!(error.is_refused());
    assert_eq!(context.dump().await, before, "a live session made way");
    // What would be refused anyway is refused for that.
    assert_eq!(refusal(store.create(named("a")).await), Refusal::Exists);
    let new = NewSession::new().connection("connection-a");
    assert_eq!(refusal(store.create(new).await), Refusal::Taken);
    context.check().await;
}

#[tokio::test]
async fn the_oldest_expired_session_makes_way_and_is_returned() {
    let (context, store) = full().await;
    let oldest = store.get(&id("a")).await.unwrap().unwrap();
    context.clock.set_ms(oldest.expires_at_ms() + 1000);
    // Two have expired, and one is enough.
    let created = store.create(named("d")).await.unwrap();
    assert_eq!(created.reaped, [oldest]);
    assert_eq!(stored(&context).await, ["b", "c", "d"]);
    assert!(!context.keys().await.iter().any(|key| key.ends_with("-a")));
    assert_eq!(ids(&store.create(named("e")).await.unwrap().reaped), [id("b")]);
    assert_eq!(refusal(store.create(named("f")).await), FULL);
    assert_eq!(stored(&context).await, ["c", "d", "e"]);
    context.check().await;
}

#[tokio::test]
async fn an_expired_session_that_is_in_the_way_leaves_its_room() {
    let (context, store) = full().await;
    context.clock.advance(10 * MINUTE);
    let created = store.create(named("b")).await.unwrap();
    assert_eq!(ids(&created.reaped), [id("b")]);
    assert_eq!(stored(&context).await, ["a", "c", "b"]);
    context.check().await;
}

#[tokio::test]
async fn an_import_needs_room_unless_it_replaces() {
    let (context, store) = full().await;
    let elsewhere = context.another(crate::support::context::On::Memory).await;
    let there = elsewhere.store_at(rules()).await;
    there.create(named("d")).await.unwrap();
    let export = there.export(&id("d")).await.unwrap().unwrap();
    let before = context.dump().await;
    assert_eq!(refusal(store.import(Import::new(export.clone())).await), FULL);
    assert_eq!(context.dump().await, before);

    // A newer version of what is here takes no more room.
    there.import(Import::new(store.export(&id("a")).await.unwrap().unwrap())).await.unwrap();
    there.bind(&id("a"), Binding::new("other")).await.unwrap();
    let newer = there.export(&id("a")).await.unwrap().unwrap();
    assert!(store.import(Import::new(newer)).await.unwrap());

    let oldest = store.get(&id("a")).await.unwrap().unwrap();
    context.clock.set_ms(oldest.expires_at_ms());
    assert!(store.import(Import::new(export)).await.unwrap());
    assert_eq!(stored(&context).await, ["b", "c", "d"]);
    context.check().await;
}

#[tokio::test]
async fn what_is_already_here_needs_no_room() {
    let (context, store) = full().await;
    let rotated = store.rotate(&id("a"), Rotation::new().new_id(id("d")).user("eve")).await.unwrap();
    let mut session = rotated.session;
    store.bind(&session, Binding::new("other").take_over()).await.unwrap();
    store.unbind(&session, "other").await.unwrap();
    session = store.get(session.id()).await.unwrap().unwrap();
    session.set_user("ann");
    store.update(&mut session).await.unwrap();
    assert_eq!(stored(&context).await.len(), 3);
    assert_eq!(refusal(store.create(named("e")).await), FULL);
    context.check().await;
}

/// Three ways in which sessions end.
#[derive(Clone, Copy, Debug)]
enum End {
    Delete,
    DeleteUser,
    Reap,
}

#[rstest]
#[tokio::test]
async fn room_comes_back_when_a_session_ends(#[values(End::Delete, End::DeleteUser, End::Reap)] end: End) {
    let (context, store) = full().await;
    for round in 0..5 {
        let (ending, next) = (format!("{round}"), format!("{}", round + 1));
        let ending = if round == 0 { "a".to_owned() } else { ending };
        assert_eq!(refusal(store.create(named(&next)).await), FULL);
        match end {
            End::Delete => drop(store.delete(&id(&ending)).await.unwrap()),
            End::DeleteUser => drop(store.delete_user(&format!("user-{ending}"), None).await.unwrap()),
            End::Reap => {
                let session = store.expired(None, 0, 1).await.unwrap();
                assert!(session.is_empty(), "all are live");
                store.patch(&id(&ending), cloakroom::Patch::new().ttl(SECOND)).await.unwrap();
                context.clock.advance(SECOND);
                assert_eq!(ids(&store.reap(10).await.unwrap().sessions), [id(&ending)]);
            }
        }
        store.create(named(&next)).await.unwrap();
    }
    context.check().await;
}

#[tokio::test]
async fn a_session_that_the_users_limit_evicts_makes_way() {
    let (context, _) = full().await;
    let store = context.store_at(rules().sessions_per_user(1, OnLimit::EvictOldest)).await;
    let created = store.create(named("d").user("user-a")).await.unwrap();
    let [evicted] = created.evicted.as_slice() else { panic!("not one: {:?}", created.evicted) };
    assert_eq!(evicted.id, id("a"));
    assert_eq!(stored(&context).await, ["b", "c", "d"]);
    assert_eq!(refusal(store.create(named("e")).await), FULL);
    // A login evicts too, and leaves more room than it takes.
    store.rotate(&id("d"), Rotation::new().new_id(id("f")).user("user-b")).await.unwrap();
    assert_eq!(stored(&context).await, ["c", "f"]);
    store.create(named("e")).await.unwrap();
    assert_eq!(refusal(store.create(named("g")).await), FULL);
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creates_at_once_as_many_succeed_as_there_is_room_for() {
    let context = Context::memory(40);
    let store = context.store_at(rules()).await;
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.create(named(&format!("s{number}"))).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            error => assert_eq!(refusal(error), Refusal::Full { sessions: 40 }),
        }
    }
    assert_eq!((made, stored(&context).await.len()), (40, 40));
    context.check().await;
}
