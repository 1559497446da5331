//! The pool: a few places, each with a multiplexed connection that any number of calls share. A call takes a clone and
//! holds nothing, so a pool of four serves any number of calls.
//!
//! The pool maintains its connections itself, not in callers' futures. Tasks check whether a connection is alive and
//! make the next one, and end by themselves, whatever the deadlines of waiting calls are. (bb8 checks a connection in
//! the future of the caller that takes it, which drops the check at its deadline; and it cannot replace a connection
//! that may still answer.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis::RedisError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::redis::transport::connection::Connection;
use crate::redis::transport::connector::{Connector, Use};
use crate::redis::transport::delivery::{Unavailable, timed_out};
use crate::redis::transport::ear::Ear;
use crate::redis::transport::place::{Place, Turn};
use crate::store::meter;

/// How many extra connections there are for large requests.
const FOR_LARGE: u32 = 2;

/// The connections of a store.
#[derive(Debug)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Arc<Connector>,
    of: Use,
    places: Box<[Place]>,
    /// The place at which the next search begins.
    next: AtomicUsize,
    /// How many connections were put into places.
    made: AtomicU64,
    /// The last failed attempt, for the calls that wait; `None` once a connection was made.
    failure: watch::Sender<Option<Failure>>,
}

/// A failed attempt to make a connection.
#[derive(Clone, Debug)]
struct Failure {
    began: Instant,
    cause: Arc<RedisError>,
}

impl Pool {
    /// A pool of up to `size` connections, which are made when needed.
    pub(crate) fn new(connector: Connector, size: u32) -> Self {
        Self::of(Use::Shared, Arc::new(connector), size)
    }

    fn of(of: Use, connector: Arc<Connector>, size: u32) -> Self {
        let places = (0..size).map(|_| Place::default()).collect();
        let (failure, _) = watch::channel(None);
        let (next, made) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { connector, of, places, next, made, failure }))
    }

    /// A pool of a single connection to the same server.
    pub(crate) fn alone(&self) -> Self {
        Self::of(Use::Alone, self.0.connector.clone(), 1)
    }

    /// The pool for large requests. Requests and replies on a connection come one after another, so one of some
    /// megabytes would hold up everything behind it. A caller with a connection of its own keeps using that.
    pub(crate) fn for_large(self: &Arc<Self>) -> Arc<Self> {
        match self.0.of {
            Use::Shared => Arc::new(Self::of(Use::Shared, self.0.connector.clone(), FOR_LARGE)),
            Use::Alone => self.clone(),
        }
    }

    /// A pool of a single connection on which the server reports changes.
    pub(crate) fn listening(&self, ear: Arc<Ear>) -> Self {
        Self::of(Use::Alone, Arc::new(self.0.connector.listening(ear)), 1)
    }

    /// The connection in the first place, and how many were made so far.
    pub(crate) fn first(&self) -> Option<(Connection, u64)> {
        // In this order, so that a connection that comes in between is not taken for the one before.
        let connection = self.0.places.first()?.connection()?;
        Some((connection, self.0.made.load(Ordering::Acquire)))
    }

    /// How long a connection may stay silent before it is given up.
    pub(crate) fn silence(&self) -> Duration {
        self.0.connector.siblings().silence()
    }

    /// A connection to send on.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<Connection, Unavailable> {
        match self.0.choose() {
            Some(connection) => Ok(connection),
            // The waiting part is boxed: it is large and rare, and would enlarge each call's future.
            None => Box::pin(self.0.wait(deadline)).await,
        }
    }

    /// Why there was no connection in time.
    pub(crate) fn late(&self) -> Unavailable {
        self.0.late()
    }

    /// Whether there is a connection that is not known to be broken.
    pub(crate) fn is_connected(&self) -> bool {
        let is_there = |connection: Option<&Connection>| connection.is_some_and(|it| !it.is_broken());
        self.0.places.iter().any(|place| place.look(is_there))
    }

    /// A time that the server's clock has passed, as far as that is known without asking.
    pub(crate) fn known_time(&self) -> Option<u64> {
        let now = std::time::Instant::now();
        let known = |connection: &Connection| connection.clock().no_later_than(now);
        self.0.places.iter().find_map(|place| place.look(|connection| connection.and_then(known)))
    }
}

impl Shared {
    /// Chooses the sound connection on which the fewest calls wait, so that a large reply holds up only earlier calls.
    /// It also starts checks and replacements of the others, and one more connection if all are in use.
    fn choose(self: &Arc<Self>) -> Option<Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut best, mut empty, mut is_one_on_its_way) = (None, None, false);
        for nth in 0..self.places.len() {
            let at = first.wrapping_add(nth) % self.places.len();
            let place = &self.places[at];
            let mut calls = None;
            place.look(|connection| match connection {
                Some(connection) if connection.is_sound() => calls = Some(connection.calls()),
                Some(connection) if connection.is_to_be_replaced() => self.fill(at),
                Some(connection) => connection.ask(),
                None if place.is_being_filled() => is_one_on_its_way = true,
                None => empty = empty.or(Some(at)),
            });
            if calls == Some(0) {
                return place.connection();
            }
            if let Some(calls) = calls
                && best.is_none_or(|(fewest, _)| calls < fewest)
            {
                best = Some((calls, at));
            }
        }
        if let Some(at) = empty.filter(|_| !is_one_on_its_way) {
            self.fill(at);
        }
        best.and_then(|(_, at)| self.places[at].connection())
    }

    fn is_one_asked(&self) -> bool {
        self.places.iter().any(|place| place.look(|connection| connection.is_some_and(Connection::is_asked)))
    }

    /// Starts to make a connection for a place, unless another task does.
    fn fill(self: &Arc<Self>, at: usize) {
        if let Some(turn) = self.places[at].turn() {
            tokio::spawn(Filling { shared: self.clone(), at, turn: Some(turn), is_over: false }.run());
        }
    }

    fn late(&self) -> Unavailable {
        let known = self.failure.borrow().clone().map(|failure| failure.cause);
        Unavailable::late(known.unwrap_or_else(|| Arc::new(timed_out(SILENT))))
    }

    fn failed(&self, began: Instant, error: RedisError) {
        self.failure.send_replace(Some(Failure { began, cause: Arc::new(error) }));
    }

    async fn wait(self: &Arc<Self>, deadline: Instant) -> Result<Connection, Unavailable> {
        let _waits = meter::PENDING.hold();
        let (came, mut failure) = (Instant::now(), self.failure.subscribe());
        loop {
            let mut woken = std::pin::pin!(self.connector.siblings().woken());
            // From here on it will be woken, so no connection is missed between the look and the wait.
            woken.as_mut().enable();
            if let Some(connection) = self.choose() {
                return Ok(connection);
            }
            tokio::select! {
                biased;
                // A runtime that ends drops spawned tasks at once, which wakes this loop. Without a pause the call
                // would loop for ever and hold up the end.
                () = woken => tokio::task::yield_now().await,
                Ok(()) = failure.changed() => {
                    // An attempt that began earlier says nothing about now.
                    let told = failure.borrow_and_update().clone().filter(|failure| failure.began >= came);
                    // If another connection is being checked, its answer may come first.
                    if let Some(failure) = told
                        && !self.is_one_asked()
                    {
                        return Err(Unavailable::connect(failure.cause));
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    meter::TIMEOUTS.add(1, &[]);
                    return Err(self.late());
                }
            }
        }
    }
}

const SILENT: &str =
    "the server is silent: no new connection was made and no existing one answered before the deadline";

/// A connection that is being made for a place.
struct Filling {
    shared: Arc<Shared>,
    at: usize,
    turn: Option<Turn>,
    is_over: bool,
}

impl Filling {
    async fn run(mut self) {
        if let Some(turn) = &mut self.turn {
            turn.wait().await;
        }
        let (began, beginning) = (Instant::now(), meter::Beginning::now());
        let made = self.shared.connector.connect(self.shared.of).await;
        let outcome = if made.is_ok() { "ok" } else { "error" };
        meter::CONNECT.record(&beginning, &[(meter::OUTCOME, outcome)]);
        self.is_over = true;
        // The turn ends first, because a woken waiter begins the next.
        self.turn = None;
        match made {
            Ok(connection) => {
                if self.shared.places[self.at].put(connection) {
                    self.shared.made.fetch_add(1, Ordering::Release);
                }
                self.shared.failure.send_if_modified(|failure| {
                    *failure = None;
                    false
                });
                self.shared.connector.siblings().wake();
            }
            Err(error) => {
                tracing::debug!(%error, "could not connect to redis");
                self.shared.failed(began, error);
            }
        }
    }
}

/// If the end of its runtime cancels it, the calls that wait in another runtime start it again.
impl Drop for Filling {
    fn drop(&mut self) {
        // The turn ends first.
        self.turn = None;
        if !self.is_over {
            self.shared.connector.siblings().wake();
        }
    }
}
