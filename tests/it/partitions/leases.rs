//! A node's leases: one per partition, each independent of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::nodes::{
    Claim, Heartbeat, HeartbeatReply, Lease, LeaseGap, LeaseOptions, NodeIdentity, Recoverer,
};
use cloakroom::{Error, NewSession, Patch, Refusal, Rules, Selector, Session};

use super::spread;
use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::leases::{LEASE, register};
use crate::support::traced::capture;

/// In which partition the lease is lost.
const LOST: u16 = 5;

/// Far longer than a test takes.
const LONG: Duration = Duration::from_secs(3600);

fn lease_key(context: &Context, partition: u16, node: &str) -> String {
    format!("{}:node:{node}:lease", context.partitions().tag(partition))
}

/// The ids of a node's leases, by partition.
async fn leases(context: &Context, node: &str) -> BTreeMap<u16, Vec<u8>> {
    let mut leases = BTreeMap::new();
    for partition in 0..16 {
        let stored: Option<Vec<u8>> = context.command(&["GET", &lease_key(context, partition, node)]).await;
        leases.extend(stored.map(|stored| (partition, stored[..8].to_vec())));
    }
    leases
}

async fn lose(context: &Context, node: &str) {
    context.command::<()>(&["DEL", &lease_key(context, LOST, node)]).await;
}

async fn renew(store: &Store, node: &NodeIdentity) -> HeartbeatReply {
    store.heartbeat(node, Heartbeat::renew().lease(LEASE)).await.unwrap()
}

/// A session of the node in each of the partitions.
async fn sessions(store: &Store, node: &str, context: &Context) -> BTreeMap<u16, Session> {
    let mut sessions = BTreeMap::new();
    while sessions.len() < 16 {
        let session = store.create(NewSession::new().node(node)).await.unwrap().session;
        sessions.insert(context.partitions().of(session.id().as_str()), session);
    }
    sessions
}

/// In which partitions the node's writes are refused.
async fn fenced(owner: &dyn cloakroom::SessionStore, sessions: &BTreeMap<u16, Session>) -> Vec<u16> {
    let mut fenced = Vec::new();
    for (partition, session) in sessions {
        match owner.patch(session.id(), Patch::new().suspend()).await {
            Ok(_) => {}
            Err(Error::Refused(Refusal::Fenced)) => fenced.push(*partition),
            other => panic!("{other:?}"),
        }
    }
    fenced
}

#[tokio::test]
async fn a_lease_has_an_id_of_its_own_in_each_partition_and_is_registered_anew_where_it_was_lost_alone() {
    let (context, store) = spread().await;
    let node = register(&store, "n").await;
    let sessions = sessions(&store, "n", &context).await;
    let owner = store.as_node(&node);
    let before = leases(&context, "n").await;
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 16);
    assert!(fenced(&*owner, &sessions).await.is_empty());

    lose(&context, "n").await;
    assert_eq!(fenced(&*owner, &sessions).await, [LOST]);
    let HeartbeatReply::HeldInPart { gap, .. } = renew(&store, &node).await else {
        panic!("nothing is lost");
    };
    for (partition, session) in &sessions {
        assert_eq!(gap.covers(session.id()), *partition == LOST);
    }
    assert_eq!(fenced(&*owner, &sessions).await, [LOST], "it is not held there yet");
    assert!(matches!(renew(&store, &node).await, HeartbeatReply::Held { .. }));
    assert!(fenced(&*owner, &sessions).await.is_empty());
    let after = leases(&context, "n").await;
    let changed: Vec<u16> = (0..16).filter(|at| before[at] != after[at]).collect();
    assert_eq!(changed, [LOST]);
    // And again.
    lose(&context, "n").await;
    renew(&store, &node).await;
    renew(&store, &node).await;
    let last = leases(&context, "n").await;
    assert!(last[&LOST] != before[&LOST] && last[&LOST] != after[&LOST]);
    context.check().await;
}

#[tokio::test]
async fn a_lease_that_is_lost_in_all_partitions_is_lost_for_good() {
    let (context, store) = spread().await;
    let node = register(&store, "n").await;
    lose(&context, "n").await;
    assert!(matches!(renew(&store, &node).await, HeartbeatReply::HeldInPart { .. }));
    context.lapse();
    for _ in 0..2 {
        assert_eq!(renew(&store, &node).await, HeartbeatReply::Lost);
    }
}

#[tokio::test]
async fn a_node_that_another_holds_in_one_partition_is_the_others() {
    let (context, store) = spread().await;
    let (one, other) = (register(&store, "n").await, NodeIdentity::new("n").unwrap());
    lose(&context, "n").await;
    let answer = store.heartbeat(&other, Heartbeat::register().lease(LEASE)).await.unwrap();
    assert!(matches!(answer, HeartbeatReply::HeldByAnother { .. }), "{answer:?}");
    // What it got it gives back, so the one gets it.
    renew(&store, &one).await;
    assert!(matches!(renew(&store, &one).await, HeartbeatReply::Held { .. }));
    context.check().await;
}

#[tokio::test]
async fn a_node_is_told_for_which_sessions_its_lease_was_lost_and_others_take_only_those() {
    let (context, store) = spread().await;
    let told: Arc<Mutex<Vec<LeaseGap>>> = Arc::default();
    let note = told.clone();
    let options = LeaseOptions::new().length(Duration::from_secs(6));
    let options = options.on_gap(move |gap| note.lock().unwrap().push(gap.clone()));
    let live = Lease::acquire(store.clone(), "live", LeaseOptions::new().length(LONG)).await.unwrap();
    let lease = Lease::acquire(store.clone(), "n", options).await.unwrap();
    let sessions = sessions(&store, "n", &context).await;
    let all = store.count(&Selector::node("n")).await.unwrap();
    let owner = store.as_node(lease.identity());
    lose(&context, "n").await;
    let claimed = store.recover(Claim::new("n", "live").as_node(live.identity())).await.unwrap();
    let mut taken = BTreeSet::new();
    for session in &claimed.sessions {
        taken.insert(context.partitions().of(session.id.as_str()));
    }
    assert_eq!(taken, [LOST].into());
    eventually("it is told", async || !told.lock().unwrap().is_empty()).await;
    eventually("it is registered anew", async || {
        leases(&context, "n").await.len() == 16 && lease.is_held_for(sessions[&LOST].id())
    })
    .await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(sessions.iter().all(|(at, session)| told[0].covers(session.id()) == (*at == LOST)));
    assert!(lease.is_held());
    // Those that were taken are the other's; new ones there are its own.
    assert_eq!(fenced(&*owner, &sessions).await, [LOST]);
    let new = NewSession::new().id(context.partitions().id_near("new", sessions[&LOST].id().as_str()));
    owner.create(new).await.unwrap();
    assert_eq!(store.count(&Selector::node("n")).await.unwrap(), all - claimed.sessions.len() as u64 + 1);
    lease.release().await;
    live.release().await;
    context.check().await;
}

#[tokio::test]
async fn a_lease_that_is_corrupt_in_one_partition_is_held_and_renewed_in_the_others() {
    let (context, store) = spread().await;
    context.command::<()>(&["HSET", &lease_key(&context, LOST, "n"), "foreign", "1"]).await;
    let lease = Lease::acquire(store.clone(), "n", LeaseOptions::new().length(LONG)).await.unwrap();
    let sessions = sessions(&store, "n", &context).await;
    for (partition, session) in &sessions {
        assert_eq!(lease.is_held_for(session.id()), *partition != LOST);
    }
    assert!(lease.is_held());
    let HeartbeatReply::HeldInPart { gap, .. } = renew(&store, lease.identity()).await else {
        panic!("it is whole");
    };
    assert!(!gap.covers(sessions[&LOST].id()), "nobody answered there");
    context.command::<()>(&["DEL", &lease_key(&context, LOST, "n")]).await;
    assert!(matches!(renew(&store, lease.identity()).await, HeartbeatReply::Held { .. }));
    lease.release().await;
}

#[tokio::test]
async fn the_recoverer_of_a_node_goes_on_while_its_lease_is_lost_in_a_part() {
    let (context, store) = spread().await;
    let dead = register(&store, "dead").await;
    for _ in 0..40 {
        store.as_node(&dead).create(NewSession::new()).await.unwrap();
    }
    context.lapse();
    // So long that nothing renews it meanwhile.
    let lease = Lease::acquire(store.clone(), "a", LeaseOptions::new().length(LONG)).await.unwrap();
    lose(&context, "a").await;
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["a", "dead"]);
    let recoverer =
        Recoverer::builder(store.clone(), &lease).every(Duration::from_millis(5)).spawn().unwrap();
    let lost =
        store.list(&Selector::node("dead"), &cloakroom::PageRequest::first(100)).await.unwrap().sessions;
    let lost = lost.iter().filter(|session| context.partitions().of(session.id().as_str()) == LOST).count();
    eventually("the others are taken", async || recoverer.stats().recovered == 40 - lost as u64).await;
    for _ in 0..2 {
        renew(&store, lease.identity()).await;
    }
    eventually("all are taken", async || recoverer.stats().recovered == 40).await;
    recoverer.stop().await;
    lease.release().await;
}

#[tokio::test]
async fn a_renewal_takes_one_round_trip_in_whatever_number_of_partitions() {
    let context = Context::own(&[]).await.spread();
    let store = context.store(Rules::new()).await;
    let node = register(&store, "n").await;
    let before = context.count().await;
    renew(&store, &node).await;
    let cost = context.cost_since(&before).await;
    assert_eq!((cost.round_trips, cost.scripts), (1, 16));
}

#[tokio::test]
async fn a_lease_that_makes_too_many_renewals_is_refused_and_many_nodes_are_warned() {
    let (context, store) = spread().await;
    let node = NodeIdentity::new("n").unwrap();
    let register_for = |length| Heartbeat::register().lease(length);
    let refused = store.heartbeat(&node, register_for(Duration::from_millis(4))).await;
    let Err(Error::Invalid(told)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        told.to_string(),
        "lease is 4ms: renewed 3 times in that, in 16 partitions, it makes 12000 renewals per second, must be at most 10000"
    );
    assert!(leases(&context, "n").await.is_empty());
    let (traced, _guard) = capture();
    store.heartbeat(&node, register_for(Duration::from_millis(6))).await.unwrap();
    assert!(!traced.text().contains("renewals per second") && !traced.text().contains("leases per second"));
    let other = NodeIdentity::new("m").unwrap();
    store.heartbeat(&other, register_for(Duration::from_millis(6))).await.unwrap();
    assert!(traced.text().contains("the nodes renew 16000 leases per second, more than 10000"));
    // One partition knows no such bound.
    let one = Context::redis().await;
    let shortest = register_for(Duration::from_millis(1));
    assert!(matches!(
        one.store_at(Rules::new()).await.heartbeat(&other, shortest).await.unwrap(),
        HeartbeatReply::Held { .. }
    ));
}
