//! This crate and the Python, Node and Go clients work in one namespace at once. `clients/interop` installs what the
//! clients need, and runs this.

mod events;
mod tokens;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cloakroom::{
    Binding, Error, NewSession, Obstacle, PageRequest, Patch, RedisStore, Result, Rotation, Rules, Selector,
    Session, SessionId,
};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::Context;
use crate::support::cluster::Cluster;
use crate::support::context::{Store, build};
use crate::support::record::LIVE;
use crate::support::repository::root;

const USERS: [&str; 3] = ["ann", "bob", "cy"];
const CONNECTIONS: [&str; 4] = ["c1", "c2", "c3", "c4"];
/// How long they work, in seconds.
const SECONDS: u64 = 5;

/// A client in another language.
struct Client {
    name: &'static str,
    worker: PathBuf,
}

impl Client {
    fn all() -> [Self; 3] {
        ["python", "node", "go"].map(Self::of)
    }

    /// Those that follow the slots of a cluster and read events.
    fn complete() -> [Self; 2] {
        ["python", "node"].map(Self::of)
    }

    fn of(name: &'static str) -> Self {
        Self { name, worker: root().join("clients").join(name).join("tests/worker") }
    }

    /// Runs its worker, and returns the lines that it prints.
    async fn run<const N: usize>(&self, arguments: [&str; N], input: String) -> Vec<Value> {
        let mut child = Command::new(&self.worker)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run clients/interop", self.name));
        let mut stdin = child.stdin.take().unwrap();
        let write = async move {
            stdin.write_all(input.as_bytes()).await.unwrap();
            drop(stdin);
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.unwrap();
        assert!(output.status.success(), "{} failed", self.name);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Works as the workers of the clients do, and counts.
async fn work(store: Store, seed: u64) -> u64 {
    let mut random = Rng::with_seed(seed);
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let mut count = 0;
    while Instant::now() < end {
        match step(&store, &mut random).await {
            Ok(()) | Err(Error::Refused(_) | Error::NotExecuted { reason: Obstacle::Contended, .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        count += 1;
    }
    count
}

async fn step(store: &Store, random: &mut Rng) -> Result<()> {
    let user = USERS[random.usize(..USERS.len())];
    let connection = CONNECTIONS[random.usize(..CONNECTIONS.len())];
    let kind = random.u8(..7);
    if kind == 0 {
        let ttl = Duration::from_millis(if random.bool() { 50 } else { 60_000 });
        let new = NewSession::new().user(user).connection(if random.bool() { connection } else { "" });
        return store.create(new.ttl(ttl).set("made by", "rust")?).await.map(drop);
    }
    let page = store.list(&Selector::user(user), &PageRequest::first(50)).await?;
    let Some(session) = page.sessions.get(random.usize(..page.sessions.len().max(1))) else {
        return Ok(());
    };
    match kind {
        1 => store.refresh(session).await.map(drop),
        2 => {
            let patch = Patch::new().set(["n", "m", "k"][random.usize(..3)], &random.u8(..5))?;
            store.patch(session, patch).await.map(drop)
        }
        3 => store.rotate(session, Rotation::new().user(user)).await.map(drop),
        4 => store.bind(session, Binding::new(connection).node("node").take_over()).await.map(drop),
        5 => store.delete(session).await.map(drop),
        _ => store.reap(10).await.map(drop),
    }
}

/// A session with attributes of every kind that JSON has.
async fn rich(store: &Store) -> Session {
    let text = "\u{1F600} \"\\\r\n\u{0}";
    let new = NewSession::new().user("rich").connection("rich \u{e9}:{}").node("node");
    let new = new.set("null", &()).unwrap().set("true", &true).unwrap().set("text", text).unwrap();
    let new = new.set("large", &9_007_199_254_740_993_u64).unwrap().set("float", &-1.5e300).unwrap();
    let new = new.set("empty list", &[(); 0]).unwrap().set("empty text", "").unwrap();
    let new = new.set("empty map", &json!({})).unwrap().set("map", &json!({"a": [1, null]})).unwrap();
    store.create(new.set("\u{e9}", &[0.1]).unwrap()).await.unwrap().session
}

fn shown(session: Option<Session>) -> Value {
    session.map_or(Value::Null, |session| {
        let attributes: serde_json::Map<String, Value> =
            session.attributes().iter().map(|(key, json)| (key.to_owned(), json.into())).collect();
        json!({
            "id": session.id().as_str(), "user": session.user(), "connection": session.connection(),
            "node": session.node(), "version": session.version().get(), "attributes": attributes,
        })
    })
}

/// A language has its own way to say that there is no user, connection or node: empty, or null.
fn with_empty_for_none(mut session: Value) -> Value {
    for name in ["user", "connection", "node"] {
        if session.is_object() && session[name].is_null() {
            session[name] = "".into();
        }
    }
    session
}

async fn live(context: &Context) -> Vec<SessionId> {
    let mut live = Vec::new();
    for key in context.keys().await {
        // A namespace has no brace, so the first one that closes ends the tag of the partition.
        let Some((_, id)) = key.split_once("}:session:") else { continue };
        let id = SessionId::new(id).unwrap();
        if context.stored(&id).await.is_some_and(|stored| stored.kind == LIVE) {
            live.push(id);
        }
    }
    live
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients in other languages: clients/interop runs it"]
async fn all_languages_work_in_one_namespace_and_read_the_same() {
    work_in(Context::own(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients in other languages: clients/interop runs it"]
async fn all_languages_work_in_the_partitions_of_one_namespace_and_read_the_same() {
    work_in(Context::own(&[]).await.spread()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients in other languages: clients/interop runs it"]
async fn the_languages_that_know_clusters_work_on_one_and_read_the_same() {
    let cluster = Cluster::start().await;
    let (url, namespace) = (cluster.url(), "interop");
    let store = build(RedisStore::builder(&*url).namespace(namespace).partitions(16)).await;
    work_together(&store, &Client::complete(), &url, namespace).await;
    let mut ids = Vec::new();
    for user in USERS {
        let page = store.list(&Selector::user(user), &PageRequest::first(500)).await.unwrap();
        ids.extend(page.sessions.iter().map(|session| session.id().clone()));
    }
    assert!(!ids.is_empty());
    read_the_same(&store, &Client::complete(), &url, namespace, &ids).await;
}

async fn work_in(context: Context) {
    let store = context.store(Rules::new()).await;
    let (url, namespace) = (context.server().url(), &*context.namespace);
    work_together(&store, &Client::all(), url, namespace).await;
    context.check().await;
    rich(&store).await;
    let ids = live(&context).await;
    assert!(!ids.is_empty());
    read_the_same(&store, &Client::all(), url, namespace, &ids).await;
}

/// The other languages read in the namespace how many partitions it has.
#[expect(clippy::print_stdout, reason = "how much they worked is for whoever runs it")]
async fn work_together(store: &Store, clients: &[Client], url: &str, namespace: &str) {
    let seconds = SECONDS.to_string();
    let others = clients.iter().zip(11..).map(|(client, seed)| {
        let seconds = &seconds;
        async move { client.run([url, namespace, &seed.to_string(), seconds], String::new()).await }
    });
    let (counts, told) = tokio::join!(
        futures::future::join_all((0..4).map(|seed| tokio::spawn(work(store.clone(), seed)))),
        futures::future::join_all(others),
    );
    let counts: Vec<u64> = counts.into_iter().map(Result::unwrap).collect();
    println!("operations: rust {counts:?}");
    for (client, told) in clients.iter().zip(&told) {
        println!("{}: {}", client.name, told[0]);
        assert!(told[0]["operations"].as_u64().unwrap() >= 200, "{}: {told:?}", client.name);
    }
}

async fn read_the_same(store: &Store, clients: &[Client], url: &str, namespace: &str, ids: &[SessionId]) {
    let (mut input, mut expected) = (String::new(), Vec::new());
    for id in ids {
        let session = store.get(id).await.unwrap();
        // One that lives 50 ms may end before the next language reads it.
        if session.as_ref().is_none_or(|session| session.ttl() > Duration::from_secs(1)) {
            input.push_str(&format!("{}\n", id.as_str()));
            expected.push(with_empty_for_none(shown(session)));
        }
    }
    assert!(expected.iter().any(Value::is_object));
    for client in clients {
        let read = client.run(["read", url, namespace], input.clone()).await;
        let read: Vec<Value> = read.into_iter().map(with_empty_for_none).collect();
        assert_eq!(read, expected, "{}", client.name);
    }
}
