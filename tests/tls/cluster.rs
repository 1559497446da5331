//! A cluster whose nodes speak TLS alone, to clients and to each other.

use cloakroom::{Error, NewSession, Obstacle, RedisStore, RedisStoreBuilder, SessionStore as _};
use tokio::process::Command;

use super::{Authority, Certified, LONG, Server, works};

/// Three masters. All are stopped when this is dropped.
struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Each node shows the certificate, to whomever it meets.
    async fn start(authority: &Authority, shown: &Certified, options: &[&str]) -> Self {
        let options = [&["--cluster-enabled", "yes", "--tls-cluster", "yes"], options].concat();
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Server::start(shown, authority, &options).await);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [("a.pem", &authority.pem), ("c.pem", &shown.certificate), ("c.key", &shown.key)]
        {
            std::fs::write(path(name), text).unwrap();
        }
        let told = Command::new("redis-cli")
            .arg("--tls")
            .arg("--cacert")
            .arg(path("a.pem"))
            .arg("--cert")
            .arg(path("c.pem"))
            .arg("--key")
            .arg(path("c.key"))
            .args(["--sni", "localhost", "--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
            .arg("--cluster-yes")
            .output()
            .await
            .unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
        Self { nodes }
    }

    fn builder(&self, host: &str) -> RedisStoreBuilder {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("{host}:{}", node.port)).collect();
        let builder = RedisStore::builder(format!("rediss+cluster://{}", hosts.join(",")));
        builder.partitions(16).deadline(LONG).connect_timeout(LONG)
    }
}

/// A store works, and with it each of the nodes.
async fn works_at_all(builder: impl Fn() -> RedisStoreBuilder) {
    works(builder()).await;
    works(builder().near_cache(100)).await;
    let store = builder().build().await.unwrap();
    for user in 0..16 {
        let new = NewSession::new().user(format!("user-{user}"));
        let session = store.create(new).await.unwrap().session;
        assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    }
}

#[tokio::test]
async fn a_store_works_with_a_cluster_of_a_private_authority() {
    let authority = Authority::new("private");
    let options = ["--tls-auth-clients", "no"];
    let cluster = Cluster::start(&authority, &authority.certify("127.0.0.1"), &options).await;
    works_at_all(|| cluster.builder("127.0.0.1").root_certificate(authority.pem.as_str())).await;
    let other = Authority::new("other");
    let error = cluster.builder("127.0.0.1").root_certificate(other.pem.as_str()).build().await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Config, .. }), "{error:?}");
    assert!(error.to_string().contains("invalid peer certificate: UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn a_store_shows_each_node_of_a_cluster_who_it_is() {
    let authority = Authority::new("private");
    let cluster = Cluster::start(&authority, &authority.certify("127.0.0.1"), &[]).await;
    let Certified { certificate, key } = authority.certify("shop");
    works_at_all(|| {
        let builder = cluster.builder("127.0.0.1").root_certificate(authority.pem.as_str());
        builder.client_certificate(certificate.as_str(), key.as_str())
    })
    .await;
}

/// From Redis 7.0 on nodes may tell names.
#[tokio::test]
async fn the_name_that_a_node_announces_is_the_one_that_its_certificate_has_to_have() {
    let authority = Authority::new("private");
    let options = ["--tls-auth-clients", "no", "--cluster-announce-hostname", "localhost"];
    let by_name = ["--cluster-preferred-endpoint-type", "hostname"];
    let shown = authority.certify("localhost");
    let cluster = Cluster::start(&authority, &shown, &[&options[..], &by_name].concat()).await;
    works_at_all(|| cluster.builder("localhost").root_certificate(authority.pem.as_str())).await;
    // The seed is reached as an address, of which the certificate says nothing.
    let by_address = cluster.builder("127.0.0.1").root_certificate(authority.pem.as_str());
    let error = by_address.build().await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}
