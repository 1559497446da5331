//! A gate before the server: it passes on as many commands as it is told, and holds the others back.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Result;
use crate::command::Command;

/// A gate before a server. Dropped, it breaks all connections.
pub(crate) struct Gate {
    address: SocketAddr,
    passage: Arc<Passage>,
    accepts: JoinHandle<()>,
}

impl Gate {
    /// One that passes everything on.
    pub(crate) async fn before(url: &str) -> Result<Self> {
        let server = address(url)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let passage = Arc::new(Passage::default());
        let accepts = tokio::spawn(accept(listener, server, passage.clone()));
        Ok(Self { address, passage, accepts })
    }

    /// The URL of the server behind it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// From now on it passes on so many commands, and holds back all others.
    pub(crate) fn pass(&self, commands: usize) {
        self.passage.0.send_modify(|traffic| traffic.left = Some(commands));
    }

    /// From now on it passes everything on, at first what it held back.
    pub(crate) fn open(&self) {
        self.passage.0.send_modify(|traffic| traffic.left = None);
    }

    /// Waits until it holds back so many commands.
    pub(crate) async fn holds(&self, commands: usize) -> Result<()> {
        self.passage.0.subscribe().wait_for(|traffic| traffic.held >= commands).await?;
        Ok(())
    }

    /// The names of the commands that it counted and passed on.
    pub(crate) fn passed(&self) -> Vec<String> {
        self.passage.0.borrow().passed.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

/// Whether a command may pass.
#[derive(Default)]
struct Passage(watch::Sender<Traffic>);

#[derive(Default)]
struct Traffic {
    /// How many commands may pass yet; `None` for all.
    left: Option<usize>,
    held: usize,
    passed: Vec<String>,
}

impl Passage {
    /// Waits until a command may pass.
    async fn admit(&self, command: &str) -> Result<()> {
        let mut changes = self.0.subscribe();
        let mut is_held = false;
        loop {
            let mut is_admitted = false;
            self.0.send_if_modified(|traffic| {
                let held_before = traffic.held;
                is_admitted = traffic.left != Some(0);
                if let Some(left) = traffic.left.as_mut().filter(|left| **left > 0) {
                    *left -= 1;
                    traffic.passed.push(command.to_owned());
                }
                match (is_held, is_admitted) {
                    (false, false) => traffic.held += 1,
                    (true, true) => traffic.held -= 1,
                    _ => {}
                }
                is_held = !is_admitted;
                traffic.held != held_before
            });
            if is_admitted {
                return Ok(());
            }
            changes.changed().await?;
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, passage: Arc<Passage>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        // A connection that breaks has ended.
        connections.spawn(serve(client, server, passage.clone()));
    }
}

async fn serve(client: TcpStream, server: SocketAddr, passage: Arc<Passage>) -> Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let there = async {
        let mut sent = Vec::new();
        while from_client.read_buf(&mut sent).await? > 0 {
            while let Some(command) = Command::take(&mut sent)? {
                passage.admit(&command.name).await?;
                to_server.write_all(&command.bytes).await?;
            }
        }
        Ok(())
    };
    let back = async {
        copy(&mut from_server, &mut to_client).await?;
        Ok(())
    };
    tokio::select! { ended = there => ended, ended = back => ended }
}

/// The address of a server on this machine.
fn address(url: &str) -> Result<SocketAddr> {
    Ok(url.trim_start_matches("redis://").trim_end_matches('/').parse()?)
}
