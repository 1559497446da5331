//! The task that takes over the sessions of dead nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::nodes::{Lease, LeaseOptions, RecoveredSession, Recoverer, RecovererBuilder};
use cloakroom::{Error, Invalid, NewSession, Rules, Selector};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{Memory, Redis, Spread};
use crate::support::context::{On, Store, eventually};
use crate::support::leases::{register, session_at};
use crate::support::sessions::create_many;
use crate::support::traced::capture;

const EVERY: Duration = Duration::from_millis(5);

/// Notes how often each session was handed out, and of which node.
#[derive(Clone, Debug, Default)]
struct HandedOut(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl HandedOut {
    fn callback(&self) -> impl Fn(&RecoveredSession) + Send + Sync + 'static {
        let handed_out = self.clone();
        move |session: &RecoveredSession| {
            let mut sessions = handed_out.0.lock().unwrap();
            sessions.entry(session.id.as_str().to_owned()).or_default().push(session.from.clone());
        }
    }

    fn all(&self) -> BTreeMap<String, Vec<String>> {
        self.0.lock().unwrap().clone()
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// A lease that outlasts the test, whatever its clock does.
async fn lease(store: &Store, node: &str) -> Lease {
    let options = LeaseOptions::new().length(Duration::from_secs(24 * 3600));
    Lease::acquire(store.clone(), node, options).await.unwrap()
}

fn recoverer_of(store: &Store, lease: &Lease, every: Duration, batch: usize) -> RecovererBuilder {
    Recoverer::builder(store.clone(), lease).every(every).batch(batch)
}

#[rstest]
#[tokio::test]
async fn a_recoverer_takes_over_the_sessions_of_each_node_that_dies_and_hands_each_out_once(
    #[values(Redis, Spread, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let lease = lease(&store, "live").await;
    let handed_out = HandedOut::default();
    let recoverer =
        recoverer_of(&store, &lease, EVERY, 10).on_recovered(handed_out.callback()).spawn().unwrap();
    let mut expected = BTreeMap::new();
    for node in ["one", "other"] {
        register(&store, node).await;
        for session in create_many(&store, 25, |_| NewSession::new().node(node)).await {
            expected.insert(session.id().as_str().to_owned(), vec![node.to_owned()]);
        }
        let held = recoverer.stats().sweeps;
        eventually("a sweep while it lives", async || recoverer.stats().sweeps > held + 1).await;
        assert_eq!(store.count(&Selector::node(node)).await.unwrap(), 25);
        context.lapse();
        eventually("they are taken", async || handed_out.all().len() == expected.len()).await;
    }
    let stats = recoverer.stop().await;
    assert_eq!(handed_out.all(), expected);
    assert_eq!((stats.recovered, stats.nodes, stats.left, stats.errors), (50, 2, 0, 0));
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), 50);
    context.check().await;
    lease.release().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn two_recoverers_share_the_sessions_of_a_dead_node(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let stores = [context.store_at(Rules::new()).await, context.store_at(Rules::new()).await];
    register(&stores[0], "dead").await;
    create_many(&stores[0], 300, |_| NewSession::new().node("dead")).await;
    let leases = [lease(&stores[0], "one").await, lease(&stores[1], "other").await];
    context.lapse();
    let handed_out = HandedOut::default();
    let spawn = |at: usize| {
        recoverer_of(&stores[at], &leases[at], EVERY, 3).on_recovered(handed_out.callback()).spawn()
    };
    let (one, other) = (spawn(0).unwrap(), spawn(1).unwrap());
    eventually("all are taken", async || handed_out.all().len() == 300).await;
    let (one, other) = (one.stop().await, other.stop().await);
    assert!(handed_out.all().values().all(|nodes| nodes.len() == 1), "one was handed out twice");
    assert_eq!(one.recovered + other.recovered, 300);
    assert_eq!((one.errors, other.errors), (0, 0));
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn a_callback_that_panics_is_logged_and_counted_and_those_behind_it_are_taken_and_told(
    #[values(Redis, Memory)] on: On,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let lease = lease(&store, "live").await;
    let handed_out = HandedOut::default();
    let hand_out = handed_out.callback();
    let on_recovered = move |session: &RecoveredSession| {
        assert!(session.id.as_str() != "one-0", "planted");
        hand_out(session);
    };
    let (traced, _guard) = capture();
    let recoverer = recoverer_of(&store, &lease, EVERY, 3).on_recovered(on_recovered).spawn().unwrap();
    for (node, recovered) in [("one", 7), ("other", 14)] {
        register(&store, node).await;
        for number in 0..7 {
            session_at(&store, node, &format!("{node}-{number}")).await;
        }
        context.lapse();
        eventually("they are taken", async || recoverer.stats().recovered == recovered).await;
    }
    let stats = recoverer.stop().await;
    assert_eq!((stats.callback_panics, stats.errors), (1, 0));
    let told: Vec<String> = handed_out.all().into_keys().collect();
    let expected = (1..7).map(|number| format!("one-{number}"));
    let expected = expected.chain((0..7).map(|number| format!("other-{number}")));
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), 14);
    assert_eq!(traced.text().matches("a callback panicked").count(), 1);
    context.check().await;
    lease.release().await;
}

#[rstest]
#[tokio::test]
async fn a_recoverer_ends_with_its_lease(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let lease = lease(&store, "live").await;
    let handed_out = HandedOut::default();
    // A pause that the test would never see the end of.
    let hour = Duration::from_secs(3600);
    let recoverer =
        recoverer_of(&store, &lease, hour, 10).on_recovered(handed_out.callback()).spawn().unwrap();
    eventually("the first sweep", async || recoverer.stats().sweeps == 1).await;
    lease.release().await;
    register(&store, "dead").await;
    session_at(&store, "dead", "one").await;
    context.lapse();
    drop(recoverer);
    eventually("the task is gone", async || !handed_out.is_held()).await;
    assert!(handed_out.all().is_empty());

    let lease = Lease::acquire(store.clone(), "live", LeaseOptions::new().length(Duration::from_secs(3)))
        .await
        .unwrap();
    context.clock.advance(Duration::from_secs(3));
    let recoverer =
        recoverer_of(&store, &lease, EVERY, 10).on_recovered(handed_out.callback()).spawn().unwrap();
    eventually("the task is gone by itself", async || !handed_out.is_held()).await;
    assert!(handed_out.all().is_empty());
    assert_eq!(recoverer.stats().recovered, 0, "a node without a lease took sessions");
    assert_eq!(store.count(&Selector::node("dead")).await.unwrap(), 1);
    context.check().await;
}

#[tokio::test]
async fn what_cannot_be_taken_stays_and_is_counted_and_the_rest_is_taken() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new()).await;
    for node in ["broken", "dead"] {
        register(&store, node).await;
    }
    session_at(&store, "dead", "sound").await;
    let corrupt = session_at(&store, "dead", "corrupt").await;
    let _: () = context.command(&["SET", &context.record_key(corrupt.id()), "junk", "PX", "600000"]).await;
    let _: () = context.command(&["SET", &context.node_key("broken"), "junk", "PX", "600000"]).await;
    context.lapse();
    let lease = lease(&store, "live").await;
    let recoverer = recoverer_of(&store, &lease, EVERY, 10).spawn().unwrap();
    eventually("both are met", async || {
        let stats = recoverer.stats();
        stats.left >= 2 && stats.errors >= 2
    })
    .await;
    let stats = recoverer.stop().await;
    assert_eq!(stats.recovered, 1);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["broken", "dead"]);
}

#[tokio::test]
async fn errors_while_the_server_is_down_are_counted_and_recovering_goes_on_afterwards() {
    let mut context = Context::own(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = context.store_at(Rules::new()).await;
    register(&store, "dead").await;
    create_many(&store, 3, |_| NewSession::new().node("dead")).await;
    let lease = lease(&store, "live").await;
    context.lapse();
    context.server_mut().kill().await;
    let handed_out = HandedOut::default();
    let recoverer =
        recoverer_of(&store, &lease, EVERY, 2).on_recovered(handed_out.callback()).spawn().unwrap();
    eventually("errors are counted", async || recoverer.stats().errors >= 3).await;
    context.server_mut().restart().await;
    context.reconnect().await;
    eventually("it goes on", async || handed_out.all().len() == 3).await;
    recoverer.stop().await;
    context.check().await;
}

#[rstest]
#[tokio::test]
async fn bad_arguments_are_refused(#[values(Redis, Spread, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let lease = lease(&store, "live").await;
    for (every, batch, named) in [(Duration::ZERO, 10, "every"), (EVERY, 0, "batch"), (EVERY, 201, "batch")] {
        let error = recoverer_of(&store, &lease, every, batch).spawn().unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid { field, .. }) if field == named), "{error:?}");
    }
}
