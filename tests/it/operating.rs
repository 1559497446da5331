//! The tools of an operator: walks through all sessions and all users, and sessions as lines of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cloakroom::migration::{Export, Import};
use cloakroom::operating::Position;
use cloakroom::{Error, NewSession, Patch, RedisStore, Refusal, Rules};
use rstest::rstest;

use crate::support::Context;
use crate::support::context::On::{self, Memory, Redis, Spread};
use crate::support::context::build;
use crate::support::expect::{refusal, session_id};
use crate::support::leases::register;
use crate::support::sessions::create_many;

async fn redis(context: &Context) -> RedisStore {
    context.builder(Rules::new()).clock(context.clock.clone()).build().await.unwrap()
}

/// All that a walk comes by, in pages of this size.
async fn walked(store: &RedisStore, size: usize) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), None);
    loop {
        let page = store.walk(next.as_ref(), size).await.unwrap();
        all.extend(page.sessions.iter().map(|session| session.id.as_str().to_owned()));
        next = page.next;
        if next.is_none() {
            return all;
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_walk_comes_by_each_session_once_however_many_expire_at_once(
    #[values(Redis, Spread)] on: On,
    #[values(1, 7, 1000)] size: usize,
) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let mut expected = BTreeSet::new();
    for _ in 0..3 {
        for session in create_many(&store, 30, |at| NewSession::new().user(format!("{}", at % 9))).await {
            expected.insert(session.id().as_str().to_owned());
        }
        context.clock.advance(Duration::from_millis(1));
    }
    let walked = walked(&redis(&context).await, size).await;
    assert_eq!(walked.len(), expected.len());
    assert_eq!(walked.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn a_session_that_is_used_moves_on_before_the_walk() {
    let context = Context::redis().await;
    let store = context.store_at(Rules::new().refresh_threshold(1.0)).await;
    let sessions = create_many(&store, 10, |_| NewSession::new()).await;
    let walker = redis(&context).await;
    let first = walker.walk(None, 5).await.unwrap();
    context.clock.advance(Duration::from_secs(60));
    let used = sessions.iter().find(|session| *session.id() == first.sessions[0].id).unwrap();
    store.refresh(used).await.unwrap().unwrap();
    let next = first.next.unwrap();
    let rest = walker.walk(Some(&next), 100).await.unwrap();
    assert_eq!(rest.next, None);
    assert_eq!(rest.sessions.len(), 6);
    assert_eq!(rest.sessions[5].id, *used.id());
    // In another process it goes on at the same millisecond.
    let text = next.to_string();
    assert!(sessions.iter().all(|session| !text.contains(session.id().as_str())));
    let again = walker.walk(Some(&text.parse().unwrap()), 100).await.unwrap();
    assert_eq!(again.sessions.len(), 10);
}

#[tokio::test]
async fn a_position_that_is_none_is_refused_and_tells_no_id() {
    let context = Context::redis().await;
    let store = redis(&context).await;
    for text in ["", "1", "a.b", "1.-2", "1.2.c", "70000.1"] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
    let elsewhere: Position = "1.5".parse().unwrap();
    let error = store.walk(Some(&elsewhere), 10).await.unwrap_err();
    assert_eq!(error.to_string(), "position is in no partition");
    for size in [0, 1001] {
        assert!(matches!(store.walk(None, size).await, Err(Error::Invalid(_))));
    }
}

#[rstest]
#[tokio::test]
async fn all_users_are_found_with_their_live_sessions_and_nobody_elses(#[values(Redis, Spread)] on: On) {
    let context = Context::on(on).await;
    let other = context.another(on).await;
    for (context, name) in [(&context, "user"), (&other, "other")] {
        let store = context.store_at(Rules::new()).await;
        create_many(&store, 60, |at| NewSession::new().user(format!("{name}:{}", at % 20)).node("n")).await;
        create_many(&store, 5, |_| NewSession::new()).await;
    }
    let store = redis(&context).await;
    let find = async || {
        let (mut found, mut next) = (BTreeMap::new(), None);
        loop {
            let users = store.users(next.as_ref(), 10).await.unwrap();
            found.extend(users.users);
            next = users.next;
            if next.is_none() {
                return found;
            }
        }
    };
    let expected: BTreeMap<String, u64> = (0..20).map(|at| (format!("user:{at}"), 3)).collect();
    assert_eq!(find().await, expected);
    context.clock.advance(Duration::from_secs(24 * 3600));
    assert!(find().await.is_empty(), "all of them have expired");
}

#[rstest]
#[tokio::test]
async fn a_store_that_is_to_find_its_namespace_makes_none(#[values(Redis, Spread)] on: On) {
    let context = Context::on(on).await;
    let existing = || context.builder(Rules::new()).existing();
    assert_eq!(refusal(existing().build().await), Refusal::NoNamespace);
    assert_eq!(context.all_keys().await, Vec::<String>::new());
    build(context.builder(Rules::new())).await;
    existing().build().await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_session_goes_through_a_line_of_a_file_whole(#[values(Redis, Memory)] on: On) {
    let context = Context::on(on).await;
    let store = context.store_at(Rules::new()).await;
    let new = NewSession::new().id(session_id("a\"ä\n")).user("ann").connection("c").node("n");
    let new = new.set("empty", &serde_json::json!([{}, [], null])).unwrap();
    let session = store.create(new).await.unwrap().session;
    let patch = Patch::new().set("large", &9_007_199_254_740_993_u64).unwrap();
    store.patch(&session, patch.set_extension("layer", "x\n").unwrap()).await.unwrap();
    let export = store.export(session.id()).await.unwrap().unwrap();
    let line = export.to_json();
    assert!(!line.contains('\n'));
    let read = Export::from_json(&line).unwrap();
    assert_eq!(read, export);

    let other = context.another(on).await;
    let there = other.store_at(Rules::new()).await;
    assert!(there.import(Import::new(read.clone())).await.unwrap());
    assert!(!there.import(Import::new(read)).await.unwrap(), "it is here already");
    assert_eq!(there.export(session.id()).await.unwrap().unwrap().session(), export.session());
    other.check().await;
}

#[tokio::test]
async fn a_line_that_is_broken_is_refused_by_what_is_wrong_in_it() {
    let context = Context::memory(10);
    let store = context.store_at(Rules::new()).await;
    let session = store.create(NewSession::new().set("a", &1).unwrap()).await.unwrap().session;
    let line = store.export(session.id()).await.unwrap().unwrap().to_json();
    let whole: serde_json::Value = serde_json::from_str(&line).unwrap();
    for field in whole.as_object().unwrap().keys() {
        for wrong in [serde_json::Value::Null, serde_json::json!([7]), serde_json::json!({"a": "[1"})] {
            let mut broken = whole.clone();
            broken[field] = wrong;
            let error = Export::from_json(&broken.to_string()).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{field}: {error:?}");
        }
    }
    for text in ["", "[]", "null", "{}", &line[..line.len() - 1]] {
        assert!(matches!(Export::from_json(text), Err(Error::Invalid(_))), "{text}");
    }
}

#[rstest]
#[tokio::test]
async fn what_each_partition_has_is_told_by_itself(#[values(Redis, Spread)] on: On) {
    let context = Context::on(on).await;
    let (store, operator) = (context.store_at(Rules::new()).await, redis(&context).await);
    let minute = Duration::from_secs(60);
    create_many(&store, 30, |at| NewSession::new().user(format!("{at}")).node("n").ttl(minute)).await;
    register(&store, "n").await;
    let contents = async || {
        let mut all = Vec::new();
        for partition in 0..operator.partition_count() {
            all.push(operator.inspect(partition).await.unwrap());
        }
        all
    };
    let there = contents().await;
    assert_eq!(there.iter().map(|partition| partition.sessions).sum::<u64>(), 30);
    for partition in &there {
        assert_eq!(partition.expiry_lag, Duration::ZERO);
        let node = &partition.nodes[0];
        assert_eq!((node.name.as_str(), node.is_live, node.sessions), ("n", true, partition.sessions));
    }
    context.clock.advance(minute + Duration::from_secs(5));
    for (partition, before) in contents().await.iter().zip(there) {
        let lag = if before.sessions > 0 { Duration::from_secs(5) } else { Duration::ZERO };
        assert_eq!((partition.sessions, partition.expiry_lag), (before.sessions, lag));
        assert!(!partition.nodes[0].is_live && partition.nodes[0].sessions == 0);
    }
    let none = operator.inspect(operator.partition_count()).await.unwrap_err();
    assert!(matches!(none, Error::Invalid(_)), "{none:?}");
}
