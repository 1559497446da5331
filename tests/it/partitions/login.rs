//! A login of a user who is in another partition: three calls, each of which may be the last.

use std::sync::Arc;
use std::time::Duration;

use cloakroom::{
    Error, NewSession, Obstacle, OnLimit, OperationId, Patch, RedisStore, Refusal, Rotation, Rules, Selector,
    Session, SessionId,
};
use tokio::task::JoinSet;

use crate::support::Context;
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id, unless_left};
use crate::support::proxy::Proxy;

const TTL: Duration = Duration::from_secs(1800);
const MINUTE: Duration = Duration::from_secs(60);

/// How many sessions have the data: those that answer to these ids.
async fn with_data(store: &Store, ids: &[&SessionId]) -> usize {
    let mut count = 0;
    for id in ids {
        count += usize::from(unless_left(store.get(id).await).is_some_and(|session| session.has("cart")));
    }
    count
}

trait HasEntry {
    fn has(&self, key: &str) -> bool;
}

impl HasEntry for Session {
    fn has(&self, key: &str) -> bool {
        self.get::<u32>(key).unwrap().is_some()
    }
}

/// A visitor with something in the cart, in another partition than ann.
async fn visitor(context: &Context, store: &Store) -> Session {
    let partitions = context.partitions();
    let mut id = fastrand::u64(..).to_string();
    while partitions.of(&id) == partitions.of("ann") {
        id = fastrand::u64(..).to_string();
    }
    let new = NewSession::new()
        .id(session_id(&id))
        .connection(format!("of-{id}"))
        .node("n")
        .set("cart", &7)
        .unwrap();
    store.create(new).await.unwrap().session
}

async fn spread(rules: Rules) -> (Context, Store) {
    let context = Context::on(On::Spread).await;
    let store = context.store_at(rules.ttl(TTL)).await;
    (context, store)
}

/// On one server, which a proxy can stand before.
async fn alone() -> (Context, Store) {
    let context = Context::own(&[]).await.spread();
    let store = context.store_at(Rules::new().ttl(TTL)).await;
    (context, store)
}

#[tokio::test]
async fn a_login_across_partitions_takes_the_session_over_whole() {
    let (context, store) = spread(Rules::new().max_lifetime(10 * TTL)).await;
    let old = visitor(&context, &store).await;
    context.clock.advance(MINUTE);
    let rotated = store.rotate(&old, Rotation::new().user("ann")).await.unwrap();
    let new = rotated.session;
    assert!(!rotated.by_another && rotated.evicted.is_empty());
    assert_eq!(new.user(), Some("ann"));
    assert_eq!(new.get::<u32>("cart").unwrap(), Some(7));
    assert_eq!((new.connection(), new.node()), (old.connection(), old.node()));
    assert_eq!(new.created_at_ms(), old.created_at_ms());
    assert_eq!(new.version().get(), old.version().get() + 2, "the login, and its connection");
    assert_eq!(new.expires_at_ms(), context.clock.now_ms() + 1_800_000, "it has its whole idle time");
    assert_eq!(store.get(new.id()).await.unwrap(), Some(new.clone()));
    assert_eq!(refusal(store.get(old.id()).await), Refusal::Rotated { to: None });
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);
    let found = store.session_by_connection(old.connection().unwrap()).await.unwrap().unwrap();
    assert_eq!(found.id(), new.id());
    context.check().await;
    // A second one, and a logout, that come with the id from before.
    let second = store.rotate(&old, Rotation::new().user("ann")).await;
    assert_eq!(refusal(second), Refusal::Rotated { to: None });
    assert!(store.delete(&old).await.unwrap().is_some(), "a logout is a logout all the same");
    assert_eq!(store.get(new.id()).await.unwrap(), None);
    context.check().await;
}

#[tokio::test]
async fn a_login_across_partitions_takes_four_round_trips_and_one_more_for_a_connection() {
    let context = Context::own(&[]).await.spread();
    let store = context.store(Rules::new()).await;
    store.rotate(&visitor(&context, &store).await, Rotation::new().user("ann")).await.unwrap();
    for (connection, expected) in [("", (4, 3)), ("socket", (5, 4))] {
        for by_id in [false, true] {
            let mut old = visitor(&context, &store).await;
            old.set_connection(connection);
            store.update(&mut old).await.unwrap();
            let before = context.count().await;
            let rotation = Rotation::new().user("ann");
            let rotated = if by_id {
                store.rotate(old.id(), rotation).await
            } else {
                store.rotate(&old, rotation).await
            };
            let cost = context.cost_since(&before).await;
            assert_eq!((cost.round_trips, cost.scripts), expected, "{connection}");
            store.delete(&rotated.unwrap().session).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_login_across_partitions_keeps_to_the_limit() {
    let (context, store) = spread(Rules::new().sessions_per_user(1, OnLimit::EvictOldest)).await;
    let first = store.create(NewSession::new().user("ann")).await.unwrap().session;
    let old = visitor(&context, &store).await;
    let rotated = store.rotate(&old, Rotation::new().user("ann")).await.unwrap();
    assert_eq!(rotated.evicted.iter().map(|evicted| &evicted.id).collect::<Vec<_>>(), [first.id()]);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);

    let store = context.store_at(Rules::new().ttl(TTL).sessions_per_user(1, OnLimit::Reject)).await;
    let old = visitor(&context, &store).await;
    let refused = refusal(store.rotate(&old, Rotation::new().user("ann")).await);
    assert_eq!(refused, Refusal::Limit { live: 1 });
    assert_eq!(store.get(old.id()).await.unwrap(), Some(old));
    context.check().await;
}

#[tokio::test]
async fn a_new_id_that_is_in_use_or_does_not_fit_is_refused() {
    let (context, store) = spread(Rules::new()).await;
    let old = visitor(&context, &store).await;
    let used = store.create(NewSession::new().user("ann")).await.unwrap().session;
    context.clock.advance(MINUTE);
    let old_again = visitor(&context, &store).await;
    for old in [&old, &old_again] {
        let login = Rotation::new().user("ann").new_id(used.id().clone());
        assert_eq!(refusal(store.rotate(old, login).await), Refusal::Exists);
    }
    let far = session_id(&context.partitions().far("device", "ann"));
    let refused = store.rotate(&old, Rotation::new().user("ann").new_id(far)).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert!(store.get(old.id()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_session_that_is_being_migrated_is_not_logged_in() {
    let (context, store) = spread(Rules::new()).await;
    let old = visitor(&context, &store).await;
    context.freeze(old.id()).await;
    assert_eq!(refusal(store.rotate(&old, Rotation::new().user("ann")).await), Refusal::Frozen);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 0);
}

/// A store that loses the reply of the call behind so many, and all after that.
async fn dying(context: &Context, answered: u64) -> (Proxy, Store) {
    let proxy = Proxy::start(context.server().address()).await;
    let store = RedisStore::builder(&proxy.url)
        .namespace(&context.namespace)
        .partitions(16)
        .rules(Rules::new().ttl(TTL))
        .clock(context.clock.clone())
        .deadline(Duration::from_millis(700))
        .pool_size(1)
        .build()
        .await
        .unwrap();
    proxy.silence_after(answered);
    (proxy, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_reply_of_a_login_is_the_last_nobody_has_the_data_twice_and_the_old_id_never_has_the_user() {
    let (context, store) = alone().await;
    for answered in 0..5 {
        for is_repeated in [false, true] {
            let old = visitor(&context, &store).await;
            let operation = OperationId::random();
            let new_id = store.new_id("ann").id;
            let login = || Rotation::new().user("ann").new_id(new_id.clone());
            let (_proxy, proxied) = dying(&context, answered).await;
            let ended = proxied.with_operation_id(operation).rotate(&old, login()).await;
            if answered < 4 {
                assert!(
                    matches!(ended, Err(Error::Ambiguous { .. } | Error::NotExecuted { .. })),
                    "{answered}: {ended:?}"
                );
            }
            let found = unless_left(store.get(old.id()).await);
            assert!(found.is_none_or(|old| old.user().is_none()));
            if is_repeated {
                let id = match ended {
                    Err(Error::Ambiguous { operation_id, .. }) => operation_id,
                    _ => operation,
                };
                let rotated = store.with_operation_id(id).rotate(&old, login()).await;
                let rotated = rotated.unwrap_or_else(|error| panic!("{answered}: {error:?}"));
                assert_eq!(rotated.session.id(), &new_id, "{answered}");
                assert_eq!(refusal(store.get(old.id()).await), Refusal::Rotated { to: None });
                assert_eq!(store.get(&new_id).await.unwrap().unwrap().user(), Some("ann"));
            }
            context.check().await;
            context.clock.advance(MINUTE);
            let left = with_data(&store, &[old.id(), &new_id]).await;
            // A session whose login nobody learned of goes as the copy does.
            assert!(left <= 1, "{answered}");
            assert!(left == 1 || !is_repeated, "{answered}");
            while store.reap(200).await.unwrap().more {}
            store.delete_user("ann", None).await.unwrap();
            store.delete(&old).await.unwrap();
            context.check().await;
        }
    }
}

/// Nothing removes an expired copy while the server is away, and what is stored still says that it was brought in.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_repeated_after_its_copy_expired_leaves_the_visitor_with_the_session() {
    let (context, store) = alone().await;
    let old = visitor(&context, &store).await;
    let login = || Rotation::new().user("ann");
    // The reply to the reading comes, that to the import does not.
    let (_proxy, proxied) = dying(&context, 1).await;
    let Err(Error::Ambiguous { operation_id, .. }) = proxied.rotate(&old, login()).await else {
        panic!("it was answered");
    };
    context.clock.advance(MINUTE);
    let again = store.with_operation_id(operation_id).rotate(&old, login()).await;
    assert!(matches!(again, Err(Error::NotExecuted { reason: Obstacle::Contended, .. })), "{again:?}");
    assert!(store.get(old.id()).await.unwrap().unwrap().has("cart"));
    let rotated = store.rotate(&old, login()).await.unwrap();
    assert!(rotated.session.has("cart"));
    while store.reap(200).await.unwrap().more {}
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_repeated_after_its_session_changed_takes_the_change_with_it() {
    let (context, store) = alone().await;
    for changes in [1, 5] {
        let old = visitor(&context, &store).await;
        let login = || Rotation::new().user("ann");
        // The reply to the reading comes, that to the import does not.
        let (_proxy, proxied) = dying(&context, 1).await;
        let Err(Error::Ambiguous { operation_id, .. }) = proxied.rotate(&old, login()).await else {
            panic!("it was answered");
        };
        let read_back = operation_id.to_string().parse::<OperationId>().unwrap();
        for number in 0..changes {
            context.clock.advance(Duration::from_secs(1));
            store.patch(&old, Patch::new().set("cart", &number).unwrap()).await.unwrap();
        }
        for id in [operation_id, read_back] {
            let rotated = store.with_operation_id(id).rotate(&old, login()).await.unwrap();
            assert_eq!(rotated.session.get::<u32>("cart").unwrap(), Some(changes - 1));
            assert_eq!(rotated.session.connection(), old.connection());
        }
        assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 1);
        store.delete_user("ann", None).await.unwrap();
        context.check().await;
    }
}

#[tokio::test]
async fn a_login_that_is_repeated_does_not_bind_again_what_was_unbound_since() {
    let (context, store) = spread(Rules::new()).await;
    let old = visitor(&context, &store).await;
    let connection = old.connection().unwrap();
    let login = store.with_operation_id(OperationId::random());
    let new = login.rotate(&old, Rotation::new().user("ann")).await.unwrap().session;
    assert_eq!(new.connection(), Some(connection));
    assert!(store.unbind(&new, connection).await.unwrap());
    let again = login.rotate(&old, Rotation::new().user("ann")).await.unwrap().session;
    assert_eq!((again.id(), again.connection()), (new.id(), None));
    assert_eq!(store.session_by_connection(connection).await.unwrap(), None);
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_races_changes_deletions_and_other_logins_ends_with_one_session() {
    let (context, store) = spread(Rules::new()).await;
    let far = context.partitions().far("bob", "ann");
    for round in 0..40 {
        let old = visitor(&context, &store).await;
        let mut tasks: JoinSet<Option<Session>> = JoinSet::new();
        for user in ["ann".to_owned(), "ann".to_owned(), far.clone()] {
            let (store, old) = (store.clone(), old.clone());
            tasks.spawn(async move {
                match store.rotate(&old, Rotation::new().user(user)).await {
                    Ok(rotated) => Some(rotated.session),
                    Err(Error::Refused(Refusal::Missing | Refusal::Rotated { to: None })) => None,
                    Err(Error::NotExecuted { reason: Obstacle::Contended, .. }) => None,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        let (patching, id) = (store.clone(), old.id().clone());
        tasks.spawn(async move {
            for number in 0..5 {
                let patch = Patch::new().set("number", &number).unwrap();
                let _ = patching.patch(&id, patch).await;
                let _ = patching.refresh(&id).await;
                let found = unless_left(patching.get(&id).await);
                assert!(found.is_none_or(|found| found.user().is_none()), "the old id has a user");
            }
            None
        });
        if round % 4 == 0 {
            let (deleting, id) = (store.clone(), old.id().clone());
            tasks.spawn(async move {
                deleting.delete(&id).await.unwrap();
                None
            });
        }
        let mut winners = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            winners.extend(ended.unwrap());
        }
        assert!(winners.len() <= 1, "{winners:?}");
        context.check().await;
        // Copies that lost are gone in a minute; none is known to anybody.
        context.clock.advance(MINUTE);
        while store.reap(200).await.unwrap().more {}
        let mut left = 0;
        for user in ["ann", far.as_str()] {
            left += store.count(&Selector::user(user)).await.unwrap();
            store.delete_user(user, None).await.unwrap();
        }
        assert!(unless_left(store.get(old.id()).await).is_none());
        let most = if round % 4 == 0 { 0..=1 } else { 1..=1 };
        assert!(most.contains(&left), "round {round}: {left}");
    }
}
