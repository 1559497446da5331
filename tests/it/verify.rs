//! What is stored, held against itself and mended.

mod damage;
mod load;
mod soak;

use std::collections::{BTreeMap, BTreeSet};

use cloakroom::verify::{Repaired, Violation, ViolationKind};
use cloakroom::{NewSession, RedisStore, Rules, Session, Status};
use damage::{Damage, Damaged};
use load::Load;
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{self, Redis, Spread};
use crate::support::context::Store;

/// A store that goes by the server's clock, as whoever is on call has one.
async fn redis(context: &Context, events: u32) -> RedisStore {
    context.builder(Rules::new().events(events)).build().await.unwrap()
}

/// All that does not agree.
async fn found(store: &RedisStore) -> Vec<Violation> {
    let mut verifier = store.verifier().per_second(10_000_000);
    let mut found = Vec::new();
    while let Some(violation) = verifier.next().await.unwrap() {
        found.push(violation);
    }
    found
}

/// Mends all that a verifier finds, until it finds nothing that can be mended. How often it went through.
async fn mend_all(store: &RedisStore) -> usize {
    for times in 1.. {
        let found = found(store).await;
        let mut is_done = true;
        for violation in found.iter().filter(|violation| violation.is_mendable()) {
            let repaired = store.repair(violation).await.unwrap();
            is_done &= repaired == Repaired::Left;
        }
        if is_done {
            return times;
        }
        assert!(times < 10, "it does not come to an end: {found:?}");
    }
    unreachable!()
}

/// Sessions of this name, each with a user, a connection and the node `n-1`.
async fn sessions(store: &Store, name: &str, count: usize) -> Vec<Session> {
    let new = (0..count).map(|at| damage::new(&format!("{name}-{at}"))).collect();
    store.create_many(new).await.into_iter().map(|made| made.unwrap().session).collect()
}

/// What is stored of sessions, to the byte.
async fn records(context: &Context, sessions: &[Session]) -> Vec<Option<Vec<u8>>> {
    let mut records = Vec::new();
    for session in sessions {
        records.push(context.string(&context.record_key(session.id())).await);
    }
    records
}

#[rstest]
#[tokio::test]
async fn each_kind_of_damage_is_named_and_mended_and_no_healthy_session_is_touched(
    #[values(Redis, Spread)] on: On,
    #[values(0, 1000)] events: u32,
) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new().events(events)).await;
    let load = Load::start(&store, 3);
    check_repair(&context, &store, &redis(&context, events).await, (20, 2), load).await;
}

#[rstest]
#[tokio::test]
async fn what_others_do_meanwhile_is_no_violation(#[values(Redis, Spread)] on: On) {
    let context = Context::on(on).await;
    let store = context.store(Rules::new()).await;
    sessions(&store, "still", 100).await;
    let (operator, load) = (redis(&context, 0).await, Load::start(&store, 8));
    for _ in 0..5 {
        let found = found(&operator).await;
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(load.stop().await.rounds > 0);
    context.check().await;
}

#[tokio::test]
async fn an_index_is_read_in_pieces_however_large_it_is() {
    let context = Context::own(&[]).await;
    let (store, operator) = (context.store(Rules::new()).await, redis(&context, 0).await);
    let new = (0..1500).map(|_| NewSession::new().user("ann")).collect();
    store.create_many(new).await;
    let mut strays = redis::cmd("ZADD");
    strays.arg(context.key("user:ann:sessions"));
    for at in 0..500 {
        strays.arg(at).arg(format!("stray-{at}"));
    }
    strays.query_async::<()>(&mut context.raw()).await.unwrap();
    context.command::<()>(&["PERSIST", &context.key("user:ann:sessions")]).await;
    let before = context.count().await;
    assert_eq!(found(&operator).await.len(), 501);
    let cost = context.cost_since(&before).await;
    assert!(cost.commands["zscan"] > 30, "{:?}", cost.commands);
    assert!(!cost.commands.contains_key("zrange"), "{:?}", cost.commands);
    mend_all(&operator).await;
    context.check().await;
}

#[tokio::test]
async fn a_repair_changes_nothing_that_was_mended_or_changed_since_it_was_found() {
    let context = Context::redis().await;
    let (store, operator) = (context.store(Rules::new()).await, redis(&context, 0).await);
    let session = sessions(&store, "a", 1).await.remove(0);
    context.command::<()>(&["DEL", &context.key("user:user-a-0:sessions")]).await;
    context.command::<()>(&["SET", &context.record_key(session.id()), "garbage", "KEEPTTL"]).await;
    let garbage = found(&operator).await;
    assert_eq!(garbage.len(), 1, "what leads to it cannot be judged: {garbage:?}");
    // It is whole again, and nothing leads to it from its user.
    context.command::<()>(&["DEL", &context.record_key(session.id())]).await;
    let again = store.create(damage::new("a-0").id(session.id().clone()).connection("other")).await.unwrap();
    context.command::<()>(&["DEL", &context.key("user:user-a-0:sessions")]).await;
    assert_eq!(operator.repair(&garbage[0]).await.unwrap(), Repaired::Gone);
    assert_eq!(store.get(session.id()).await.unwrap().unwrap().version(), again.session.version());

    let missing = found(&operator).await;
    let entry = missing.iter().find(|found| found.kind() == ViolationKind::MissingEntry).unwrap();
    assert_eq!(operator.repair(entry).await.unwrap(), Repaired::Mended);
    let before = context.dump().await;
    assert_eq!(operator.repair(entry).await.unwrap(), Repaired::Gone);
    store.delete(session.id()).await.unwrap();
    assert_eq!(operator.repair(entry).await.unwrap(), Repaired::Gone);
    assert_ne!(context.dump().await, before);
    mend_all(&operator).await;
    context.check().await;
}

#[tokio::test]
async fn what_is_in_no_partition_is_named_and_not_touched() {
    let context = Context::redis().await.spread();
    let operator = redis(&context, 0).await;
    let tags = context.partitions().tags();
    let tag = (0..).map(|tag| format!("{{{}:{tag}}}", context.namespace)).find(|tag| !tags.contains(tag));
    let key = format!("{}:session:a", tag.unwrap());
    context.command::<()>(&["SET", &key, "x", "PX", "60000"]).await;
    // That is another namespace's.
    let other = format!("{{{}:eu:0}}:session:a", context.namespace);
    context.command::<()>(&["SET", &other, "x", "PX", "60000"]).await;
    let found = found(&operator).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind(), found[0].key()), (ViolationKind::WrongPartition, key.as_bytes()));
    assert_eq!(operator.repair(&found[0]).await.unwrap(), Repaired::Left);
    assert!(context.exists(&key).await);
}

/// Damages so many sessions in each way beside healthy ones, while others work, has all of it mended, and looks at what is
/// there then.
async fn check_repair(
    context: &Context,
    store: &Store,
    operator: &RedisStore,
    (healthy, of_each): (usize, usize),
    load: Load,
) {
    let is_one = operator.partition_count() == 1;
    let kinds = damage::ALL.into_iter().filter(|damage| !(is_one && *damage == Damage::Misplaced));
    let watched = sessions(store, "healthy", healthy).await;
    let before = records(context, &watched).await;
    assert!(found(operator).await.is_empty(), "nothing is damaged yet");

    let mut damaged: Vec<Damaged> = Vec::new();
    for damage in kinds {
        for session in sessions(store, &format!("{damage:?}"), of_each).await {
            damaged.push(damage::plant(context, store, damage, session).await);
        }
    }
    let mut expected = damage::plant_in_the_whole(context, store).await;
    let violations = found(operator).await;
    for (key, kinds) in &mut expected {
        // Where it takes long to come by, those who work meanwhile have given an index its TTL back.
        if context.command::<i64>(&["PTTL", key]).await > 0 {
            kinds.retain(|kind| *kind != ViolationKind::NoTtl);
        }
    }
    check_named(context, &damaged, &expected, &violations);

    let passes = mend_all(operator).await;
    assert!(passes <= 4, "{passes} times");
    let left: BTreeSet<ViolationKind> = found(operator).await.iter().map(Violation::kind).collect();
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [ViolationKind::UnknownKey]);
    for tag in context.partitions().tags() {
        assert_eq!(context.command::<i64>(&["DEL", &format!("{tag}:strange")]).await, 1, "nobody touched it");
    }
    load.stop().await;
    context.check().await;
    assert_eq!(records(context, &watched).await, before, "a healthy session was touched");
    for Damaged { damage, session } in &damaged {
        check_healed(store, *damage, session).await;
    }
}

/// Each damage is found where it is, and nothing else but what follows from it.
fn check_named(
    context: &Context,
    damaged: &[Damaged],
    expected: &BTreeMap<String, Vec<ViolationKind>>,
    violations: &[Violation],
) {
    let mut by_kind: BTreeMap<ViolationKind, usize> = BTreeMap::new();
    for violation in violations {
        *by_kind.entry(violation.kind()).or_default() += 1;
        assert!(
            !format!("{violation:?} {violation}").contains("c-"),
            "{violation}: a connection is a secret"
        );
    }
    for (key, kinds) in expected {
        let found: BTreeSet<_> =
            violations.iter().filter(|found| found.key() == key.as_bytes()).map(Violation::kind).collect();
        for kind in kinds {
            assert!(found.contains(kind), "{key}: {found:?} and not {kind:?}");
        }
    }
    let mut named: BTreeMap<String, BTreeSet<ViolationKind>> = BTreeMap::new();
    for violation in violations {
        let key = String::from_utf8(violation.key().to_vec()).unwrap();
        let rest = key.split_once("}:").unwrap().1.split_once(':').map_or("", |(_, name)| name);
        let name = rest.trim_end_matches(":sessions").trim_end_matches(":session").to_owned();
        let id = violation.session().map(|id| id.as_str().to_owned());
        for name in id.into_iter().chain([name]) {
            let name = name.trim_start_matches("stranger-").to_owned();
            named.entry(name).or_default().insert(violation.kind());
        }
    }
    for Damaged { damage, session } in damaged {
        let names = [session.user().unwrap(), session.connection().unwrap(), session.id().as_str()];
        let kinds: BTreeSet<_> =
            names.iter().filter_map(|name| named.get(*name)).flatten().copied().collect();
        assert!(kinds.contains(&damage.kind()), "{damage:?}: {kinds:?} in {}", context.namespace);
    }
    assert!(by_kind.len() >= 10, "{by_kind:?}");
}

/// A session that was damaged is as it was, or what is said of its damage became of it.
async fn check_healed(store: &Store, damage: Damage, session: &Session) {
    let found = store.get(session.id()).await;
    if damage.heals() {
        let found = found.unwrap().unwrap_or_else(|| panic!("{damage:?}: it is gone"));
        assert_eq!(
            (found.version(), found.connection()),
            (session.version(), session.connection()),
            "{damage:?}"
        );
        let by_connection =
            store.session_by_connection(session.connection().unwrap()).await.unwrap().unwrap();
        assert_eq!(by_connection.id(), session.id(), "{damage:?}");
        return;
    }
    match damage {
        Damage::Rivals => {
            let found = found.unwrap().unwrap();
            assert_eq!((found.connection(), found.node(), found.status()), (None, None, Status::Suspended));
            let rival = store.session_by_connection(session.connection().unwrap()).await.unwrap().unwrap();
            assert_ne!(rival.id(), session.id());
        }
        Damage::NotListed => assert!(found.unwrap().is_some()),
        _ => assert!(found.unwrap().is_none(), "{damage:?}"),
    }
}
