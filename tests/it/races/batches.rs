//! Races of many sessions made at once.

use cloakroom::{NewSession, Refusal, Rules, Selector};

use super::{Race, two_stores};
use crate::support::Context;
use crate::support::expect::{refusal, session_id as id};

/// How often a race is run: who is first differs.
const ROUNDS: usize = 20;
/// Sessions in a batch, so many that it takes three scripts.
const SESSIONS: usize = 250;

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
        let mut made = vec![0; SESSIONS + SESSIONS / 2];
        for (at, answer) in race.run().await.into_iter().flatten() {
            match answer {
                Ok(created) => {
                    assert_eq!(created.session.id(), &id(&format!("{round}-{at}")));
                    made[at] += 1;
                }
                refused => assert_eq!(refusal(refused), Refusal::Exists),
            }
        }
        assert!(made.iter().all(|made| *made == 1), "{made:?}");
    }
    let all = ROUNDS * (SESSIONS + SESSIONS / 2);
    assert_eq!(stores[0].count(&Selector::user("ann")).await.unwrap(), all as u64);
    context.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_against_creates_for_its_connections_gives_each_connection_to_one() {
    let context = Context::redis().await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    for round in 0..ROUNDS {
        let mut race = Race::new();
        race.add({
            let store = store.clone();
            async move { store.create_many((0..SESSIONS).map(|at| named(round, at)).collect()).await }
        });
        for at in (0..SESSIONS).step_by(25) {
            let other = other.clone();
            let rival =
                NewSession::new().id(id(&format!("{round}-{at}-rival"))).connection(format!("{round}-{at}"));
            race.add(async move { vec![other.create(rival).await] });
        }
        let mut outcomes = race.run().await;
        outcomes.sort_by_key(Vec::len);
        let batch = outcomes.pop().unwrap();
        assert_eq!(batch.len(), SESSIONS);
        let mut made = 0;
        for answer in outcomes.into_iter().flatten().chain(batch) {
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
    context.check().await;
}
