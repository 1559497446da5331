//! A store that empties into another, while both serve.

mod login;
mod logout;

use std::sync::Arc;
use std::time::Duration;

use cloakroom::background::Reaper;
use cloakroom::draining::DrainingStore;
use cloakroom::nodes::{Heartbeat, HeartbeatReply, NodeIdentity};
use cloakroom::{
    Binding, NewSession, OnLimit, OperationId, PageRequest, Patch, Refusal, Rotation, Rules, Selector,
    Session,
};

use crate::support::Context;
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id};

const TTL: Duration = Duration::from_secs(1800);

/// A namespace of one partition that drains into one of sixteen.
struct Draining {
    old_place: Context,
    new_place: Context,
    old: Store,
    new: Store,
    both: Arc<DrainingStore>,
}

impl Draining {
    async fn begin(rules: Rules) -> Self {
        Self::between(On::Redis, On::Spread, rules).await
    }

    async fn between(from: On, to: On, rules: Rules) -> Self {
        let old_place = Context::on(from).await;
        let new_place = old_place.another(to).await;
        let old = old_place.store_at(rules.clone().ttl(TTL)).await;
        let new = new_place.store_at(rules.ttl(TTL)).await;
        let both = Arc::new(DrainingStore::new(old.clone(), new.clone()));
        Self { old_place, new_place, old, new, both }
    }

    fn store(&self) -> Store {
        self.both.clone()
    }

    /// A visitor of the old store with something in the cart.
    async fn visitor(&self) -> Session {
        let name = fastrand::u64(..);
        let new = NewSession::new().connection(format!("of-{name}")).node("n").set("cart", &7).unwrap();
        self.old.create(new).await.unwrap().session
    }

    async fn check(&self) {
        self.old_place.check().await;
        self.new_place.check().await;
    }
}

#[tokio::test]
async fn each_call_finds_a_session_of_the_old_store_and_new_ones_are_in_the_new() {
    for (from, to) in [(On::Redis, On::Spread), (On::Memory, On::Redis), (On::Redis, On::Memory)] {
        let place = Draining::between(from, to, Rules::new()).await;
        let store = place.store();
        let old = place.old.create(NewSession::new().user("ann")).await.unwrap().session;
        place.old_place.clock.advance(Duration::from_millis(1));
        let new = store.create(NewSession::new().user("ann")).await.unwrap().session;
        assert_eq!(place.old.get(new.id()).await.unwrap(), None);
        assert!(place.new.get(new.id()).await.unwrap().is_some());
        for session in [&old, &new] {
            let id = session.id();
            assert_eq!(store.get(id).await.unwrap().as_ref(), Some(session));
            store.patch(id, Patch::new().set("n", &1).unwrap()).await.unwrap();
            assert!(store.refresh(id).await.unwrap().is_some());
            let mut copy = store.refresh_and_get(id).await.unwrap().unwrap();
            copy.set("m", &2).unwrap();
            store.update(&mut copy).await.unwrap();
            let connection = format!("c-{}", id.as_str());
            store.bind(id, Binding::new(&*connection)).await.unwrap();
            let found = store.session_by_connection(&connection).await.unwrap().unwrap();
            assert_eq!(found.id(), id);
            assert!(store.unbind(id, &connection).await.unwrap());
        }
        assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 2);
        let page = store.list(&Selector::user("ann"), &PageRequest::first(10)).await.unwrap();
        assert_eq!(page.sessions.iter().map(Session::id).collect::<Vec<_>>(), [old.id(), new.id()]);
        // A new id for the same user needs no other store.
        let rotated = store.rotate(&old, Rotation::new()).await.unwrap().session;
        assert!(place.old.get(rotated.id()).await.unwrap().is_some());
        let again = store.rotate(&rotated, Rotation::new().user("ann")).await.unwrap().session;
        assert!(place.old.get(again.id()).await.unwrap().is_some());
        assert!(!place.both.is_drained().await.unwrap());
        assert!(store.delete(&again).await.unwrap().is_some());
        assert!(store.delete(&again).await.unwrap().is_none());
        assert!(place.both.is_drained().await.unwrap());
        assert!(store.delete(&new).await.unwrap().is_some());
        place.check().await;
    }
}

#[tokio::test]
async fn a_device_keeps_its_old_id_as_long_as_it_comes_and_nobody_else_gets_that() {
    let place = Draining::begin(Rules::new()).await;
    let (store, id) = (place.store(), session_id("device-7"));
    place.old.create(NewSession::new().id(id.clone()).user("ann")).await.unwrap();
    for _ in 0..5 {
        place.old_place.clock.advance(TTL / 2 + Duration::from_secs(1));
        assert!(store.refresh(&id).await.unwrap().is_some());
    }
    assert_eq!(refusal(store.create(NewSession::new().id(id.clone())).await), Refusal::Exists);
    assert!(store.delete(&id).await.unwrap().is_some());
    assert_eq!(refusal(store.create(NewSession::new().id(id.clone())).await), Refusal::Gone);
    place.old_place.clock.advance(Duration::from_secs(31));
    store.create(NewSession::new().id(id.clone())).await.unwrap();
    assert!(place.both.is_drained().await.unwrap());
    assert!(place.new.get(&id).await.unwrap().is_some());
    place.check().await;
}

#[tokio::test]
async fn a_limit_counts_both_stores() {
    let place = Draining::begin(Rules::new().sessions_per_user(3, OnLimit::Reject)).await;
    let store = place.store();
    let new = || NewSession::new().user("ann");
    for _ in 0..2 {
        place.old.create(new()).await.unwrap();
    }
    let third = store.create(new()).await.unwrap().session;
    assert_eq!(refusal(store.create(new()).await), Refusal::Limit { live: 3 });
    let visitor = place.visitor().await;
    let login = Rotation::new().user("ann");
    assert_eq!(refusal(store.rotate(&visitor, login.clone()).await), Refusal::Limit { live: 3 });
    assert!(store.get(visitor.id()).await.unwrap().is_some());
    let anonymous = store.create(NewSession::new()).await.unwrap().session;
    assert_eq!(refusal(store.rotate(&anonymous, login.clone()).await), Refusal::Limit { live: 3 });
    assert!(store.rotate(&third, login).await.is_ok(), "a new id for the same user is none more");
    place.check().await;

    let place = Draining::begin(Rules::new().sessions_per_user(3, OnLimit::EvictOldest)).await;
    let store = place.store();
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(place.old.create(new()).await.unwrap().session.id().clone());
        place.old_place.clock.advance(Duration::from_millis(5));
    }
    let visitor = place.visitor().await;
    let rotated = store.rotate(&visitor, Rotation::new().user("ann")).await.unwrap();
    assert_eq!(rotated.evicted.iter().map(|gone| &gone.id).collect::<Vec<_>>(), [&made[0]]);
    let created = store.create(new()).await.unwrap();
    let evicted: Vec<_> = created.evicted.iter().map(|gone| gone.id.clone()).collect();
    assert_eq!(evicted.len(), 1);
    assert!(evicted[0] == made[1] || evicted[0] == *rotated.session.id());
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 3);
    place.check().await;
}

#[tokio::test]
async fn pages_of_both_stores_come_in_one_order_and_lose_nothing() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    let mut made = Vec::new();
    for round in 0..30 {
        let into = if round % 3 == 0 { &place.new } else { &place.old };
        made.push(into.create(NewSession::new().node("n")).await.unwrap().session.id().clone());
        if round % 4 == 0 {
            place.old_place.clock.advance(Duration::from_millis(1));
        }
    }
    let (mut seen, mut page) = (Vec::new(), PageRequest::first(4));
    loop {
        let read = store.list(&Selector::node("n"), &page).await.unwrap();
        let times: Vec<u64> = read.sessions.iter().map(Session::created_at_ms).collect();
        assert!(times.is_sorted());
        seen.extend(read.sessions.iter().map(|session| session.id().clone()));
        // One that logs in meanwhile keeps its place.
        match read.next {
            Some(next) => page = PageRequest::after(next.to_string().parse().unwrap(), 4),
            None => break,
        }
    }
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
}

#[tokio::test]
async fn what_expired_in_either_store_is_reaped() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    for _ in 0..3 {
        place.visitor().await;
        store.create(NewSession::new()).await.unwrap();
    }
    place.old_place.clock.advance(2 * TTL);
    let expired = store.expired(None, 0, 100).await.unwrap();
    assert_eq!(expired.len(), 6);
    assert_eq!(store.expired(None, 2, 3).await.unwrap(), expired[2..5]);
    assert!(!place.both.is_drained().await.unwrap());
    let reaper = Reaper::builder(store.clone()).every(Duration::from_millis(5)).spawn().unwrap();
    crate::support::context::eventually("both are reaped", || async {
        place.both.is_drained().await.unwrap() && place.new.stored().await.unwrap() == 0
    })
    .await;
    reaper.stop().await;
    place.check().await;
}

#[tokio::test]
async fn a_lease_is_held_where_it_is_held_in_both_stores() {
    let place = Draining::begin(Rules::new()).await;
    let store = place.store();
    let (node, other) = (NodeIdentity::new("n").unwrap(), NodeIdentity::new("n").unwrap());
    assert!(matches!(
        store.heartbeat(&node, Heartbeat::register()).await.unwrap(),
        HeartbeatReply::Held { .. }
    ));
    assert!(store.nodes().await.unwrap()[0].is_live);
    let old = place.visitor().await;
    let as_node = store.as_node(&node);
    assert!(as_node.patch(old.id(), Patch::new().set("n", &1).unwrap()).await.is_ok());
    // It is lost in one.
    place.old.heartbeat(&node, Heartbeat::release()).await.unwrap();
    assert_eq!(store.heartbeat(&node, Heartbeat::renew()).await.unwrap(), HeartbeatReply::Lost);
    let refused = as_node.rotate(old.id(), Rotation::new().user("ann")).await;
    assert_eq!(refusal(refused), Refusal::Fenced);
    assert!(matches!(
        store.heartbeat(&other, Heartbeat::register()).await.unwrap(),
        HeartbeatReply::Held { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_namespace_drains_while_processes_of_each_kind_serve() {
    let place = Draining::begin(Rules::new()).await;
    let mut known = Vec::new();
    for user in 0..40 {
        let new = NewSession::new().user(format!("user-{}", user % 8)).set("cart", &user).unwrap();
        known.push((place.old.create(new).await.unwrap().session.id().clone(), user));
    }
    // One of them takes the stores the other way round, as in the first step of a deployment.
    let swapped: Store = Arc::new(DrainingStore::new(place.new.clone(), place.old.clone()));
    let mut tasks = tokio::task::JoinSet::new();
    for (worker, chunk) in known.chunks(10).map(<[_]>::to_vec).enumerate() {
        let store = if worker == 0 { swapped.clone() } else { place.store() };
        tasks.spawn(async move {
            let mut kept = chunk;
            for step in 0..120 {
                let place = fastrand::usize(..kept.len());
                let (id, cart) = kept[place].clone();
                match step % 4 {
                    0 => drop(store.refresh(&id).await.unwrap().unwrap()),
                    1 => {
                        let changed = store.patch(&id, Patch::new().set("n", &step).unwrap()).await.unwrap();
                        assert_eq!(changed.id, id);
                    }
                    2 => {
                        let login = Rotation::new().user(format!("user-{}", fastrand::u8(..8)));
                        let operation = OperationId::random();
                        let rotated = store.with_operation_id(operation).rotate(&id, login).await.unwrap();
                        kept[place] = (rotated.session.id().clone(), cart);
                    }
                    _ => {
                        let read = store.get(&id).await.unwrap().unwrap();
                        assert_eq!(read.get::<i32>("cart").unwrap(), Some(cart));
                    }
                }
            }
            kept
        });
    }
    let mut kept = Vec::new();
    while let Some(done) = tasks.join_next().await {
        kept.extend(done.unwrap());
    }
    place.check().await;
    let store = place.store();
    let mut count = 0;
    for user in 0..8 {
        count += store.count(&Selector::user(format!("user-{user}"))).await.unwrap();
    }
    assert_eq!(count, 40, "each session is there once");
    for (id, cart) in &kept {
        assert_eq!(store.get(id).await.unwrap().unwrap().get::<i32>("cart").unwrap(), Some(*cart));
    }
    for user in 0..8 {
        store.delete_user(&format!("user-{user}"), None).await.unwrap();
    }
    assert!(place.both.is_drained().await.unwrap());
    assert_eq!(place.new.stored().await.unwrap(), 0);
    place.check().await;
}
