//! The bus over which the nodes of a cluster exchange their state. All of it goes through a proxy, which can cut a node
//! off while clients still reach it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Where in the first message on a connection its sender stands.
const SENDER: std::ops::Range<usize> = 40..80;

/// The proxies, one before each node.
#[derive(Debug)]
pub(crate) struct Bus {
    gates: Vec<Gate>,
    /// The id of the node that is cut off.
    cut_off: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct Gate {
    port: u16,
    node: Arc<OnceLock<Node>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Node {
    id: String,
    bus: SocketAddr,
}

impl Bus {
    pub(crate) async fn start(nodes: usize) -> Self {
        let (cut_off, _) = watch::channel(None);
        let mut gates = Vec::new();
        for _ in 0..nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (port, node) = (listener.local_addr().unwrap().port(), Arc::<OnceLock<Node>>::default());
            let task = tokio::spawn(accept(listener, node.clone(), cut_off.clone()));
            gates.push(Gate { port, node, task });
        }
        Self { gates, cut_off }
    }

    /// Where a node is to say that the others reach it.
    pub(crate) fn port(&self, node: usize) -> u16 {
        self.gates[node].port
    }

    /// A node has been started: others are let through to it.
    pub(crate) fn is_at(&self, node: usize, id: &str, address: &str) {
        let mut bus: SocketAddr = address.parse().unwrap();
        bus.set_port(bus.port() + 10_000);
        self.gates[node].node.set(Node { id: id.to_owned(), bus }).unwrap();
    }

    /// No other node reaches this one any more, and this one none.
    pub(crate) fn cut_off(&self, id: &str) {
        self.cut_off.send_replace(Some(id.to_owned()));
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.gates.iter().for_each(|gate| gate.task.abort());
    }
}

async fn accept(listener: TcpListener, node: Arc<OnceLock<Node>>, cut_off: watch::Sender<Option<String>>) {
    let mut pipes = tokio::task::JoinSet::new();
    while let Ok((from, _)) = listener.accept().await {
        pipes.spawn(pipe(from, node.clone(), cut_off.subscribe()));
    }
}

/// Passes on what one node tells another, until either is cut off.
async fn pipe(mut from: TcpStream, node: Arc<OnceLock<Node>>, mut cut_off: watch::Receiver<Option<String>>) {
    let mut first = vec![0; SENDER.end];
    let (Ok(_), Some(node)) = (from.read_exact(&mut first).await, node.get()) else { return };
    let sender = String::from_utf8_lossy(&first[SENDER]).into_owned();
    let Ok(mut to) = TcpStream::connect(node.bus).await else { return };
    let passes = async {
        to.write_all(&first).await?;
        copy_bidirectional(&mut from, &mut to).await
    };
    tokio::select! {
        biased;
        _ = cut_off.wait_for(|id| id.as_ref().is_some_and(|id| *id == sender || *id == node.id)) => {}
        _ = passes => {}
    }
}
