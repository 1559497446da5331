//! Races for the sessions of a dead node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cloakroom::nodes::{Claim, Heartbeat, HeartbeatReply, NodeIdentity};
use cloakroom::{Binding, Error, NewSession, Refusal, Result, Rotation, Rules, Selector, Session, SessionId};
use futures::future::{BoxFuture, FutureExt as _};
use rstest::rstest;

use super::{Race, two_stores};
use crate::support::Context;
use crate::support::context::On::{Memory, Redis};
use crate::support::context::{On, Store};
use crate::support::sessions::{create_many, ids};

const ROUNDS: usize = 20;
const SESSIONS: usize = 40;
const BATCH: usize = 3;

/// Registers a node for longer than any test takes.
async fn register(store: &Store, node: &str) -> HeartbeatReply {
    let beat = Heartbeat::register().lease(Duration::from_secs(3600));
    store.heartbeat(&NodeIdentity::new(node).unwrap(), beat).await.unwrap()
}

/// Sessions of a node that never held a lease, as one that crashed and is forgotten.
async fn sessions_of(store: &Store, node: &str) -> Vec<Session> {
    create_many(store, SESSIONS, |_| NewSession::new().node(node)).await
}

/// Takes a node's sessions, a batch after the other.
struct Recovery {
    store: Store,
    /// `None`: all are taken.
    claim: Option<Claim>,
    taken: Vec<SessionId>,
}

impl Recovery {
    fn new(store: &Store, node: &str, to: &str) -> Self {
        Self { store: store.clone(), claim: Some(Claim::new(node, to).batch(BATCH)), taken: Vec::new() }
    }

    /// Takes a batch, if there is another.
    async fn step(&mut self) -> Result<()> {
        if let Some(claim) = self.claim.take() {
            let claimed = self.store.recover(claim.clone()).await?;
            self.taken.extend(claimed.sessions.into_iter().map(|session| session.id));
            self.claim = claimed.next.map(|next| claim.after(next));
        }
        Ok(())
    }

    /// Takes all that is left, and returns what it got.
    async fn finish(mut self) -> (Vec<SessionId>, Option<Error>) {
        let mut error = None;
        while self.claim.is_some() {
            error = self.step().await.err();
        }
        (self.taken, error)
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_several_recoverers_each_session_is_taken_by_one_and_none_is_left(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let nodes = ["one", "two", "three"];
    for node in nodes {
        register(&store, node).await;
    }
    let mut took_part = BTreeMap::new();
    for round in 0..ROUNDS {
        let dead = format!("dead-{round}");
        let expected: BTreeSet<SessionId> = ids(&sessions_of(&store, &dead).await).into_iter().collect();
        let mut recoveries: Vec<_> = nodes
            .into_iter()
            .zip([&store, &other, &store])
            .map(|(node, store)| Recovery::new(store, &dead, node))
            .collect();
        // In every other round each is sure to take some before any has all.
        let is_shared = round % 2 == 0;
        if is_shared {
            recoveries.rotate_left(round / 2 % nodes.len());
            for recovery in &mut recoveries {
                recovery.step().await.unwrap();
            }
        }
        let mut race = Race::new();
        for recovery in recoveries {
            race.add(recovery.finish());
        }
        let mut taken = Vec::new();
        let mut parts = 0;
        for (ids, error) in race.run().await {
            assert!(error.is_none(), "{error:?}");
            assert!(!is_shared || ids.len() >= BATCH, "each takes part");
            parts += usize::from(!ids.is_empty());
            taken.extend(ids);
        }
        *took_part.entry((is_shared, parts)).or_insert(0) += 1;
        assert_eq!(taken.len(), SESSIONS, "taken twice, or not at all");
        assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    eprintln!("rounds by whether all were to take part, and how many did: {took_part:?}");
    let mut total = 0;
    for node in nodes {
        total += store.count(&Selector::node(node)).await.unwrap();
    }
    assert_eq!(total, (ROUNDS * SESSIONS) as u64);
    context.check().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_while_it_is_recovered_keeps_what_was_not_taken(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    register(&store, "live").await;
    for round in 0..ROUNDS {
        let dead = format!("dead-{round}");
        let expected: BTreeSet<SessionId> = ids(&sessions_of(&store, &dead).await).into_iter().collect();
        let mut recovery = Recovery::new(&store, &dead, "live");
        // Later in each round, so that it comes back before, in and after the recovery; by turns between two batches, and at
        // any moment.
        let is_driven = round % 2 == 0;
        let (taken, error) = if is_driven {
            for _ in 0..round {
                recovery.step().await.unwrap();
            }
            assert!(matches!(register(&other, &dead).await, HeartbeatReply::Held { .. }));
            let (taken, error) = recovery.finish().await;
            let is_in_time = BATCH * round < SESSIONS;
            assert_eq!((taken.len(), error.is_some()), ((BATCH * round).min(SESSIONS), is_in_time));
            (taken, error)
        } else {
            let recovery = tokio::spawn(recovery.finish());
            while on_its_way(&other, &dead).await > SESSIONS - 2 * round && !recovery.is_finished() {
                tokio::task::yield_now().await;
            }
            assert!(matches!(register(&other, &dead).await, HeartbeatReply::Held { .. }));
            recovery.await.unwrap()
        };
        match error {
            None => assert_eq!(taken.len(), SESSIONS),
            Some(Error::Refused(Refusal::Leased { .. })) => {}
            Some(error) => panic!("{error:?}"),
        }
        for id in &expected {
            let session = store.get(id).await.unwrap().unwrap();
            let owner = if taken.contains(id) { "live" } else { &dead };
            assert_eq!(session.node(), Some(owner));
        }
    }
    context.check().await;
}

async fn on_its_way(store: &Store, node: &str) -> usize {
    usize::try_from(store.count(&Selector::node(node)).await.unwrap()).unwrap()
}

type Call = fn(Store, Session) -> BoxFuture<'static, Result<()>>;

/// What a recovery met.
struct Met {
    /// All sessions that the dead node had.
    ids: Vec<SessionId>,
    /// Those that had been called on before it began.
    before: Vec<SessionId>,
    /// Those that it took by these ids.
    taken: Vec<SessionId>,
}

/// Runs a call on each session of a dead node, on some before that is recovered, on some meanwhile and on some afterwards,
/// and recovers what is left then.
async fn against_recovery(context: &Context, store: &Store, other: &Store, call: Call) -> Met {
    register(store, "live").await;
    let sessions = sessions_of(store, "dead").await;
    let (before, rest) = sessions.split_at(SESSIONS / 4);
    let (meanwhile, after) = rest.split_at(SESSIONS / 2);
    for session in before {
        call(other.clone(), session.clone()).await.unwrap();
    }
    let mut race = Race::new();
    race.add(Recovery::new(store, "dead", "live").finish().boxed());
    for session in meanwhile {
        let called = call(other.clone(), session.clone());
        race.add(called.map(|called| (Vec::new(), called.err())).boxed());
    }
    let mut taken = Vec::new();
    for (ids, error) in race.run().await {
        assert!(error.is_none(), "{error:?}");
        taken.extend(ids);
    }
    for session in after {
        assert!(taken.contains(session.id()), "nobody had called on it yet");
        call(other.clone(), session.clone()).await.unwrap();
    }
    let raced = meanwhile.iter().filter(|session| taken.contains(session.id())).count();
    eprintln!("of {} that were called on meanwhile, {raced} were taken by their ids", meanwhile.len());
    // What was given a new id between the reading of a page and its taking.
    let (_, error) = Recovery::new(store, "dead", "live").finish().await;
    assert!(error.is_none(), "{error:?}");
    assert!(!context.exists(&context.node_key("dead")).await, "something is left with the dead node");
    context.check().await;
    Met { ids: ids(&sessions), before: ids(before), taken }
}

impl Met {
    /// Whether it took none that had been called on before.
    fn spared_those_before(&self) -> bool {
        self.before.iter().all(|id| !self.taken.contains(id))
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_binds_elsewhere_while_its_session_is_recovered_stays_there(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let bind: Call = |store, session| {
        async move {
            let binding = Binding::new(session.id().as_str()).node("third");
            store.bind(&session, binding).await.map(drop)
        }
        .boxed()
    };
    let met = against_recovery(&context, &store, &other, bind).await;
    assert!(met.spared_those_before());
    for id in met.ids {
        let session = store.get(&id).await.unwrap().unwrap();
        assert_eq!((session.node(), session.connection()), (Some("third"), Some(id.as_str())));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_deleted_while_it_is_recovered_is_gone(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let delete: Call = |store, session| {
        async move {
            assert!(store.delete(&session).await?.is_some());
            Ok(())
        }
        .boxed()
    };
    let met = against_recovery(&context, &store, &other, delete).await;
    assert!(met.spared_those_before());
    for id in met.ids {
        assert!(store.get(&id).await.unwrap().is_none(), "it came back");
    }
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_used_while_it_is_recovered_is_taken_and_lives(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new().refresh_threshold(1.0)).await;
    let refresh: Call = |store, session| {
        async move {
            assert!(store.refresh(&session).await?.is_some());
            Ok(())
        }
        .boxed()
    };
    let met = against_recovery(&context, &store, &other, refresh).await;
    assert!(!met.spared_those_before());
    for id in met.ids {
        assert_eq!(store.get(&id).await.unwrap().unwrap().node(), Some("live"));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_rotated_while_it_is_recovered_is_taken_under_its_new_id(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let [store, other] = two_stores(&context, Rules::new()).await;
    let rotate: Call = |store, session| {
        async move { store.rotate(&session, Rotation::new().user("ann")).await.map(drop) }.boxed()
    };
    assert!(against_recovery(&context, &store, &other, rotate).await.spared_those_before());
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), SESSIONS as u64);
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), SESSIONS as u64);
}
