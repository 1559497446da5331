//! `rediss://`: a real server with certificates that each test makes, reached by a build that has the feature `tls` and
//! nothing else of ours.

// A test that unwraps a wrong answer has found something.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cloakroom::clients::redis::IntoConnectionInfo as _;
use cloakroom::{Durability, Error, NewSession, Obstacle, RedisStore, RedisStoreBuilder, SessionStore as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::process::{Child, Command};

const LONG: Duration = Duration::from_secs(60);

/// Who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Certified {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, name: &str) -> Certified {
        self.certify_with(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn certify_with(&self, params: CertificateParams) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certified { certificate, key: key.serialize_pem() }
    }
}

/// A redis-server that speaks TLS alone, stopped when it is dropped.
struct Server {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Server {
    /// It shows a certificate, and takes clients that `of_clients` has certified.
    async fn start(shown: &Certified, of_clients: &Authority, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = file("server.pem", &shown.certificate);
        let key = file("server.key", &shown.key);
        let authority = file("authority.pem", &of_clients.pem);
        // Between finding a free port and the server's taking it, another process may be faster: then it exits.
        loop {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = launch(port, [&certificate, &key, &authority], directory.path(), options);
            if is_ready(&mut child, directory.path()).await {
                return Self { child, port, _directory: directory };
            }
        }
    }

    fn builder(&self) -> RedisStoreBuilder {
        let builder = RedisStore::builder(format!("rediss://127.0.0.1:{}/", self.port));
        builder.deadline(LONG).connect_timeout(LONG)
    }

    /// What an error says of why there is no TLS.
    fn why(&self, error: &Error) -> String {
        assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Config, .. }), "{error:?}");
        assert!(!error.is_transient());
        let text = error.to_string();
        let why = text.strip_prefix("not executed: no TLS with the server: ");
        let why = why.and_then(|why| why.strip_suffix(&format!(" (127.0.0.1:{})", self.port)));
        why.unwrap_or_else(|| panic!("{text}")).to_owned()
    }
}

/// Waits until it says that it listens: at its port another server may answer. A sentinel says its id then. False: it ended
/// before.
async fn is_ready(child: &mut Child, directory: &Path) -> bool {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let said = std::fs::read_to_string(directory.join("log")).unwrap();
        if said.contains("Ready to accept connections") || said.contains("Sentinel ID is") {
            return true;
        }
        assert!(tokio::time::Instant::now() < deadline, "redis-server does not listen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn launch(port: u16, [certificate, key, authority]: [&Path; 3], directory: &Path, options: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--bind", "127.0.0.1", "--save", "", "--tls-port", &port.to_string(), "--dir"])
        .arg(directory)
        .arg("--tls-cert-file")
        .arg(certificate)
        .arg("--tls-key-file")
        .arg(key)
        .arg("--tls-ca-cert-file")
        .arg(authority)
        .args(options)
        .stdout(File::create(directory.join("log")).unwrap())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("there is no redis-server: ./tests/run installs one")
}

/// A sentinel that speaks TLS alone, to servers and to other sentinels too. It is stopped when it is dropped.
struct Sentinel {
    _child: Child,
    port: u16,
    _directory: TempDir,
}

/// What the master is called.
const SERVICE: &str = "shop";

impl Sentinel {
    /// It shows a certificate to whoever it meets, and trusts whom that authority has certified.
    async fn start(master: u16, shown: &Certified, authority: &Authority, clients: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in
            [("s.pem", &shown.certificate), ("s.key", &shown.key), ("authority.pem", &authority.pem)]
        {
            std::fs::write(path(name), text).unwrap();
        }
        loop {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let settings = format!(
                "port 0\ntls-port {port}\nbind 127.0.0.1\ndir {0}\ntls-cert-file {0}/s.pem\n\
                 tls-key-file {0}/s.key\ntls-ca-cert-file {0}/authority.pem\ntls-replication yes\n\
                 tls-auth-clients {clients}\nsentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 3000\n",
                directory.path().display()
            );
            std::fs::write(path("sentinel.conf"), settings).unwrap();
            let mut child = Command::new("redis-server")
                .arg(path("sentinel.conf"))
                .arg("--sentinel")
                .stdout(File::create(path("log")).unwrap())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            if is_ready(&mut child, directory.path()).await {
                return Self { _child: child, port, _directory: directory };
            }
        }
    }
}

/// A master and a replica, and three sentinels that watch them, all over TLS.
struct Watched {
    master: Server,
    _replica: Server,
    sentinels: Vec<Sentinel>,
}

impl Watched {
    async fn start(authority: &Authority, clients: &str) -> Self {
        let shown = authority.certify("127.0.0.1");
        let options = ["--tls-auth-clients", clients, "--tls-replication", "yes"];
        let master = Server::start(&shown, authority, &options).await;
        let port = master.port.to_string();
        let of_replica = [&options[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let replica = Server::start(&shown, authority, &of_replica).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(master.port, &shown, authority, clients).await);
        }
        Self { master, _replica: replica, sentinels }
    }

    fn hosts(&self) -> impl Iterator<Item = String> {
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port))
    }

    fn builder(&self) -> RedisStoreBuilder {
        let hosts = self.hosts().collect::<Vec<_>>().join(",");
        RedisStore::builder(format!("rediss+sentinel://{hosts}/{SERVICE}")).deadline(LONG)
    }
}

const NO_CLIENT_CERTIFICATES: &[&str] = &["--tls-auth-clients", "no"];

async fn works(builder: RedisStoreBuilder) {
    let store = builder.build().await.unwrap();
    let session = store.create(NewSession::new().user("ann")).await.unwrap().session;
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    assert_eq!(store.get(session.id()).await.unwrap().as_ref(), Some(&session));
    assert!(store.delete(session.id()).await.unwrap().is_some());
    assert!(store.get(session.id()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_store_works_over_tls_with_a_server_of_a_private_authority() {
    let authority = Authority::new("private");
    let server = Server::start(&authority.certify("127.0.0.1"), &authority, NO_CLIENT_CERTIFICATES).await;
    works(server.builder().root_certificate(authority.pem.as_str())).await;
    works(server.builder().root_certificate(authority.pem.as_str()).near_cache(100)).await;
}

#[tokio::test]
async fn a_store_works_with_a_server_that_speaks_tls_1_2_alone() {
    let authority = Authority::new("private");
    let options = ["--tls-auth-clients", "no", "--tls-protocols", "TLSv1.2"];
    let server = Server::start(&authority.certify("127.0.0.1"), &authority, &options).await;
    works(server.builder().root_certificate(authority.pem.as_str())).await;
}

#[tokio::test]
async fn any_of_several_authorities_will_do() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let server = Server::start(&two.certify("127.0.0.1"), &two, NO_CLIENT_CERTIFICATES).await;
    works(server.builder().root_certificate(format!("{}{}", one.pem, two.pem))).await;
}

#[tokio::test]
async fn a_store_shows_who_it_is_where_the_server_wants_to_know() {
    let (of_servers, of_clients) = (Authority::new("servers"), Authority::new("clients"));
    let server = Server::start(&of_servers.certify("127.0.0.1"), &of_clients, &[]).await;
    let Certified { certificate, key } = of_clients.certify("shop");
    let builder = server.builder().root_certificate(of_servers.pem.as_str());
    works(builder.client_certificate(certificate, key)).await;
}

#[tokio::test]
async fn a_store_that_does_not_show_who_it_is_is_told_so() {
    let authority = Authority::new("private");
    for options in [&[][..], &["--tls-protocols", "TLSv1.2"]] {
        let server = Server::start(&authority.certify("127.0.0.1"), &authority, options).await;
        let error = server.builder().root_certificate(authority.pem.as_str()).build().await.unwrap_err();
        let why = server.why(&error);
        // TLS 1.2 has no word of its own for it.
        assert!(why.contains("CertificateRequired") || why.contains("HandshakeFailure"), "{why}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_the_server_does_not_trust_is_told_as_that() {
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let server = Server::start(&authority.certify("127.0.0.1"), &authority, &[]).await;
    let Certified { certificate, key } = other.certify("shop");
    let builder = server.builder().root_certificate(authority.pem.as_str());
    let error = builder.client_certificate(certificate, key).build().await.unwrap_err();
    let why = server.why(&error);
    assert!(why.contains("UnknownCA"), "{why}");
}

#[tokio::test]
async fn a_server_of_an_authority_that_is_not_trusted_is_not_connected_to() {
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let server = Server::start(&authority.certify("127.0.0.1"), &authority, NO_CLIENT_CERTIFICATES).await;
    let error = server.builder().root_certificate(other.pem.as_str()).build().await.unwrap_err();
    assert_eq!(server.why(&error), "invalid peer certificate: UnknownIssuer");
    // The platform does not know it either.
    let error = server.builder().build().await.unwrap_err();
    assert_eq!(server.why(&error), "invalid peer certificate: UnknownIssuer");
}

#[tokio::test]
async fn a_server_with_a_certificate_for_another_name_is_not_connected_to() {
    let authority = Authority::new("private");
    let server =
        Server::start(&authority.certify("other.example.com"), &authority, NO_CLIENT_CERTIFICATES).await;
    let error = server.builder().root_certificate(authority.pem.as_str()).build().await.unwrap_err();
    let why = server.why(&error);
    assert!(why.contains("not valid for name"), "{why}");
}

#[tokio::test]
async fn a_server_with_a_certificate_that_is_over_is_not_connected_to() {
    let authority = Authority::new("private");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    let server = Server::start(&authority.certify_with(params), &authority, NO_CLIENT_CERTIFICATES).await;
    let error = server.builder().root_certificate(authority.pem.as_str()).build().await.unwrap_err();
    let why = server.why(&error);
    assert!(why.contains("expired"), "{why}");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_before_anything_is_sent() {
    let authority = Authority::new("private");
    let Certified { certificate, key } = authority.certify("shop");
    let secure = || RedisStore::builder("rediss://127.0.0.1:1/");
    let plain = || RedisStore::builder("redis://127.0.0.1:1/");
    for (builder, expected) in [
        (secure().root_certificate("nothing"), "root_certificate has no certificate in PEM"),
        (secure().root_certificate(key.as_str()), "root_certificate has no certificate in PEM"),
        (secure().client_certificate("", key.as_str()), "client_certificate has no certificate in PEM"),
        (
            secure().client_certificate(certificate.as_str(), ""),
            "client_certificate has a key that is not PEM: ",
        ),
        (plain().root_certificate(authority.pem.as_str()), "root_certificate needs a rediss:// URL"),
        (
            plain().client_certificate(certificate.as_str(), key.as_str()),
            "client_certificate needs a rediss:// URL",
        ),
        (RedisStore::builder("rediss://127.0.0.1:1/#insecure"), "url has #insecure, "),
    ] {
        assert!(!format!("{builder:?}").contains("PRIVATE"), "{builder:?}");
        let error = builder.build().await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_told_as_that() {
    let authority = Authority::new("private");
    let server = Server::start(&authority.certify("127.0.0.1"), &authority, &[]).await;
    let (one, other) = (authority.certify("shop"), authority.certify("shop"));
    let builder = server.builder().root_certificate(authority.pem.as_str());
    let error = builder.client_certificate(one.certificate, other.key).build().await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Config, .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
}

#[tokio::test]
async fn a_store_works_by_sentinels_over_tls_and_follows_a_failover() {
    let authority = Authority::new("private");
    let mut watched = Watched::start(&authority, "no").await;
    let root = authority.pem.as_str();
    works(watched.builder().root_certificate(root)).await;
    works(watched.builder().root_certificate(root).near_cache(100)).await;
    let given = watched.hosts().map(|host| format!("rediss://{host}/").into_connection_info().unwrap());
    let server = "rediss://wherever/".into_connection_info().unwrap();
    let by_hand = RedisStore::builder_with_sentinels(given, SERVICE, server).deadline(LONG);
    works(by_hand.root_certificate(root)).await;

    let store = watched.builder().root_certificate(root).build().await.unwrap();
    let create = async |store: RedisStore| store.create(NewSession::new()).await;
    let created = store.durably(Durability::Replicas(1, LONG), create).await.unwrap();
    assert!(created.is_replicated(), "there is a replica to go to");
    watched.master.child.kill().await.unwrap();
    let end = tokio::time::Instant::now() + LONG;
    loop {
        match store.get(created.value.session.id()).await {
            Ok(found) => break assert!(found.is_some()),
            Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
        }
    }
    store.delete(&created.value.session).await.unwrap();
}

#[tokio::test]
async fn sentinels_and_the_master_may_want_to_know_who_a_store_is() {
    let authority = Authority::new("private");
    let watched = Watched::start(&authority, "yes").await;
    let builder = || watched.builder().root_certificate(authority.pem.as_str());
    let Certified { certificate, key } = authority.certify("shop");
    works(builder().client_certificate(certificate, key)).await;
    let error = builder().build().await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Config, .. }), "{error:?}");
    assert!(error.to_string().contains("no TLS with the server"), "{error}");
}

#[tokio::test]
async fn sentinels_of_an_authority_that_is_not_trusted_are_not_believed() {
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let watched = Watched::start(&authority, "no").await;
    let error = watched.builder().root_certificate(other.pem.as_str()).build().await.unwrap_err();
    assert!(matches!(error, Error::NotExecuted { reason: Obstacle::Config, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("invalid peer certificate: UnknownIssuer (the master shop)"), "{text}");
}
