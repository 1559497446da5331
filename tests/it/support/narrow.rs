//! A narrow network: each connection stops once it has carried a number of bytes one way, until the test widens it.
//! Large messages are stuck there, small ones are not.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy before a server.
#[derive(Debug)]
pub(crate) struct Narrow {
    pub(crate) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    bytes: usize,
    is_wide: watch::Sender<bool>,
    is_stuck: watch::Sender<bool>,
}

impl Narrow {
    pub(crate) async fn start(address: String, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let (is_wide, is_stuck) = (watch::Sender::new(false), watch::Sender::new(false));
        let state = Arc::new(State { bytes, is_wide, is_stuck });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                pipes.spawn(pipe(client, address.clone(), shared.clone()));
            }
        });
        Self { url, state, task }
    }

    /// Waits until something is stuck.
    pub(crate) async fn is_stuck(&self) {
        self.state.is_stuck.subscribe().wait_for(|is_stuck| *is_stuck).await.unwrap();
    }

    /// Lets all of it through.
    pub(crate) fn widen(&self) {
        self.state.is_wide.send_replace(true);
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pipe(client: TcpStream, address: String, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(address).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = way(from_client, to_server, &state) => {}
        () = way(from_server, to_client, &state) => {}
    }
}

async fn way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, state: &State) {
    let (mut buffer, mut carried) = (vec![0; 64 * 1024], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        carried += length;
        if carried > state.bytes && !*state.is_wide.borrow() {
            state.is_stuck.send_replace(true);
            if state.is_wide.subscribe().wait_for(|is_wide| *is_wide).await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
