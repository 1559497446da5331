//! A TCP proxy that knows each request and each reply: it can lose one, let half a request arrive and the rest later,
//! and change a request.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::resp;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    /// It is executed, its reply is lost, and the connection with it.
    LoseReply,
    /// The connection ends before it arrives.
    LoseRequest,
    /// So many thousandths of it arrive, and the client loses its connection. The rest comes when it is released.
    Hold(u16),
    /// It arrives, and the server is told to end its connection.
    Kill,
    /// It waits until the wire goes on.
    Wait,
    /// It is executed, its reply is lost on the way, and something on the way sends it again, once the wire goes on: the
    /// client sees one call with the reply of the second execution.
    Twice,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    pub(super) fault: Fault,
    /// Of those that are aimed at, so many are let through first.
    pub(super) skips: u32,
    /// And so many are hit.
    pub(super) times: u32,
    pub(super) at: At,
    /// What comes behind the fault waits until the wire goes on.
    pub(super) then_wait: bool,
}

/// What kind of request is aimed at.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Scripts,
    /// Those and reads.
    Calls,
}

/// Changes the words of a request.
pub(super) type Rewrite = Arc<dyn Fn(&mut Vec<Vec<u8>>) + Send + Sync>;

/// A proxy.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    server: watch::Sender<String>,
    aim: Mutex<Option<Aim>>,
    fired: watch::Sender<u64>,
    waiting: watch::Sender<bool>,
    held: Mutex<Vec<Held>>,
    rewrite: Option<Rewrite>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("aim", &self.aim).finish_non_exhaustive()
    }
}

/// A request of which a part has arrived.
struct Held {
    from_server: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    replies: Vec<u8>,
    /// Replies that the server owes for what came before.
    owed: u64,
    rest: Vec<u8>,
}

impl Wire {
    pub(super) async fn start(server: String, rewrite: Option<Rewrite>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let state = Arc::new(State {
            server: watch::Sender::new(server),
            aim: Mutex::default(),
            fired: watch::Sender::default(),
            waiting: watch::Sender::default(),
            held: Mutex::default(),
            rewrite,
        });
        let task = tokio::spawn(accept(listener, state.clone()));
        Self { url, state, task }
    }

    /// Leads to another server from now on: all connections end.
    pub(super) fn switch(&self, server: String) {
        self.state.server.send_replace(server);
    }

    pub(super) fn aim(&self, aim: Aim) {
        *self.state.aim.lock().unwrap() = Some(aim);
    }

    /// What was aimed at and did not come is let through.
    pub(super) fn rest(&self) {
        *self.state.aim.lock().unwrap() = None;
    }

    /// How many requests were hit.
    pub(super) fn fired(&self) -> u64 {
        *self.state.fired.borrow()
    }

    /// Waits until one more is hit than were before.
    pub(super) async fn fires(&self, before: u64) {
        self.state.fired.subscribe().wait_for(|fired| *fired > before).await.unwrap();
    }

    /// What waits goes on.
    pub(super) fn go_on(&self) {
        self.state.waiting.send_replace(false);
    }

    /// The rest of what is held arrives, in the order in which it was held, and is executed.
    pub(super) async fn release(&self) {
        let held = std::mem::take(&mut *self.state.held.lock().unwrap());
        for held in held {
            held.arrive().await;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    /// An end of the connection is no failure: then it was not executed, or its reply is of no interest.
    async fn arrive(mut self) {
        if self.to_server.write_all(&self.rest).await.is_err() {
            return;
        }
        let mut left = self.owed + 1;
        loop {
            while let Some(end) = resp::end(&self.replies) {
                self.replies.drain(..end);
                left -= 1;
                if left == 0 {
                    return;
                }
            }
            if !matches!(self.from_server.read_buf(&mut self.replies).await, Ok(1..)) {
                return;
            }
        }
    }
}

impl Fault {
    /// Those of random histories.
    pub(super) const RANDOM: [Self; 4] = [Self::LoseReply, Self::LoseRequest, Self::Hold(500), Self::Kill];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LoseReply => "reply lost",
            Self::LoseRequest => "request lost",
            Self::Hold(_) => "half sent",
            Self::Kill => "connection killed",
            Self::Wait => "waits",
            Self::Twice => "sent twice",
        }
    }
}

impl At {
    fn is(self, command: &str) -> bool {
        match self {
            Self::Scripts => command == "EVALSHA",
            Self::Calls => is_call(command),
        }
    }
}

/// Whether it is no part of making or probing a connection.
fn is_call(command: &str) -> bool {
    !["PING", "CLIENT", "HELLO", "TIME", "SELECT", "INFO", "ROLE", "SCRIPT", "MULTI", "EXEC"]
        .contains(&command)
}

impl State {
    /// What happens to this request, and whether what comes behind waits.
    fn fault(&self, command: &str) -> Option<Aim> {
        let mut aimed = self.aim.lock().unwrap();
        let aim = aimed.as_mut().filter(|aim| aim.at.is(command))?;
        if let Some(left) = aim.skips.checked_sub(1) {
            aim.skips = left;
            return None;
        }
        aim.times -= 1;
        let aim = *aim;
        if aim.times == 0 {
            *aimed = None;
        }
        Some(aim)
    }

    fn fire(&self, aim: Aim) {
        if aim.then_wait {
            self.waiting.send_replace(true);
        }
        self.fired.send_modify(|fired| *fired += 1);
    }

    /// Until the wire goes on.
    async fn wait(&self) {
        self.waiting.subscribe().wait_for(|waiting| !*waiting).await.unwrap();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut carriers = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        while carriers.try_join_next().is_some() {}
        let address = state.server.borrow().clone();
        let Ok(server) = TcpStream::connect(&address).await else {
            continue;
        };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        carriers.spawn(carry(client, server, state.clone()));
    }
}

/// Carries requests and replies until either side ends, or a fault ends it.
async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let own_address = server.local_addr().unwrap().to_string();
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let mut switched = state.server.subscribe();
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    let mut link = Link { state, own_address, to_client, to_server, sent: 0, answered: 0, lost: None };
    loop {
        let end = tokio::select! {
            read = from_client.read_buf(&mut requests) => match read {
                Ok(1..) => link.pass_requests(&mut requests).await,
                _ => Some(Cut::Both),
            },
            read = from_server.read_buf(&mut replies) => match read {
                Ok(1..) => link.pass_replies(&mut replies).await,
                _ => Some(Cut::Both),
            },
            _ = switched.changed() => Some(Cut::Both),
        };
        match end {
            None => {}
            Some(Cut::Both) => return,
            Some(Cut::Client { aim, rest }) => {
                let Link { state, to_server, sent, answered, .. } = link;
                let held = Held { from_server, to_server, replies, owed: sent - answered, rest };
                state.held.lock().unwrap().push(held);
                state.fire(aim);
                return;
            }
        }
    }
}

/// How a connection ends.
enum Cut {
    Both,
    /// That to the server stays, with the rest of a request to be sent.
    Client {
        aim: Aim,
        rest: Vec<u8>,
    },
}

/// Both ways of a connection.
struct Link {
    state: Arc<State>,
    /// As the server sees it.
    own_address: String,
    to_client: OwnedWriteHalf,
    to_server: OwnedWriteHalf,
    sent: u64,
    answered: u64,
    /// Which reply does not arrive, and the request that it answers.
    lost: Option<(u64, Aim, Vec<u8>)>,
}

impl Link {
    /// Passes on the requests that have come whole.
    async fn pass_requests(&mut self, requests: &mut Vec<u8>) -> Option<Cut> {
        while let Some(end) = resp::end(requests) {
            let request = requests.drain(..end).collect();
            let cut = self.pass_request(request).await;
            if cut.is_some() {
                return cut;
            }
        }
        None
    }

    async fn pass_request(&mut self, mut request: Vec<u8>) -> Option<Cut> {
        let mut words = resp::words(&request);
        if let Some(rewrite) = &self.state.rewrite {
            rewrite(&mut words);
            request = resp::request(&words);
        }
        let command = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
        if is_call(&command) || command == "SCRIPT" {
            self.state.wait().await;
        }
        let aim = self.state.fault(&command);
        match aim {
            Some(aim) if aim.fault == Fault::LoseRequest => {
                self.state.fire(aim);
                return Some(Cut::Both);
            }
            Some(aim @ Aim { fault: Fault::Hold(thousandths), .. }) => {
                let part = request.len() * usize::from(thousandths) / 1000;
                let rest = request.split_off(part.clamp(1, request.len() - 1));
                let _ = self.to_server.write_all(&request).await;
                return Some(Cut::Client { aim, rest });
            }
            Some(aim) if aim.fault == Fault::Wait => {
                self.state.fire(aim);
                self.state.wait().await;
            }
            _ => {}
        }
        if self.to_server.write_all(&request).await.is_err() {
            return Some(Cut::Both);
        }
        self.sent += 1;
        match aim {
            Some(aim) if aim.fault == Fault::Kill => {
                tokio::spawn(kill(self.state.server.borrow().clone(), self.own_address.clone()));
                self.state.fire(aim);
            }
            Some(aim) if matches!(aim.fault, Fault::LoseReply | Fault::Twice) => {
                self.lost = Some((self.sent, aim, request));
            }
            _ => {}
        }
        None
    }

    /// Passes on the replies that have come whole.
    async fn pass_replies(&mut self, replies: &mut Vec<u8>) -> Option<Cut> {
        while let Some(end) = resp::end(replies) {
            let reply: Vec<u8> = replies.drain(..end).collect();
            self.answered += 1;
            let answered = self.answered;
            let passed = match self.lost.take_if(|(number, ..)| *number == answered) {
                None => self.to_client.write_all(&reply).await,
                Some((_, aim, request)) => {
                    self.state.fire(aim);
                    if aim.fault == Fault::LoseReply {
                        return Some(Cut::Both);
                    }
                    self.state.wait().await;
                    self.answered -= 1;
                    self.to_server.write_all(&request).await
                }
            };
            if passed.is_err() {
                return Some(Cut::Both);
            }
        }
        None
    }
}

/// Tells a server to end the connection that comes from an address.
async fn kill(server: String, address: String) {
    let Ok(mut connection) = TcpStream::connect(server).await else {
        return;
    };
    let words = ["CLIENT", "KILL", "ADDR", &address].map(|word| word.as_bytes().to_vec());
    let _ = connection.write_all(&resp::request(&words)).await;
    let _ = connection.read_u8().await;
}
