//! One multiplexed connection, and its checks of itself.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::redis::transport::delivery::{Delivery, timed_out};
use crate::redis::transport::health::{Condition, Death, Health};
use crate::redis::transport::role::{NOT_THE_MASTER, Role};
use crate::redis::transport::sentinels::Named;
use crate::redis::transport::server_clock::{ServerClock, time_ms};
use crate::redis::transport::server_error::server_code;
use crate::redis::transport::siblings::Siblings;
use crate::redis::transport::tracked::{Held, Tracked};

/// Between two PINGs of a check.
const PING_AGAIN: Duration = Duration::from_secs(1);

/// One multiplexed connection, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) link: MultiplexedConnection,
    health: Arc<Health>,
    siblings: Arc<Siblings>,
    /// The role of its server.
    role: Arc<Role>,
    /// Set if sentinels named its server.
    named: Option<Arc<Named>>,
    /// The clock of its server.
    clock: Arc<ServerClock>,
    /// Set if the server reports changes on it.
    held: Option<Held>,
}

impl Connection {
    /// A connection to a server that has just reported its role.
    pub(crate) fn new(link: MultiplexedConnection, role: Role, siblings: Arc<Siblings>) -> Self {
        let health = Arc::new(Health::new(siblings.alarms()));
        Self { link, health, siblings, role: Arc::new(role), named: None, clock: Arc::default(), held: None }
    }

    /// Sets that sentinels named its server, if they did.
    pub(crate) fn named(mut self, named: Option<Named>) -> Self {
        self.named = named.map(Arc::new);
        self
    }

    /// Sets that the server reports changes on it.
    pub(crate) fn tracked(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// The same connection, for a task that ends with the last holder.
    pub(crate) fn unheld(&self) -> Self {
        Self { held: None, ..self.clone() }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.health.condition() == Condition::Broken
    }

    pub(crate) fn tracking(&self) -> Option<&Arc<Tracked>> {
        self.held.as_ref().map(|held| &held.tracked)
    }

    pub(crate) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Records the server's time, from the answer to a request that was sent at an instant. `None`: the
    /// answer was not a time.
    pub(crate) fn told_time(&self, sent: Instant, time: &Value) -> Option<u64> {
        let time_ms = time_ms(time)?;
        self.clock.saw(time_ms);
        self.held.iter().for_each(|held| held.tracked.answered(sent.into_std(), time_ms));
        Some(time_ms)
    }

    /// Asks the server for its time, and records it.
    pub(crate) async fn ask_time(&self, deadline: Instant) -> Delivery<()> {
        let (mut link, sent) = (self.link.clone(), Instant::now());
        let time = redis::cmd("TIME");
        let asked = self.outcome(pin!(time.query_async(&mut link)), deadline).await;
        asked.map(|time: Value| {
            self.told_time(sent, &time);
        })
    }

    /// Sends commands in one pipeline. The server may refuse some of them.
    pub(crate) async fn replies(
        &self,
        pipeline: &Pipeline,
        deadline: Instant,
    ) -> Delivery<Vec<RedisResult<Value>>> {
        let mut link = self.link.clone();
        self.outcome(pin!(pipeline.query_async(&mut link)), deadline).await
    }

    /// Whether it is sound by its own replies and by those of other connections of the pool.
    pub(crate) fn is_sound(&self) -> bool {
        self.health.is_sound_at(self.siblings.alarms())
    }

    /// How long it has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.health.heard().elapsed()
    }

    /// Whether another connection must replace it.
    pub(crate) fn is_to_be_replaced(&self) -> bool {
        matches!(self.health.condition(), Condition::Suspect | Condition::Broken)
    }

    /// Whether it must answer a check before anything is sent on it.
    pub(crate) fn is_asked(&self) -> bool {
        self.health.condition() == Condition::Asked
    }

    /// Records how long a reply took.
    pub(crate) fn took(&self, round_trip: Duration) {
        self.health.took(round_trip);
    }

    /// How long a reply may take before it is suspect.
    fn patience(&self) -> Duration {
        self.health.patience(self.siblings.silence())
    }

    /// How many calls wait for a reply on it.
    pub(crate) fn calls(&self) -> usize {
        self.health.calls()
    }

    /// Makes it answer a check before anything is sent on it.
    pub(crate) fn ask(&self) {
        let _ = self.health.turn(Condition::Sound, Condition::Asked);
        // Also if the check that was begun has ended with its runtime.
        if self.health.condition() == Condition::Asked {
            self.check(Instant::now());
        }
    }

    /// Waits for the outcome of a request on this connection, and learns from it about the connection.
    ///
    /// Cancellation safety: if this is dropped, the server may still run the request, whole or not at all.
    pub(crate) async fn outcome<T>(
        &self,
        sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Delivery<T> {
        let _waits = self.health.call();
        // Boxed, because it is large and rare.
        let is_due = self.role.is_due() || self.named.as_ref().is_some_and(|named| named.is_due());
        let answer = if is_due {
            Box::pin(self.answer_of_the_master(sent, deadline)).await
        } else {
            self.answer(sent, deadline).await
        };
        match answer {
            Some(Ok(answer)) => {
                self.answered();
                Delivery::Answered(answer)
            }
            Some(Err(error)) => {
                self.note(&error);
                if server_code(&error).is_some() { Delivery::Refused(error) } else { Delivery::Lost(error) }
            }
            None => Delivery::Late,
        }
    }

    /// As `answer`, but asks the server right before whether it is still the master. If not, the answer counts as an
    /// error of the connection.
    ///
    async fn answer_of_the_master<T>(
        &self,
        sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Option<RedisResult<T>> {
        // The sentinels are asked meanwhile.
        let still_named = self.named.as_ref().map(|named| named.ask(self.patience(), deadline));
        let mut link = self.link.clone();
        let mut asked = pin!(self.role.ask(&mut link));
        let mut answer = pin!(self.answer(sent, deadline));
        let (mut role, answer) = tokio::select! {
            biased;
            role = asked.as_mut() => (Some(role), answer.await),
            answer = answer.as_mut() => (None, answer),
        };
        if role.is_none() && answer.as_ref().is_some_and(is_of_server) {
            // Usually it is here by now. It comes later if the answer belongs to an earlier request.
            match tokio::time::timeout_at(deadline, asked).await {
                Ok(told) => role = Some(told),
                Err(_) => return None,
            }
        }
        if !answer.as_ref().is_some_and(is_of_server) {
            return answer;
        }
        let is_master = match (role, still_named) {
            (Some(Err(_)), _) => false,
            (_, Some(still_named)) => still_named.await,
            (_, None) => true,
        };
        if is_master {
            return answer;
        }
        tracing::debug!("ignored the answer of a server that is not the master");
        self.give_up();
        match answer {
            Some(Err(refused)) if is_not_the_master(&refused) => Some(Err(refused)),
            _ => {
                let told = "the server that answered is no longer the master";
                Some(Err(std::io::Error::other(told).into()))
            }
        }
    }

    /// The answer to a request, or an error of the connection; `None` at the deadline.
    ///
    /// redis-rs forgets a call that is queued at the very moment at which its connection ends, and gives it neither
    /// reply nor error. (A tokio channel frees what comes after its receiver only with its last sender, and the call
    /// holds one.) Another command on the same connection fails at once, so this checks the connection if a reply is
    /// late.
    async fn answer<T>(
        &self,
        mut sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Option<RedisResult<T>> {
        let began = Instant::now();
        let soon = deadline.min(began + self.patience());
        if let Ok(answer) = tokio::time::timeout_at(soon, &mut sent).await {
            self.health.took(began.elapsed());
            return Some(answer);
        }
        self.suspect(began);
        let late = async {
            tokio::select! {
                biased;
                answer = &mut sent => {
                    self.health.took(began.elapsed());
                    Some(answer)
                }
                error = self.death(began) => Some(Err(error)),
                () = tokio::time::sleep_until(deadline) => None,
            }
        };
        // Boxed, because it is large and rare.
        Box::pin(late).await
    }

    /// Ends with the error when the connection is found dead. However many calls wait, one task checks.
    async fn death(&self, sent: Instant) -> RedisError {
        loop {
            let mut found = self.check(sent);
            if let Ok(death) = found.wait_for(Option::is_some).await
                && let Some(error) = death.clone()
            {
                return error;
            }
            if let Some(error) = self.health.death() {
                return error;
            }
            // It answers other calls. A call that was forgotten in the queue never gets an answer.
            tokio::time::sleep(PING_AGAIN).await;
        }
    }

    /// The result of a check of the connection, which has been silent since an instant. Starts a check if
    /// there is none.
    fn check(&self, silent_since: Instant) -> watch::Receiver<Death> {
        self.health.check(|found| {
            tokio::spawn(check(self.clone(), silent_since, found));
        })
    }

    /// Records that a reply came.
    fn answered(&self) {
        self.health.hears();
        if self.health.turn(Condition::Suspect, Condition::Sound) {
            self.siblings.wake();
        }
    }

    /// Records that a reply did not come in time. From now on another connection takes this one's place. A check finds
    /// out whether it is slow or dead.
    fn suspect(&self, silent_since: Instant) {
        let was_sound = self.health.turn(Condition::Sound, Condition::Suspect);
        if was_sound || self.health.turn(Condition::Asked, Condition::Suspect) {
            self.check(silent_since);
            self.siblings.wake();
        }
        if was_sound {
            self.siblings.alarm();
        }
    }

    /// Records that it answered a check that began at this count of alarms.
    fn found_sound(&self, alarms: u64) {
        self.health.mark_sound(alarms);
        self.siblings.wake();
    }

    /// Stops sending on it. What was read on it no longer counts.
    fn give_up(&self) {
        self.held.iter().for_each(|held| held.tracked.end());
        if self.health.mark_broken() {
            self.siblings.alarm();
            self.siblings.wake();
        }
    }

    /// Records an error that makes the connection useless: it is broken, or its server refuses our writes. Then
    /// the next connection may lead to the right server.
    pub(crate) fn note(&self, error: &RedisError) {
        match server_code(error).as_deref() {
            None | Some(NOT_THE_MASTER | "LOADING" | "MASTERDOWN" | "NOAUTH") => self.give_up(),
            Some(_) => self.answered(),
        }
    }
}

fn is_of_server<T>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().err().is_none_or(|error| server_code(error).is_some())
}

fn is_not_the_master(error: &RedisError) -> bool {
    server_code(error).as_deref() == Some(NOT_THE_MASTER)
}

/// Sends PING until there is an answer, an error, or too long a silence. It goes on even if nobody waits for the
/// result.
async fn check(connection: Connection, silent_since: Instant, found: Arc<watch::Sender<Death>>) {
    let silence = connection.siblings.silence();
    let mut silent_since = silent_since;
    loop {
        // Replies to other requests may come first.
        silent_since = silent_since.max(connection.health.heard());
        let suspect_at = silent_since + connection.patience();
        let alarms = connection.siblings.alarms();
        let (mut link, ping) = (connection.link.clone(), redis::cmd("PING"));
        let mut answer = pin!(ping.query_async::<()>(&mut link));
        if let Ok(answer) = tokio::time::timeout_at(suspect_at, &mut answer).await {
            return judge(&connection, alarms, answer, found);
        }
        connection.suspect(silent_since);
        // If redis-rs forgets this PING in its queue, another follows.
        let again = (silent_since + silence).min(Instant::now() + PING_AGAIN);
        if let Ok(answer) = tokio::time::timeout_at(again, &mut answer).await {
            return judge(&connection, alarms, answer, found);
        }
        if silent_since.max(connection.health.heard()) + silence <= Instant::now() {
            let told = format!("the connection was silent for {silence:?}");
            return judge(&connection, alarms, Err(timed_out(told)), found);
        }
    }
}

fn judge(connection: &Connection, alarms: u64, answer: RedisResult<()>, found: Arc<watch::Sender<Death>>) {
    match answer {
        Err(error) if server_code(&error).is_none() => {
            connection.health.mark_dead(error.clone());
            connection.give_up();
            found.send_replace(Some(error));
        }
        _ => {
            // This check ends first, because a woken waiter may begin the next.
            drop(found);
            connection.found_sound(alarms);
        }
    }
}
