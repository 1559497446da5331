//! How the store connects to the nodes of a cluster: as which user, and at which addresses.

use std::time::Duration;

use cloakroom::{Error, IdScheme, RedisStore, Refusal, Rules};

use super::{PATIENT, builder, created, serves};
use crate::support::cluster::{Cluster, tell};
use crate::support::context::{build, eventually};
use crate::support::repository::root;

/// The user of docs/production.md, for its namespace, and what it needs besides for a cluster and for a near cache.
fn user_of_the_page() -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/production.md")).unwrap();
    let (_, behind) = page.split_once("ACL SETUSER ").unwrap();
    let (line, notes) = behind.split_once("\n```").unwrap();
    let mut rules: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let behind = |words: &str| notes.split_once(words).unwrap().1;
    for note in [behind("- a cluster: `"), behind("- `near_cache`: `")] {
        rules.extend(note.split('`').next().unwrap().split_whitespace().map(str::to_owned));
    }
    rules
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_and_password_of_the_url_are_those_at_all_nodes() {
    let cluster = Cluster::of_masters(&[]).await;
    let rules = user_of_the_page();
    let rules: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rules.iter().map(String::as_str)).collect();
    for node in &cluster.nodes {
        tell::<()>(node, &rules).await.unwrap();
    }
    let url = cluster.url().replace("://", "://cloakroom:password@");
    let slot = cluster.slot("{shop:0}:expiry").await;
    let owner = cluster.owner(slot).await;
    for near_cache in [None, Some(10)] {
        let mut builder = RedisStore::builder(&url).namespace("shop");
        if let Some(sessions) = near_cache {
            builder = builder.near_cache(sessions);
        }
        let store = build(builder).await;
        serves(&store, "ann").await;
        let session = created(&store, "bob").await;
        // Where the slot goes, it is let in as the same user.
        let (from, to) = (owner, (owner + 1) % 3);
        cluster.begin_to_move(slot, from, to).await;
        while cluster.move_keys(slot, from, to, 10).await > 0 {}
        assert!(store.get(session.id()).await.unwrap().is_some());
        cluster.end_move(slot, to, from).await;
        serves(&store, "cid").await;
        let list: String = tell(&cluster.nodes[to], &["CLIENT", "LIST"]).await.unwrap();
        assert!(list.contains("user=cloakroom"), "{list}");
        cluster.begin_to_move(slot, to, from).await;
        while cluster.move_keys(slot, to, from, 10).await > 0 {}
        cluster.end_move(slot, from, to).await;
    }
    let error = RedisStore::builder(url.replace("password", "wrong")).build().await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: cloakroom::Obstacle::Auth, .. }), "{error:?}");
}

/// As behind a router: the service knows some nodes by other addresses than they tell.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_reached_where_they_say_that_they_are_and_not_where_they_were_asked() {
    let (cluster, proxies) = Cluster::behind_proxies().await;
    let store = build(builder(&cluster, "announced").partitions(16)).await;
    for user in ["ann", "bob", "cid", "dan", "eve", "fay", "gil", "hal"] {
        serves(&store, user).await;
    }
    assert!(proxies.iter().all(|proxy| proxy.accepted() > 0));
    let slot = cluster.slot("{announced:0}:expiry").await;
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    cluster.begin_to_move(slot, from, to).await;
    while cluster.move_keys(slot, from, to, 10).await > 0 {}
    cluster.end_move(slot, to, from).await;
    serves(&store, "ann").await;
    for proxy in &proxies {
        proxy.cut_off(true);
    }
    let refused = async || store.count(&cloakroom::Selector::user("ann")).await.is_err();
    eventually("no node is reached past what it announces", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_starts_without_any_one_master_where_another_notes_what_the_namespace_is() {
    let options = ["--cluster-require-full-coverage", "no", "--cluster-node-timeout", "60000"];
    let mut cluster = Cluster::of_masters(&options).await;
    serves(&build(builder(&cluster, "shop").partitions(16)).await, "ann").await;
    let url = cluster.url();
    let started = async |namespace: &str, partitions: u16, rules: Rules| {
        // A connection to who is silent is given up before the start is.
        let builder = RedisStore::builder(&url).namespace(namespace).partitions(partitions).rules(rules);
        builder
            .deadline(Duration::from_secs(2))
            .connect_timeout(Duration::from_millis(200))
            .existing()
            .build()
            .await
    };
    for away in 0..3 {
        cluster.nodes[away].freeze().await;
        let store = started("shop", 16, Rules::new()).await.unwrap();
        // Which is not told by the one alone that all namespaces have.
        let other = started("shop", 1024, Rules::new()).await.unwrap_err();
        assert_eq!(other, Error::Refused(Refusal::Partitions { found: 16, wanted: 1024 }));
        let other = started("shop", 16, Rules::new().id_scheme(IdScheme::Token)).await.unwrap_err();
        let wanted = Refusal::IdScheme { found: IdScheme::Uuid, wanted: IdScheme::Token };
        assert_eq!(other, Error::Refused(wanted));
        cluster.nodes[away].thaw().await;
        // What was away is found back.
        for user in 0..16 {
            let new = cloakroom::NewSession::new().user(format!("user-{user}"));
            cloakroom::SessionStore::create(&store, new).await.unwrap();
        }
    }
    let home = cluster.owner(cluster.slot("{shop:0}").await).await;
    cluster.nodes[home].freeze().await;
    // Of one that no other notes nothing is known.
    let error = started("shop", 1, Rules::new()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    cluster.nodes[home].thaw().await;
    build(builder(&cluster, "shop").partitions(16).deadline(PATIENT)).await;
}
