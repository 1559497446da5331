//! The ACL user of docs/production.md, as it stands there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cloakroom::verify::Repaired;
use cloakroom::{RedisStore, SessionStore as _};
use rstest::rstest;

use super::commands;
use crate::contract::calls::{do_each_operation, rules_that_evict};
use crate::support::Context;
use crate::support::context::Store;
use crate::support::repository::root;

/// The rules of the line that a reader would paste, for the namespace of a test.
fn rules(context: &Context) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/production.md")).unwrap();
    let (_, behind) = page.split_once("ACL SETUSER ").unwrap();
    let (line, _) = behind.split_once("\n```").unwrap();
    let line = line.replace("{shop:0}:", &context.key("")).replace('\n', " ");
    line.split_whitespace().map(str::to_owned).collect()
}

#[rstest]
#[case("")]
#[case("3")]
#[tokio::test]
async fn the_acl_user_of_the_page_may_do_all_that_a_store_does(#[case] database: &str) {
    let context = Context::own(&[]).await;
    let rules = rules(&context);
    let set: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rules.iter().map(String::as_str)).collect();
    context.command::<()>(&set).await;
    let url = format!("redis://cloakroom:password@{}/{database}", context.server().address());
    let builder = || RedisStore::builder(&url).namespace(&context.namespace).clock(context.clock.clone());
    let store: Store = Arc::new(builder().build().await.unwrap());
    let strict: Store = Arc::new(builder().rules(rules_that_evict()).build().await.unwrap());
    do_each_operation(&context.clock, &store, &strict).await;
    // And what the command line does besides.
    let operator = builder().existing().build().await.unwrap();
    operator.walk(None, 10).await.unwrap();
    operator.users(None, 10).await.unwrap();
    // To go through all that is stored it has to read indexes in pieces.
    context.command::<()>(&["ACL", "SETUSER", "cloakroom", "+zscan"]).await;
    context.command::<()>(&["ZADD", &context.key("user:ann:sessions"), "1", "nobody"]).await;
    let (mut verifier, mut mended) = (operator.verifier(), 0);
    while let Some(violation) = verifier.next().await.unwrap() {
        mended += usize::from(operator.repair(&violation).await.unwrap() == Repaired::Mended);
    }
    // What was damaged is in the first database.
    assert_eq!(mended > 0, database.is_empty());
    let health = operator.health().await;
    assert!(health.servers[0].memory.is_some() && health.servers[0].scripts_missing == Some(0));
}

#[tokio::test]
async fn the_acl_user_of_the_page_may_do_nothing_that_a_store_does_not_run() {
    let context = Context::redis().await;
    let rules = rules(&context);
    let allowed: BTreeSet<&str> = rules.iter().filter_map(|rule| rule.strip_prefix('+')).collect();
    let commands = commands();
    let needed: Vec<String> = commands.iter().map(|command| command.to_lowercase()).collect();
    let besides =
        ["evalsha", "script|load", "script|exists", "multi", "exec", "role", "select", "info", "scan"];
    assert_eq!(allowed, needed.iter().map(String::as_str).chain(besides).collect());
}

/// The names of the commands that a file of the crate sends by itself.
fn sent_by(path: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sent_by(&path, names);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let calls = source.split("cmd(\"").skip(1).filter_map(|rest| rest.split('"').next());
        names.extend(calls.map(str::to_owned));
    }
}

#[test]
fn what_the_store_sends_by_itself_is_proved_at_its_start_or_by_it() {
    let mut sent = BTreeSet::new();
    sent_by(&root().join("src/redis"), &mut sent);
    let besides: Vec<String> = sent.difference(&commands()).cloned().collect();
    // SENTINEL is for sentinels. CLUSTER is for clusters, and so is ASKING, without which calls are refused while their slot moves.
    // WAIT is proved when a call first waits for replicas, XRANGE and XREVRANGE when somebody first reads events.
    // ZSCAN is for a verifier alone.
    // Without INFO nothing warns of eviction, and without SCAN no reaper tidies indexes. Without CLIENT a near cache keeps
    // nothing, and HELLO is for all users. Without ROLE it is INFO that tells the role, and without both no connection is
    // made.
    assert_eq!(
        besides,
        [
            "ASKING",
            "CLIENT",
            "CLUSTER",
            "EVALSHA",
            "EXEC",
            "HELLO",
            "INFO",
            "MULTI",
            "ROLE",
            "SCAN",
            "SCRIPT",
            "SENTINEL",
            "WAIT",
            "XRANGE",
            "XREVRANGE",
            "ZSCAN"
        ]
    );
    assert!(sent.contains("PING"));
}
