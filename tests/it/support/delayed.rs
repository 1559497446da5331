//! A slow network: it delays each direction and the connect itself.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// A TCP proxy before a server, as far away as it is told.
#[derive(Debug)]
pub(crate) struct Delayed {
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Delayed {
    /// `delay` is that of each way.
    pub(crate) async fn start(address: String, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                pipes.spawn(pipe(client, address.clone(), delay));
            }
        });
        Self { url, task }
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pipe(client: TcpStream, address: String, delay: Duration) {
    // The connect was answered by this machine. From afar it takes a way there and one back.
    tokio::time::sleep(2 * delay).await;
    let Ok(server) = TcpStream::connect(address).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = way(from_client, to_server, delay) => {}
        () = way(from_server, to_client, delay) => {}
    }
}

/// All that comes arrives that much later, however much it is.
async fn way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, mut on_its_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let comes = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    };
    let arrives = async move {
        while let Some((due, bytes)) = on_its_way.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(comes, arrives);
}
