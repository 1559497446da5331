//! A TCP proxy that cuts connections at a chosen moment, and keeps its clients off the server while others reach it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a store sends by itself when it makes a connection, and no call sends.
const OF_THE_STORE: [&[u8]; 3] = [b"HELLO", b"CLIENT", b"SCRIPT"];
/// What it asks on a connection that has calls: one read may have both.
const BESIDE_CALLS: [&[u8]; 3] =
    [b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$4\r\nROLE\r\n", b"*1\r\n$4\r\nTIME\r\n*1\r\n$4\r\nROLE\r\n"];

/// A TCP proxy before a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    switch: Arc<Switch>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Switch {
    /// Replies to let through before those to swallow.
    skips: AtomicU64,
    /// Replies still to swallow, each with its connection.
    cuts: AtomicU64,
    /// Replies are kept back, connections stay open.
    silent: AtomicBool,
    /// What comes is kept back, to be passed on together.
    held: watch::Sender<bool>,
    /// How much was kept back.
    kept_back: watch::Sender<Vec<u8>>,
    /// Replies to let through all the same.
    passes: AtomicU64,
    swallowed: watch::Sender<u64>,
    /// No connection lasts, and none is made.
    cut_off: watch::Sender<bool>,
    /// How many connections came.
    accepted: AtomicU64,
    /// What the first so many send is dropped without a word.
    forgotten: AtomicU64,
}

impl Proxy {
    pub(crate) async fn start(address: String) -> Self {
        Self::start_at(0, address).await
    }

    /// At a port that was free; 0 for any.
    pub(crate) async fn start_at(port: u16, address: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let switch = Arc::new(Switch::default());
        let task = tokio::spawn(accept(listener, address, switch.clone()));
        Self { url, switch, task }
    }

    /// The next `count` replies to calls do not arrive: the server has executed, the connection is cut instead. What a store
    /// asks by itself, to connect or to check a connection, is answered: it does so at any time.
    pub(crate) fn cut_replies(&self, count: u64) {
        self.cut_replies_after(0, count);
    }

    /// The same for the replies that come after the next `skips`.
    pub(crate) fn cut_replies_after(&self, skips: u64, count: u64) {
        self.switch.skips.store(skips, Ordering::SeqCst);
        self.switch.cuts.store(count, Ordering::SeqCst);
    }

    /// Replies no longer arrive, and nothing is cut: the server seems to hang.
    pub(crate) fn silence(&self, silent: bool) {
        self.switch.silent.store(silent, Ordering::SeqCst);
    }

    /// The same once so many replies came through. What was swallowed is counted from here on.
    pub(crate) fn silence_after(&self, replies: u64) {
        self.switch.passes.store(replies, Ordering::SeqCst);
        self.switch.swallowed.send_replace(0);
        self.silence(true);
    }

    /// No connection lasts, and none is made: the server is out of reach.
    pub(crate) fn cut_off(&self, cut_off: bool) {
        self.switch.cut_off.send_replace(cut_off);
    }

    /// The connections that there are stay open, and nothing that is sent on them arrives any more: so does a load balancer
    /// that dropped them. New ones are served.
    pub(crate) fn forget_connections(&self) {
        self.switch.forgotten.store(self.accepted(), Ordering::SeqCst);
    }

    /// How many connections came so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.switch.accepted.load(Ordering::SeqCst)
    }

    /// What comes is kept back from now on, until it is let go: then it arrives together.
    pub(crate) fn hold(&self, held: bool) {
        self.switch.kept_back.send_replace(Vec::new());
        self.switch.held.send_replace(held);
    }

    /// Waits until what is kept back has this in it.
    pub(crate) async fn holds(&self, text: &[u8]) {
        self.switch.kept_back.subscribe().wait_for(|kept| contains(kept, text)).await.unwrap();
    }

    /// How many replies were swallowed.
    pub(crate) fn swallowed(&self) -> u64 {
        *self.switch.swallowed.borrow()
    }

    /// Waits until a reply is swallowed.
    pub(crate) async fn swallows(&self) {
        self.switch.swallowed.subscribe().wait_for(|swallowed| *swallowed > 0).await.unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_call(mut bytes: &[u8]) -> bool {
    while let Some(rest) = BESIDE_CALLS.iter().find_map(|asked| bytes.strip_prefix(*asked)) {
        bytes = rest;
    }
    !bytes.is_empty() && !OF_THE_STORE.iter().any(|command| contains(bytes, command))
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

async fn accept(listener: TcpListener, address: String, switch: Arc<Switch>) {
    let mut pipes = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        let nth = switch.accepted.fetch_add(1, Ordering::SeqCst);
        if *switch.cut_off.borrow() {
            continue;
        }
        let Ok(server) = TcpStream::connect(&address).await else {
            continue;
        };
        pipes.spawn(pipe(client, server, nth, switch.clone()));
    }
}

/// Passes bytes on both ways until either side ends or is cut off, or a reply is to be cut.
async fn pipe(client: TcpStream, server: TcpStream, nth: u64, switch: Arc<Switch>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut cut_off = switch.cut_off.subscribe();
    // Whether a call was passed on and not answered yet.
    let called = AtomicBool::new(false);
    let requests = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let is_forgotten = nth < switch.forgotten.load(Ordering::SeqCst);
            if !is_forgotten && to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            if is_call(&buffer[..length]) {
                called.store(true, Ordering::SeqCst);
            }
        }
    };
    let replies = async {
        let mut buffer = vec![0; 64 * 1024];
        let mut held = switch.held.subscribe();
        loop {
            let Ok(mut length @ 1..) = from_server.read(&mut buffer).await else {
                return;
            };
            while *held.borrow_and_update() {
                switch.kept_back.send_modify(|kept| *kept = buffer[..length].to_vec());
                tokio::select! {
                    Ok(more @ 1..) = from_server.read(&mut buffer[length..]) => length += more,
                    _ = held.changed() => {}
                }
            }
            let take_one = |left: u64| left.checked_sub(1);
            let take =
                |left: &AtomicU64| left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok();
            if called.swap(false, Ordering::SeqCst) && !take(&switch.skips) && take(&switch.cuts) {
                switch.swallowed.send_modify(|swallowed| *swallowed += 1);
                return;
            }
            if switch.silent.load(Ordering::SeqCst) && !take(&switch.passes) {
                switch.swallowed.send_modify(|swallowed| *swallowed += 1);
                continue;
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = replies => {}
        _ = cut_off.wait_for(|cut_off| *cut_off) => {}
    }
}
