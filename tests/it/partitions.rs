//! A namespace of several partitions: how it differs from one partition.

mod leases;
mod login;
mod one_fails;

use std::collections::BTreeSet;
use std::time::Duration;

use cloakroom::migration::Import;
use cloakroom::nodes::Claim;
use cloakroom::{
    Binding, Error, NewSession, PageRequest, Refusal, Result, Rotation, Rules, Selector, Session,
};

use crate::support::Context;
use crate::support::context::{On, Store};
use crate::support::expect::{refusal, session_id};
use crate::support::leases::register;
use crate::support::sessions::{create_many, ids};

const HOUR: Duration = Duration::from_secs(3600);

async fn spread() -> (Context, Store) {
    let context = Context::on(On::Spread).await;
    let store = context.store_at(Rules::new()).await;
    (context, store)
}

/// Why an id was refused, which names both.
fn misfit<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Invalid(invalid)) => invalid.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn all_of_a_user_is_in_one_partition_under_ids_that_the_store_makes() {
    let (context, store) = spread().await;
    for user in ["ann", "bob", "ünï:{x}"] {
        let made = create_many(&store, 5, |_| NewSession::new().user(user)).await;
        for session in &made {
            assert!(context.exists(&context.record_key(session.id())).await);
            assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(session));
        }
        let owner = Selector::user(user);
        assert_eq!(context.members(&context.key(format!("user:{user}:sessions"))).await.len(), 5);
        assert_eq!(store.count(&owner).await.unwrap(), 5);
        assert_eq!(store.list(&owner, &PageRequest::first(10)).await.unwrap().sessions.len(), 5);
    }
    let anonymous = create_many(&store, 100, |_| NewSession::new()).await;
    let partitions = context.partitions();
    let used: BTreeSet<u16> = anonymous.iter().map(|session| partitions.of(session.id().as_str())).collect();
    assert!(used.len() > 8, "{used:?}");
    context.check().await;

    assert_eq!(store.delete_user("ann", None).await.unwrap().removed.len(), 5);
    assert_eq!(store.count(&Selector::user("ann")).await.unwrap(), 0);
    assert_eq!(store.count(&Selector::user("bob")).await.unwrap(), 5);
    context.check().await;
}

#[tokio::test]
async fn a_callers_id_that_does_not_fit_its_user_is_refused_and_both_are_named() {
    let (context, store) = spread().await;
    let partitions = context.partitions();
    let (far, near) = (session_id(&partitions.far("device", "ann")), partitions.id_near("device", "ann"));
    let new = || NewSession::new().id(far.clone()).user("ann");
    let before = context.dump().await;
    let told = misfit(store.create(new()).await);
    assert!(told.contains("\"ann\"") && told.contains(&far.to_string()), "{told}");
    let mut many = store.create_many(vec![new(), NewSession::new().id(near.clone()).user("ann")]).await;
    assert_eq!(many.pop().unwrap().unwrap().session.id(), &near);
    assert_eq!(misfit(many.pop().unwrap()), told);
    assert!(store.delete(&near).await.unwrap().is_some());

    let mut session = store.create(NewSession::new().id(far.clone())).await.unwrap().session;
    session.set_user("ann");
    assert_eq!(misfit(store.update(&mut session).await), told);
    assert_eq!(store.get(&far).await.unwrap().unwrap().user(), None);
    assert!(
        misfit(store.rotate(&far, Rotation::new().new_id(near)).await)
            .contains("the session is in partition")
    );

    let place = Context::redis().await;
    let elsewhere = place.store_at(Rules::new()).await;
    elsewhere.create(new()).await.unwrap();
    let export = elsewhere.export(&far).await.unwrap().unwrap();
    store.delete(&far).await.unwrap();
    assert_eq!(misfit(store.import(Import::new(export)).await), told);
    assert!(
        context
            .dump()
            .await
            .keys()
            .all(|key| before.contains_key(key) || key.contains(":session:") || key.ends_with(":expiry"))
    );
    context.check().await;
}

#[tokio::test]
async fn the_store_makes_ids_for_a_caller() {
    let (_context, store) = spread().await;
    let id = store.new_id("ann").id;
    assert_eq!(store.create(NewSession::new().id(id.clone()).user("ann")).await.unwrap().session.id(), &id);
}

#[tokio::test]
async fn a_store_of_another_number_of_partitions_does_not_start_and_notes_nothing() {
    for (first, second) in [(16, 1), (1, 16), (16, 8)] {
        let context = Context::own(&[]).await;
        context.builder(Rules::new()).partitions(first).build().await.unwrap();
        let keys = context.command::<Vec<String>>(&["KEYS", &format!("{{{}:*", context.namespace)]).await;
        assert_eq!(keys.len(), usize::from(first));
        let refused = refusal(context.builder(Rules::new()).partitions(second).build().await);
        assert_eq!(refused, Refusal::Partitions { found: first, wanted: second });
        let after = context.command::<Vec<String>>(&["KEYS", &format!("{{{}:*", context.namespace)]).await;
        assert_eq!(after.len(), keys.len());
        context.builder(Rules::new()).partitions(first).build().await.unwrap();
    }
    for count in [0, 1025] {
        let context = Context::redis().await;
        let told = misfit(context.builder(Rules::new()).partitions(count).build().await.map(drop));
        assert!(told.contains("must be 1 to 1024"), "{told}");
    }
}

#[tokio::test]
async fn a_connection_is_found_in_whatever_partition_and_of_two_sessions_the_one_that_took_it_last() {
    let (context, store) = spread().await;
    assert_eq!(store.session_by_connection("socket").await.unwrap(), None);
    let partitions = context.partitions();
    let one = store.create(NewSession::new().id(session_id("a"))).await.unwrap().session;
    let other = session_id(&partitions.far("b", "a"));
    let other = store.create(NewSession::new().id(other)).await.unwrap().session;
    for (session, number) in [(&one, 1), (&other, 2), (&one, 3)] {
        context.clock.advance(Duration::from_millis(number));
        store.unbind(session, "socket").await.unwrap();
        store.bind(session, Binding::new("socket")).await.unwrap();
        let found = store.session_by_connection("socket").await.unwrap().unwrap();
        assert_eq!(found.id(), session.id());
    }
    store.unbind(&one, "socket").await.unwrap();
    assert_eq!(store.session_by_connection("socket").await.unwrap().unwrap().id(), other.id());
    context.check().await;
}

#[tokio::test]
async fn the_sessions_of_a_node_are_listed_oldest_first_page_by_page_out_of_all_partitions() {
    let (context, store) = spread().await;
    let mut made = Vec::new();
    for number in 0..40 {
        // Some share a millisecond.
        context.clock.advance(Duration::from_millis(number % 3));
        made.push(store.create(NewSession::new().node("n")).await.unwrap().session);
    }
    made.sort_by_key(|session| (session.created_at_ms(), session.id().clone()));
    let owner = Selector::node("n");
    assert_eq!(store.count(&owner).await.unwrap(), 40);
    for size in [1, 7, 40, 100] {
        let mut listed: Vec<Session> = Vec::new();
        let mut page = store.list(&owner, &PageRequest::first(size)).await.unwrap();
        loop {
            assert!(page.sessions.len() <= size);
            listed.extend(page.sessions);
            let Some(next) = page.next else { break };
            page = store.list(&owner, &PageRequest::after(next, size)).await.unwrap();
        }
        assert_eq!(ids(&listed), ids(&made), "pages of {size}");
    }
}

#[tokio::test]
async fn what_has_expired_is_told_oldest_first_and_reaped_once_in_all_partitions() {
    let (context, store) = spread().await;
    let mut made = Vec::new();
    for number in 0..30 {
        let ttl = Duration::from_secs(60 + number);
        made.push(store.create(NewSession::new().ttl(ttl)).await.unwrap().session);
    }
    let alive = store.create(NewSession::new().ttl(HOUR)).await.unwrap().session;
    assert!(!store.reap(200).await.unwrap().more);
    context.clock.advance(Duration::from_secs(100));
    for (skip, limit) in [(0, 30), (5, 10), (25, 10), (30, 1)] {
        let page = store.expired(None, skip, limit).await.unwrap();
        let told: Vec<_> = page.into_iter().map(|expired| expired.id).collect();
        let expected: Vec<_> = ids(&made).into_iter().skip(skip).take(limit).collect();
        assert_eq!(told, expected, "{limit} behind {skip}");
    }
    let mut reaped = Vec::new();
    loop {
        let batch = store.reap(3).await.unwrap();
        reaped.extend(ids(&batch.sessions));
        if !batch.more {
            break;
        }
    }
    reaped.sort();
    let mut expected = ids(&made);
    expected.sort();
    assert_eq!(reaped, expected);
    assert!(store.get(alive.id()).await.unwrap().is_some());
    context.check().await;
}

#[tokio::test]
async fn a_node_holds_its_lease_in_all_partitions_and_its_sessions_are_recovered_from_all() {
    let (context, store) = spread().await;
    let dead = register(&store, "dead").await;
    for _ in 0..40 {
        store.as_node(&dead).create(NewSession::new()).await.unwrap();
    }
    let claim = || Claim::new("dead", "live").batch(3);
    assert!(matches!(refusal(store.recover(claim()).await), Refusal::Fenced | Refusal::Leased { .. }));
    context.lapse();
    let live = register(&store, "live").await;
    let names = |nodes: Vec<cloakroom::nodes::Node>| {
        nodes.into_iter().map(|node| (node.name, node.is_live, node.sessions)).collect::<Vec<_>>()
    };
    let expected = [("dead".to_owned(), false, 40), ("live".to_owned(), true, 0)];
    assert_eq!(names(store.nodes().await.unwrap()), expected);
    assert_eq!(store.lapsed_nodes().await.unwrap(), ["dead"]);
    let (mut taken, mut after) = (BTreeSet::new(), None);
    loop {
        let claim = after.map_or_else(claim, |after| claim().after(after)).as_node(&live);
        let claimed = store.recover(claim).await.unwrap();
        assert!(claimed.sessions.len() <= 3);
        taken.extend(claimed.sessions.into_iter().map(|session| session.id));
        after = claimed.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(taken.len(), 40);
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), 40);
    // Whose lease is over writes nothing more, in whatever partition.
    for id in taken.iter().take(10) {
        assert_eq!(
            refusal(store.as_node(&dead).patch(id, cloakroom::Patch::new().suspend()).await),
            Refusal::Fenced
        );
    }
    context.check().await;
}

#[tokio::test]
async fn all_that_is_on_its_way_is_found_page_by_page() {
    let (context, store) = spread().await;
    let made = create_many(&store, 20, |_| NewSession::new()).await;
    for session in &made {
        context.freeze(session.id()).await;
    }
    let (mut found, mut skip) = (BTreeSet::new(), 0);
    loop {
        let page = store.migrations(skip, 3).await.unwrap();
        found.extend(page.migrations.into_iter().map(|migration| migration.id));
        let Some(next) = page.next else { break };
        assert!(next > skip);
        skip = next;
    }
    assert_eq!(found, ids(&made).into_iter().collect());
}
