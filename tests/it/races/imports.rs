//! Races of imports, with each other and with what is done to the session here.

use std::time::Duration;

use cloakroom::migration::{Export, Import};
use cloakroom::{NewSession, Patch, Refusal, Result, Rotation, Rules, SessionId};
use futures::future::{BoxFuture, FutureExt as _};
use rstest::rstest;

use super::{Orders, Race, Start, two_stores, two_stores_at};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id};
use crate::support::record::LIVE;

/// How often a race of two is run: who is first differs.
const ROUNDS: usize = 40;
const TTL: Duration = Duration::from_secs(30 * 60);

fn of(name: &str) -> NewSession {
    NewSession::new().id(session_id(name)).user("ann").connection(format!("socket-{name}")).node("gateway")
}

/// One session, exported at each of its first versions.
async fn versions(store: &Store, name: &str, count: usize) -> Vec<Export> {
    let mut session = store.create(of(name)).await.unwrap().session;
    let mut exports = vec![store.export(session.id()).await.unwrap().unwrap()];
    for number in 1..count {
        session.set_user(format!("user-{number}"));
        session.set_connection(format!("socket-{name}-{number}"));
        session.set_node(format!("node-{number}"));
        store.update(&mut session).await.unwrap();
        exports.push(store.export(session.id()).await.unwrap().unwrap());
    }
    exports
}

fn import(store: &Store, export: &Export) -> BoxFuture<'static, Result<bool>> {
    let (store, import) = (store.clone(), Import::new(export.clone()));
    async move { store.import(import).await }.boxed()
}

/// The ids of the sessions that are live by their records.
async fn live(context: &Context) -> Vec<SessionId> {
    let mut live = Vec::new();
    for key in context.keys().await {
        if let Some(id) = key.strip_prefix(&context.key("session:")).map(session_id)
            && context.stored(&id).await.unwrap().kind == LIVE
        {
            live.push(id);
        }
    }
    live
}

/// Where sessions come from with a store, and where they go with two, as two processes have them.
async fn places(there: On, here: On) -> (Context, Context, Store, [Store; 2]) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store(Rules::new()).await;
    let stores = two_stores(&to, Rules::new()).await;
    (from, to, source, stores)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_many_versions_at_once_the_latest_is_left(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store(Rules::new()).await;
    let stores = two_stores(&to, Rules::new()).await;
    let (mut raced, mut late) = (0, 0);
    for round in 0..ROUNDS {
        let exports = versions(&source, &round.to_string(), 6).await;
        let mut race = Race::new();
        // The oldest stands first and the latest second, who lead in turn.
        let (oldest, latest) = (&exports[0], &exports[5]);
        let others = exports[1..5].iter().chain(&exports);
        for (number, export) in [oldest, latest].into_iter().chain(others).enumerate() {
            race.add(import(&stores[number % 2], export));
        }
        let start = Start::of(round);
        let outcomes = race.run_as(start).await;
        let is_late = |outcome: &Result<bool>| outcome.as_ref().is_err_and(cloakroom::Error::is_conflict);
        assert!(outcomes.iter().all(|outcome| outcome.is_ok() || is_late(outcome)), "{outcomes:?}");
        let too_late = outcomes.iter().filter(|outcome| is_late(outcome)).count();
        match start {
            Start { leader: 0, is_alone: true } => assert!(matches!(outcomes[0], Ok(true))),
            Start { is_alone: true, .. } => assert_eq!(too_late, 10, "all but the two of the latest"),
            _ => (raced, late) = (raced + outcomes.len(), late + too_late),
        }
        let last = exports.last().unwrap().session();
        assert_eq!(stores[0].get(last.id()).await.unwrap().as_ref(), Some(last));
    }
    eprintln!("of {raced} imports at once, {late} came after a later version");
    to.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_an_import_and_a_create_of_one_id_the_first_wins(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, source, [store, other]) = places(there, here).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let name = round.to_string();
        let exports = versions(&source, &name, 2).await;
        // Another session of this id was made at another time.
        to.clock.advance(Duration::from_millis(1));
        let mut race = Race::new();
        race.add(import(&store, &exports[1]).map(|imported| imported.map(drop)));
        race.add({
            let (other, new) = (other.clone(), of(&name));
            async move { other.create(new).await.map(drop) }
        });
        let start = Start::of(round);
        let outcomes = race.run_as(start).await;
        orders.note(start, usize::from(outcomes[0].is_err()));
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1));
        let session = store.get(&session_id(&name)).await.unwrap().unwrap();
        match refusal(lost.into_iter().next().unwrap()) {
            Refusal::Exists => assert_eq!(&session, exports[1].session()),
            Refusal::Conflict { current } => assert_eq!((current.get(), session.version().get()), (1, 1)),
            other => panic!("{other:?}"),
        }
    }
    orders.are_both();
    to.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_two_imports_with_one_connection_one_is_taken(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store(Rules::new()).await;
    let stores = two_stores(&to, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let connection = format!("socket-{round}");
        let mut race = Race::new();
        for store in &stores {
            let session = source.create(NewSession::new().connection(&connection)).await.unwrap().session;
            let export = source.export(session.id()).await.unwrap().unwrap();
            source.delete(session.id()).await.unwrap();
            race.add(import(store, &export));
        }
        let start = Start::of(round);
        let outcomes = race.run_as(start).await;
        orders.note(start, usize::from(outcomes[0].is_err()));
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1));
        assert_eq!(refusal(lost.into_iter().next().unwrap()), Refusal::Taken);
    }
    orders.are_both();
    to.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_against_a_delete_leaves_nothing(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, source, [store, other]) = places(there, here).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let exports = versions(&source, &round.to_string(), 2).await;
        import(&store, &exports[0]).await.unwrap();
        let id = exports[0].session().id().clone();
        let mut race = Race::new();
        race.add(import(&store, &exports[1]));
        race.add({
            let (other, id) = (other.clone(), id.clone());
            async move { other.delete(&id).await.map(|deleted| deleted.is_some()) }.boxed()
        });
        let start = Start::of(round);
        let [imported, deleted] = race.run_as(start).await.try_into().unwrap();
        assert!(deleted.unwrap());
        orders.note(start, usize::from(imported.is_err()));
        match imported {
            Ok(is_new) => assert!(is_new),
            refused => assert_eq!(refusal(refused), Refusal::Gone),
        }
        assert_eq!(store.get(&id).await.unwrap(), None, "it came back");
    }
    orders.are_both();
    assert!(live(&to).await.is_empty());
    to.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_against_a_rotation_leaves_one_session(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, source, [store, other]) = places(there, here).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let exports = versions(&source, &round.to_string(), 2).await;
        import(&store, &exports[0]).await.unwrap();
        let id = exports[0].session().id().clone();
        let mut race = Race::new();
        race.add(import(&store, &exports[1]).map(|imported| imported.map(|_| None)));
        race.add({
            let (other, id) = (other.clone(), id.clone());
            async move { other.rotate(&id, Rotation::new()).await.map(|rotated| Some(rotated.session)) }
        });
        let (mut rotated, mut moved) = (None, None);
        let start = Start::of(round);
        for outcome in race.run_as(start).await {
            match outcome {
                Ok(session) => rotated = rotated.or(session),
                Err(error) => moved = Some(refusal::<()>(Err(error))),
            }
        }
        let rotated = rotated.unwrap();
        orders.note(start, usize::from(moved.is_some()));
        assert!(moved.is_none_or(|refused| refused == Refusal::Rotated { to: Some(rotated.id().clone()) }));
        assert_eq!(store.get(&id).await.unwrap().as_ref(), Some(&rotated));
        assert_eq!(live(&to).await, [rotated.id().clone()]);
        store.delete(&rotated).await.unwrap();
    }
    orders.are_both();
    to.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_import_against_a_patch_ends_with_the_later_version_whole(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let (_from, to, source, [store, other]) = places(there, here).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let exports = versions(&source, &round.to_string(), 3).await;
        import(&store, &exports[0]).await.unwrap();
        let id = exports[0].session().id().clone();
        let mut race = Race::new();
        race.add(import(&store, &exports[2]).map(drop));
        race.add({
            let (other, id) = (other.clone(), id.clone());
            async move { drop(other.patch(&id, Patch::new().set("here", &true).unwrap()).await.unwrap()) }
        });
        let start = Start::of(round);
        race.run_as(start).await;
        let session = store.get(&id).await.unwrap().unwrap();
        // The patch made version 2 of the first, which gave way to 3, or 4 of the third.
        let here = session.get::<bool>("here").unwrap().unwrap_or_default();
        assert_eq!(session.version().get(), if here { 4 } else { 3 });
        assert_eq!(session.user(), Some("user-2"));
        orders.note(start, usize::from(!here));
    }
    orders.are_both();
    to.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_import_against_reapers_of_the_expired_session_of_its_id_brings_it_in(
    #[values(Redis, Memory)] there: On,
    #[values(Redis, Memory)] here: On,
) {
    let from = Context::on(there).await;
    let to = from.another(here).await;
    let source = from.store_at(Rules::new()).await;
    let [store, other] = two_stores_at(&to, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let export = versions(&source, &round.to_string(), 1).await.remove(0);
        import(&store, &export).await.unwrap();
        from.clock.advance(TTL / 2 + Duration::from_secs(1));
        source.refresh(export.session().id()).await.unwrap().unwrap();
        let later = source.export(export.session().id()).await.unwrap().unwrap();
        from.clock.advance(TTL / 2);
        let mut race = Race::new();
        race.add(import(&store, &later));
        race.add({
            let other = other.clone();
            async move { other.reap(10).await.map(|reaped| !reaped.sessions.is_empty()) }.boxed()
        });
        let start = Start::of(round);
        let [imported, is_reaped] = race.run_as(start).await.try_into().unwrap();
        assert!(imported.unwrap());
        orders.note(start, usize::from(is_reaped.unwrap()));
        assert_eq!(store.get(later.session().id()).await.unwrap().as_ref(), Some(later.session()));
        to.check().await;
        store.delete(later.session().id()).await.unwrap();
    }
    orders.are_both();
}
