//! Three nodes as processes of their own; one is killed, its sessions are taken over by the others, and its clients come
//! back. On the server of `REDIS_URL`, else on a redis-server that it starts. It ends with 0 only if each session of the
//! dead node was recovered just once.
//!
//! ```sh
//! cargo run --example failover
//! ```

// An example prints.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::nodes::{Lease, LeaseOptions, NodeRegistry, RecoveredSession, Recoverer};
use cloakroom::{Binding, NewSession, RedisStore, Selector, SessionId, SessionStore};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const NODES: [&str; 3] = ["gateway-1", "gateway-2", "gateway-3"];
const VICTIM: usize = 1;
/// Connections of each node.
const CLIENTS: usize = 20;
/// How long a node may be silent before it counts as dead.
const LEASE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [name, url, namespace] => node(name, url, namespace).await.map(|()| true),
        _ => fleet().await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One node: it holds a lease, has clients, and takes over the sessions of nodes that die. Its standard output is for
/// whoever started it, who tells it which clients come.
async fn node(name: &str, url: &str, namespace: &str) -> Outcome<()> {
    let store = Arc::new(RedisStore::builder(url).namespace(namespace).build().await?);
    let lease = Lease::acquire(store.clone(), name, LeaseOptions::new().length(LEASE)).await?;
    let owner = store.as_node(lease.identity());
    let report = |session: &RecoveredSession| println!("recovered {} {}", session.id.as_str(), session.from);
    let recoverer =
        Recoverer::builder(store, &lease).every(LOOK_EVERY).batch(5).on_recovered(report).spawn()?;
    for client in 0..CLIENTS {
        let new = NewSession::new().user("everybody").connection(format!("{name}/socket-{client}"));
        owner.create(new).await?;
    }
    println!("ready");
    let mut clients = BufReader::new(tokio::io::stdin()).lines();
    while let Some(client) = clients.next_line().await? {
        let binding = Binding::new(format!("{name}/again-{client}"));
        owner.bind(&SessionId::new(client.as_str())?, binding).await?;
        println!("connected {client}");
    }
    recoverer.stop().await;
    lease.release().await;
    Ok(())
}

/// A node as whoever started it has it.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

/// What a node says: which one, and its words.
type Said = (usize, Vec<String>);

fn start(at: usize, url: &str, namespace: &str, says: UnboundedSender<Said>) -> Outcome<Process> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([NODES[at], url, namespace])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = says.send((at, line.split(' ').map(str::to_owned).collect()));
        }
    });
    Ok(Process { input: child.stdin.take(), child })
}

async fn hear(said: &mut UnboundedReceiver<Said>) -> Outcome<Said> {
    Ok(tokio::time::timeout(PATIENCE, said.recv()).await?.ok_or("all nodes are gone")?)
}

/// Starts the nodes, kills one, and sees to its clients. Whether each of its sessions was recovered just once.
async fn fleet() -> Outcome<bool> {
    let (url, _server) = server().await?;
    let namespace = format!("failover-{}", std::process::id());
    let store = RedisStore::builder(&url).namespace(&namespace).build().await?;
    let (says, mut said) = unbounded_channel();
    let mut processes = Vec::new();
    for at in 0..NODES.len() {
        processes.push(start(at, &url, &namespace, says.clone())?);
    }
    for _ in NODES {
        let (at, _) = hear(&mut said).await?;
        println!("{} has its lease, and {CLIENTS} clients", NODES[at]);
    }
    show(&store).await?;

    println!("\n{} is killed", NODES[VICTIM]);
    processes[VICTIM].child.kill().await?;
    let began = Instant::now();
    let mut recovered: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    while recovered.len() < CLIENTS {
        let (at, words) = hear(&mut said).await?;
        if let [word, id, _from] = words.as_slice()
            && word == "recovered"
        {
            recovered.entry(id.clone()).or_default().push(at);
        }
    }
    for at in [0, 2] {
        let count = recovered.values().filter(|by| by.contains(&at)).count();
        println!("{} took over {count} sessions", NODES[at]);
    }
    println!(
        "all of them {:.1} s after the kill, of which the lease is {LEASE:?}",
        began.elapsed().as_secs_f64()
    );
    show(&store).await?;

    println!("\nthe clients of {} come back, each to the next node", NODES[VICTIM]);
    for (number, id) in recovered.keys().enumerate() {
        let input = processes[[0, 2][number % 2]].input.as_mut().ok_or("no input")?;
        input.write_all(format!("{id}\n").as_bytes()).await?;
    }
    let mut connected = 0;
    while connected < CLIENTS {
        let (at, words) = hear(&mut said).await?;
        match words.as_slice() {
            [word, _] if word == "connected" => connected += 1,
            // A session that is recovered once more, or one of a node that lives.
            [word, id, _] if word == "recovered" => recovered.entry(id.clone()).or_default().push(at),
            _ => {}
        }
    }
    show(&store).await?;
    let is_back = store.count(&Selector::user("everybody")).await? == (CLIENTS * NODES.len()) as u64;
    let is_once = recovered.len() == CLIENTS && recovered.values().all(|by| by.len() == 1);

    for Process { child, input } in &mut processes {
        // The end of its input ends a node.
        drop(input.take());
        child.wait().await?;
    }
    store.delete_user("everybody", None).await?;
    let all = is_back && is_once;
    println!(
        "\n{}",
        if all {
            "no session was lost, and none taken twice"
        } else {
            "NOT all sessions were recovered once"
        }
    );
    Ok(all)
}

async fn show(store: &RedisStore) -> Outcome<()> {
    for node in store.nodes().await? {
        let state = if node.is_live { "live" } else { "dead" };
        println!("  {}: {state}, {} sessions", node.name, node.sessions);
    }
    Ok(())
}

/// A server that ends with this value, if it was started here.
struct Server(Option<(Child, String)>);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((_, socket)) = &self.0 {
            let _ = std::fs::remove_file(socket);
        }
    }
}

async fn server() -> Outcome<(String, Server)> {
    if let Ok(url) = std::env::var("REDIS_URL") {
        return Ok((url, Server(None)));
    }
    let socket = std::env::temp_dir().join(format!("cloakroom-failover-{}.sock", std::process::id()));
    let socket = socket.to_str().ok_or("the directory for temporary files has no name in UTF-8")?.to_owned();
    let child = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket", &socket])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("set REDIS_URL, or put redis-server on PATH: {error}"))?;
    let (url, server) = (format!("redis+unix://{socket}"), Server(Some((child, socket))));
    let began = Instant::now();
    while RedisStore::builder(&url).build().await.is_err() {
        if began.elapsed() > PATIENCE {
            return Err("redis-server does not start".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((url, server))
}
