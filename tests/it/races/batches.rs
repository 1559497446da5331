//! Races of many sessions made at once.

use cloakroom::{NewSession, Refusal, Rules, Selector};
use futures::future::{FutureExt as _, join_all};

use super::{Orders, Race, Start, two_stores};
use crate::support::Context;
use crate::support::expect::{refusal, session_id as id};

/// How often a race is run: who is first differs.
const ROUNDS: usize = 20;
/// Sessions in a batch, so many that it takes three scripts.
const SESSIONS: usize = 250;
/// Of so many of its connections one is wanted by somebody else.
const EVERY: usize = 25;

fn named(round: usize, at: usize) -> NewSession {
    NewSession::new()
        .id(id(&format!("{round}-{at}")))
        .user("ann")
        .connection(format!("{round}-{at}"))
        .node("n")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_batches_with_the_same_ids_each_session_is_made_by_one() {
    let context = Context::redis().await;
    let stores = two_stores(&context, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let mut race = Race::new();
        // The second has half of the ids of the first, in the opposite order.
        for (store, reverse) in stores.iter().cloned().zip([false, true]) {
            let mut places: Vec<usize> =
                (0..SESSIONS).map(|at| at + if reverse { SESSIONS / 2 } else { 0 }).collect();
            if reverse {
                places.reverse();
            }
            race.add(async move {
                let answers = store.create_many(places.iter().map(|&at| named(round, at)).collect()).await;
                places.into_iter().zip(answers).collect::<Vec<_>>()
            });
        }
        let mut made = vec![Vec::new(); SESSIONS + SESSIONS / 2];
        let start = Start::of(round);
        for (batch, answers) in race.run_as(start).await.into_iter().enumerate() {
            for (at, answer) in answers {
                match answer {
                    Ok(created) => {
                        assert_eq!(created.session.id(), &id(&format!("{round}-{at}")));
                        made[at].push(batch);
                    }
                    refused => assert_eq!(refusal(refused), Refusal::Exists),
                }
            }
        }
        assert!(made.iter().all(|made| made.len() == 1), "{made:?}");
        made[SESSIONS / 2..SESSIONS].iter().for_each(|by| orders.note(start, by[0]));
    }
    orders.are_both();
    let all = ROUNDS * (SESSIONS + SESSIONS / 2);
    assert_eq!(stores[0].count(&Selector::user("ann")).await.unwrap(), all as u64);
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_against_creates_for_its_connections_gives_each_connection_to_one() {
    let context = Context::redis().await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let mut orders = Orders::default();
    for round in 0..ROUNDS {
        let mut race = Race::new();
        race.add({
            let store = store.clone();
            async move { store.create_many((0..SESSIONS).map(|at| named(round, at)).collect()).await }.boxed()
        });
        race.add({
            let other = other.clone();
            let rival = |at| {
                NewSession::new().id(id(&format!("{round}-{at}-rival"))).connection(format!("{round}-{at}"))
            };
            let rivals: Vec<_> = (0..SESSIONS).step_by(EVERY).map(rival).collect();
            async move { join_all(rivals.into_iter().map(|rival| other.create(rival))).await }.boxed()
        });
        let start = Start::of(round);
        let [batch, rivals] = race.run_as(start).await.try_into().unwrap();
        assert_eq!(batch.len(), SESSIONS);
        rivals.iter().for_each(|rival| orders.note(start, usize::from(rival.is_ok())));
        let mut made = 0;
        for answer in rivals.into_iter().chain(batch) {
            match answer {
                Ok(created) => {
                    made += 1;
                    let holder = store.session_by_connection(created.session.connection().unwrap()).await;
                    assert_eq!(holder.unwrap().unwrap().id(), created.session.id());
                }
                refused => assert_eq!(refusal(refused), Refusal::Taken),
            }
        }
        assert_eq!(made, SESSIONS, "each connection has one session");
    }
    orders.are_both();
    context.check().await;
}
