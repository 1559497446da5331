//! The servers that the program reaches by a URL: over TLS, by a sentinel, of a cluster.

use std::time::Duration;

use cloakroom::testing::TestServer;
use cloakroom::{NewSession, RedisStore, SessionStore as _};
use serde_json::{Value, json};

use crate::servers::{Server, cluster, send, words};
use crate::world::{Ended, program_at};

/// However busy the machine is.
const LONG: Duration = Duration::from_secs(60);

/// What a store makes, the program counts, lists, ends and exports.
async fn is_reached(store: &RedisStore, url: &str, more: &[&str]) {
    let mut sessions = Vec::new();
    for user in ["ann", "ann", "bob"] {
        sessions.push(store.create(NewSession::new().user(user)).await.unwrap().session);
    }
    let run = |arguments: &[&str]| {
        Ended::of(program_at(url, "shop", &[arguments, more].concat()).output().unwrap())
    };
    let stats = run(&["stats", "--json"]).told().remove(0);
    assert_eq!((&stats["readiness"], &stats["sessions"]), (&json!("ready"), &json!(3)));
    assert_eq!(run(&["list", "ann", "--json"]).told().len(), 2);
    assert_eq!(run(&["users", "--json"]).told().len(), 2);
    let hash = sessions[0].id().short_hash();
    assert_eq!(run(&["kick", "--user", "ann", &hash, "--yes"]).done(), "1 session ended\n");
    assert_eq!(store.get(sessions[0].id()).await.unwrap(), None);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions");
    let exported = run(&["export", file.to_str().unwrap(), "--json"]).told();
    assert_eq!(exported, [json!({"written": 2, "refused": 0})]);
    let text = std::fs::read_to_string(file).unwrap();
    for session in &sessions[1..] {
        assert!(text.contains(session.id().as_str()));
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_of_a_private_authority_is_reached_over_tls() {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "private");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certified = |names: &[&str], file_name: &str| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap().pem();
        let key = key.serialize_pem();
        let files =
            [file(&format!("{file_name}.pem"), &certificate), file(&format!("{file_name}.key"), &key)];
        (files, certificate, key)
    };
    let root = file("authority.pem", &authority);
    let ([shown, shown_key], ..) = certified(&["127.0.0.1"], "server");
    // It wants to know who its clients are.
    let ([client, client_key], certificate, key) = certified(&["shop"], "client");
    let server = Server::start(|port, _| {
        let options = format!("--port 0 --tls-port {port} --bind 127.0.0.1 --tls-cert-file {shown}");
        words(&format!("{options} --tls-key-file {shown_key} --tls-ca-cert-file {root}"))
    })
    .await;
    let url = format!("rediss://{}/", server.address());
    let builder = RedisStore::builder(&url).namespace("shop").root_certificate(authority);
    let store = builder.client_certificate(certificate, key).build().await.unwrap();
    let client = ["--client-certificate", &client, "--client-key", &client_key];
    is_reached(&store, &url, &[&["--root-certificate", &root], &client[..]].concat()).await;
    let strange = Ended::of(program_at(&url, "shop", &["stats", "--json"]).output().unwrap()).failed(1);
    assert!(strange.error.contains("UnknownIssuer"), "{}", strange.error);
}

#[tokio::test]
async fn a_master_is_found_by_a_sentinel() {
    let master = TestServer::start().unwrap();
    let address = master.url().trim_start_matches("redis://").trim_end_matches('/').replace(':', " ");
    let sentinel = Server::start(|port, directory| {
        let settings = directory.join("sentinel.conf");
        let text = format!("port {port}\nbind 127.0.0.1\nsentinel monitor main {address} 1\n");
        std::fs::write(&settings, text).unwrap();
        vec![settings.to_str().unwrap().to_owned(), "--sentinel".to_owned()]
    })
    .await;
    let url = format!("redis+sentinel://{}/main", sentinel.address());
    let store = RedisStore::builder(&url).namespace("shop").build().await.unwrap();
    is_reached(&store, &url, &[]).await;
}

/// It takes some seconds: a cluster two until it begins, and a master that is away until the program gives it up.
#[tokio::test]
async fn a_cluster_is_reached_and_a_master_that_is_away_hides_no_other() {
    let mut nodes = cluster().await;
    let url = format!("redis+cluster://{},{}", nodes[0].address(), nodes[1].address());
    let builder = RedisStore::builder(&url).namespace("shop").partitions(16);
    let store = builder.deadline(LONG).connect_timeout(LONG).build().await.unwrap();
    is_reached(&store, &url, &[]).await;
    for user in 0..30 {
        store.create(NewSession::new().user(format!("user-{user}"))).await.unwrap();
    }
    // Which has the partition that all namespaces have.
    let slot = send(&nodes[0].address(), &["CLUSTER", "KEYSLOT", "{shop:0}"]).await;
    let home = usize::from(slot.trim_start_matches(':').trim().parse::<u16>().unwrap() >= 8192);
    let stats = |more: &[&str]| {
        let arguments = [&["stats", "--timeout", "2s"], more].concat();
        Ended::of(program_at(&url, "shop", &arguments).output().unwrap()).failed(5)
    };
    // One is silent.
    nodes[home].signal("STOP");
    let ended = stats(&["--json"]);
    nodes[home].signal("CONT");
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&told["readiness"], &told["partitions"]), (&json!("degraded"), &json!(16)));
    assert_eq!(told["partitions_away"].as_array().unwrap().len(), 8);
    let servers = told["servers"].as_array().unwrap();
    assert_eq!(servers.iter().filter(|server| server["error"].is_null()).count(), 1);
    assert!(ended.error.contains("\"away\""), "{}", ended.error);
    // Then the other is gone.
    nodes[1 - home].kill();
    let ended = stats(&[]);
    let away = if home == 0 { "missing     partitions 8 to 15: " } else { "missing     partitions 0 to 7: " };
    assert!(ended.out.contains(away), "{}", ended.out);
    assert_eq!(ended.error, "cloakroom: 8 of 16 partitions do not answer\n");
    let line = ended.out.lines().find_map(|line| line.strip_prefix("sessions ")).unwrap();
    // Two are left of before.
    let there = [told["sessions"].as_u64().unwrap(), line.trim().parse().unwrap()];
    assert!(there[0] > 0 && there[1] > 0 && there[0] + there[1] == 32, "{there:?}");
}
