//! Nodes in processes of their own, which are killed, and stopped beyond their leases.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cloakroom::nodes::{Claim, Lease, LeaseOptions};
use cloakroom::{
    Binding, Error, NewSession, Patch, RedisStore, Rules, Selector, Session, SessionId, SessionStore,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::Context;
use crate::support::context::{Store, eventually};
use crate::support::sessions::create_many;

const SESSIONS: usize = 25;
/// So long that a busy machine does not lose it, and so short that a test can wait for its end.
const LENGTH: Duration = Duration::from_secs(6);
/// How long a call of a child may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where a child finds what it needs to know.
const SERVER: &str = "CLOAKROOM_TEST_NODE_SERVER";
const NAMESPACE: &str = "CLOAKROOM_TEST_NODE_NAMESPACE";
/// What begins the lines that are for the parent, among those of the test harness.
const SAYS: &str = "node: ";

/// A process that goes by the name "n".
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    /// Starts this very binary, to run the one test that is a node.
    fn start(context: &Context) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::nodes::a_node_that_writes_to_its_sessions_until_it_is_refused"])
            .args(["--ignored", "--nocapture"])
            .env(SERVER, context.server().url())
            .env(NAMESPACE, &context.namespace)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next thing that it says.
    async fn says(&mut self) -> String {
        let line = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the node ended and said nothing");
                if let Some((_, said)) = line.split_once(SAYS) {
                    return said.to_owned();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), line).await.expect("the node says nothing")
    }

    async fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id().unwrap());
        assert!(Command::new("sh").args(["-c", &command]).status().await.unwrap().success(), "{command}");
    }
}

fn say(line: &str) {
    // Past the harness, which may be at a line of its own.
    let mut out = std::io::stdout();
    writeln!(out, "\n{SAYS}{line}").unwrap();
}

#[tokio::test]
#[ignore = "a process that other tests start"]
async fn a_node_that_writes_to_its_sessions_until_it_is_refused() {
    let (Ok(server), Ok(namespace)) = (std::env::var(SERVER), std::env::var(NAMESPACE)) else {
        return;
    };
    let store = RedisStore::builder(server).namespace(namespace);
    let store = Arc::new(store.deadline(PATIENCE).connect_timeout(PATIENCE).build().await.unwrap());
    let lease = Lease::acquire(store.clone(), "n", LeaseOptions::new().length(LENGTH)).await.unwrap();
    let owner = store.as_node(lease.identity());
    let made = create_many(&owner, SESSIONS, |number| {
        NewSession::new().user("ann").connection(format!("c{number}"))
    });
    let sessions = made.await;
    say("ready");
    let error = write(&owner, &sessions).await;
    say(&format!("held {}, then {error}", lease.is_held()));
    lease.lost().await;
    say("lost");
}

/// Writes to sessions in turn, each again until it is answered, as one does whose calls run out of time while it is
/// stopped. Ends when it is refused.
async fn write(store: &Arc<dyn SessionStore>, sessions: &[Session]) -> Error {
    for number in 0_u64.. {
        for session in sessions {
            let patch = Patch::new().set("number", &number).unwrap();
            let mut handle = store.clone();
            loop {
                match handle.patch(session, patch.clone()).await {
                    Ok(_) => break,
                    Err(Error::Ambiguous { operation_id, .. }) => {
                        handle = store.with_operation_id(operation_id);
                    }
                    Err(error) if error.is_not_executed() => {}
                    Err(error) => return error,
                }
            }
        }
    }
    unreachable!("numbers do not end")
}

/// A node that is at work, and the store of another process.
async fn node_at_work() -> (Context, Store, Node) {
    let context = Context::own(&[]).await;
    let mut node = Node::start(&context);
    assert_eq!(node.says().await, "ready");
    let store = context.store(Rules::new()).await;
    eventually("it writes", async || {
        let page = store.list(&Selector::node("n"), &cloakroom::PageRequest::first(SESSIONS)).await.unwrap();
        page.sessions.len() == SESSIONS && page.sessions.iter().all(|session| session.version().get() > 3)
    })
    .await;
    (context, store, node)
}

/// Recovers what the node "n" had, when the server says that its lease is over, and returns that.
async fn recover(store: &Store) -> Vec<SessionId> {
    eventually("its lease has run out", async || store.lapsed_nodes().await.unwrap() == ["n"]).await;
    let lease = Lease::acquire(store.clone(), "other", LeaseOptions::new().length(Duration::from_secs(3600)))
        .await
        .unwrap();
    let claimed = store.recover(Claim::new("n", "other").as_node(lease.identity())).await.unwrap();
    assert!(claimed.next.is_none() && claimed.stale.is_empty());
    // Its lease is to outlast this function.
    std::mem::forget(lease);
    claimed.sessions.into_iter().map(|session| session.id).collect()
}

#[tokio::test]
async fn a_node_that_is_stopped_beyond_its_lease_and_goes_on_writes_nothing_more() {
    let (context, store, mut node) = node_at_work().await;
    node.signal("STOP").await;
    let recovered = recover(&store).await;
    assert_eq!(recovered.len(), SESSIONS);
    let before = context.dump().await;
    node.signal("CONT").await;
    let refused = "refused: the node no longer holds its lease, or the session is another node's";
    assert_eq!(node.says().await, format!("held false, then {refused}"));
    assert_eq!(node.says().await, "lost");
    assert!(node.child.wait().await.unwrap().success());
    let mut after = context.dump().await;
    let renewed = |key: &String| key.ends_with(":nodes") || key.ends_with(":node:other:lease");
    after.retain(|key, _| !renewed(key));
    let before = before.into_iter().filter(|(key, _)| !renewed(key)).collect();
    assert_eq!(after, before, "a late write arrived");
    context.check().await;
}

#[tokio::test]
async fn the_sessions_of_a_node_that_is_killed_are_taken_over_and_their_clients_come_back() {
    let (context, store, mut node) = node_at_work().await;
    node.child.kill().await.unwrap();
    let recovered = recover(&store).await;
    assert_eq!(recovered.len(), SESSIONS);
    for (number, id) in recovered.iter().enumerate() {
        let session = store.get(id).await.unwrap().unwrap();
        assert_eq!((session.node(), session.connection()), (Some("other"), None));
        assert!(session.get::<u64>("number").unwrap().is_some(), "what it wrote is there");
        store.bind(id, Binding::new(format!("back-{number}")).node("other")).await.unwrap();
    }
    assert_eq!(store.count(&Selector::node("other")).await.unwrap(), SESSIONS as u64);
    context.check().await;
}

/// What a service does meanwhile, until there is nothing left to recover. Returns how many calls it made.
async fn serve(store: Store, task: usize) -> usize {
    let mut calls = 0;
    while store.count(&Selector::node("dead")).await.unwrap() > 0 {
        let new =
            NewSession::new().user(format!("user-{task}")).connection(format!("{task}-{calls}")).node("live");
        let session = store.create(new).await.unwrap().session;
        store.patch(&session, Patch::new().set("color", "red").unwrap()).await.unwrap();
        assert!(store.refresh_and_get(session.id()).await.unwrap().is_some());
        store.delete(&session).await.unwrap();
        calls += 5;
    }
    calls
}

/// The longest script there was since the slow log was reset, in microseconds, if one took more than a millisecond.
async fn longest_script(context: &Context) -> i64 {
    let entries: Vec<Vec<redis::Value>> = context.command(&["SLOWLOG", "GET", "-1"]).await;
    let took = entries.iter().map(|entry| redis::from_redis_value::<i64>(entry[2].clone()).unwrap());
    took.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_sessions_are_recovered_in_bounded_batches_while_a_service_goes_on() {
    const MANY: usize = 10_000;
    let context = Context::own(&["--slowlog-log-slower-than", "1000", "--slowlog-max-len", "100000"]).await;
    let store = context.store(Rules::new()).await;
    let lease = Lease::acquire(store.clone(), "live", LeaseOptions::new().length(Duration::from_secs(3600)))
        .await
        .unwrap();
    create_many(&store, MANY, |number| {
        let user = format!("user-{}", number % 1000);
        let new = NewSession::new().user(user).connection(format!("dead-{number}")).node("dead");
        new.set("cart", &["umbrella", "gloves"]).unwrap()
    })
    .await;
    let _: () = context.command(&["SLOWLOG", "RESET"]).await;
    let service: Vec<_> = (0..8).map(|task| tokio::spawn(serve(store.clone(), task))).collect();
    let mut claim = Claim::new("dead", "live").as_node(lease.identity());
    let (mut batches, mut recovered) = (0, Vec::new());
    let began = std::time::Instant::now();
    loop {
        let claimed = store.recover(claim.clone()).await.unwrap();
        assert!(claimed.sessions.len() <= 200, "a batch is bounded");
        recovered.extend(claimed.sessions.into_iter().map(|session| session.id));
        batches += 1;
        match claimed.next {
            Some(next) => claim = claim.after(next),
            None => break,
        }
    }
    let took = began.elapsed();
    let mut calls = 0;
    for task in service {
        calls += task.await.unwrap();
    }
    let longest = longest_script(&context).await;
    eprintln!(
        "{MANY} sessions in {batches} batches: {took:?} beside {calls} calls; longest script {longest} µs"
    );
    assert_eq!((recovered.len(), batches), (MANY, MANY / 200 + 1));
    recovered.sort();
    recovered.dedup();
    assert_eq!(recovered.len(), MANY, "each once");
    assert!(calls > 0, "the service stood still");
    assert_eq!(store.count(&Selector::node("live")).await.unwrap(), MANY as u64);
    context.check().await;
}
