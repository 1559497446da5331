//! One multiplexed connection, and what it finds out about itself.

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
    /// Of the server that it leads to.
    role: Arc<Role>,
    /// If sentinels named it.
    named: Option<Arc<Named>>,
    /// Of the same.
    clock: Arc<ServerClock>,
    /// If the server tells of changes on it.
    held: Option<Held>,
}

impl Connection {
    /// Of a server that told its role just now.
    pub(crate) fn new(link: MultiplexedConnection, role: Role, siblings: Arc<Siblings>) -> Self {
        let health = Arc::new(Health::new(siblings.alarms()));
        Self { link, health, siblings, role: Arc::new(role), named: None, clock: Arc::default(), held: None }
    }

    /// Sentinels named its server, if any did.
    pub(crate) fn named(mut self, named: Option<Named>) -> Self {
        self.named = named.map(Arc::new);
        self
    }

    /// The server tells of changes on it.
    pub(crate) fn tracked(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// The same connection, for a task that ends with the last who holds it.
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

    /// The server told its time, in the answer to something that was sent then. `None`: that was no time.
    pub(crate) fn told_time(&self, sent: Instant, time: &Value) -> Option<u64> {
        let time_ms = time_ms(time)?;
        self.clock.saw(time_ms);
        self.held.iter().for_each(|held| held.tracked.answered(sent.into_std(), time_ms));
        Some(time_ms)
    }

    /// Asks the server for its time, and notes it.
    pub(crate) async fn ask_time(&self, deadline: Instant) -> Delivery<()> {
        let (mut link, sent) = (self.link.clone(), Instant::now());
        let time = redis::cmd("TIME");
        let asked = self.outcome(pin!(time.query_async(&mut link)), deadline).await;
        asked.map(|time: Value| {
            self.told_time(sent, &time);
        })
    }

    /// Sends commands in one pipeline, of which the server may refuse some.
    pub(crate) async fn replies(
        &self,
        pipeline: &Pipeline,
        deadline: Instant,
    ) -> Delivery<Vec<RedisResult<Value>>> {
        let mut link = self.link.clone();
        self.outcome(pin!(pipeline.query_async(&mut link)), deadline).await
    }

    /// Whether nothing speaks against it: neither its own replies nor those of others of the pool.
    pub(crate) fn is_sound(&self) -> bool {
        self.health.is_sound_at(self.siblings.alarms())
    }

    /// How long nothing was heard on it.
    pub(crate) fn silence(&self) -> Duration {
        self.health.heard().elapsed()
    }

    /// Whether another has to take its place.
    pub(crate) fn is_to_be_replaced(&self) -> bool {
        matches!(self.health.condition(), Condition::Suspect | Condition::Broken)
    }

    /// Whether it has to answer before anything is sent on it.
    pub(crate) fn is_asked(&self) -> bool {
        self.health.condition() == Condition::Asked
    }

    /// A reply took so long.
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

    /// Has it answer before anything is sent on it.
    pub(crate) fn ask(&self) {
        let _ = self.health.turn(Condition::Sound, Condition::Asked);
        // Also where the check that was begun has ended with its runtime.
        if self.health.condition() == Condition::Asked {
            self.check(Instant::now());
        }
    }

    /// What becomes of something that was sent on this connection, and what that says about the connection.
    ///
    /// Cancellation safety: what is dropped here may still run at the server, whole or not at all.
    pub(crate) async fn outcome<T>(
        &self,
        sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Delivery<T> {
        let _waits = self.health.call();
        // Boxed, for it is large and rare.
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

    /// The same as `answer`, and the server is asked right before whether it is still the master. If not, what it answers is
    /// an error of the connection.
    ///
    async fn answer_of_the_master<T>(
        &self,
        sent: Pin<&mut impl Future<Output = RedisResult<T>>>,
        deadline: Instant,
    ) -> Option<RedisResult<T>> {
        // Asked meanwhile.
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
            // Mostly it is here. It comes later where the answer is to something that was sent before.
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
        tracing::debug!("what a server answers that is not the master does not count");
        self.give_up();
        match answer {
            Some(Err(refused)) if is_not_the_master(&refused) => Some(Err(refused)),
            _ => {
                let told = "the server that answered is not the master any more";
                Some(Err(std::io::Error::other(told).into()))
            }
        }
    }

    /// The answer to what was sent, an error of the connection included; `None` at the deadline.
    ///
    /// A call that is queued in the very moment in which its connection ends is forgotten in the queue (a tokio channel
    /// frees what comes after its receiver only with its last sender, and the call holds one): redis-rs gives it
    /// neither reply nor error. Another command on the same connection fails at once, so a late reply is asked after.
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
        // Boxed, for it is large and rare.
        Box::pin(late).await
    }

    /// Ends when the connection is found dead, with the error. However many calls wait, one task checks.
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
            // It answers others. A call that is forgotten in the queue never is.
            tokio::time::sleep(PING_AGAIN).await;
        }
    }

    /// What a check of the connection finds, which was silent since then. One is begun where there is none.
    fn check(&self, silent_since: Instant) -> watch::Receiver<Death> {
        self.health.check(|found| {
            tokio::spawn(check(self.clone(), silent_since, found));
        })
    }

    /// A reply came.
    fn answered(&self) {
        self.health.hears();
        if self.health.turn(Condition::Suspect, Condition::Sound) {
            self.siblings.wake();
        }
    }

    /// A reply did not come in time: another connection takes the place of this one for what is sent from now on. A check
    /// finds out whether it is slow or dead, whoever waits for that.
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

    /// It answered a check that began at so many alarms.
    fn found_sound(&self, alarms: u64) {
        self.health.mark_sound(alarms);
        self.siblings.wake();
    }

    /// Nothing is sent on it any more, and what was read on it counts no more.
    fn give_up(&self) {
        self.held.iter().for_each(|held| held.tracked.end());
        if self.health.mark_broken() {
            self.siblings.alarm();
            self.siblings.wake();
        }
    }

    /// Notes an error, if it says that the connection is of no more use: broken, or to a server that does not take
    /// our writes, so that the next connection may lead to the one that does.
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

/// Asks by PING until there is an answer, or an error, or silence for too long. It goes on whether or not anybody waits for
/// what it finds.
async fn check(connection: Connection, silent_since: Instant, found: Arc<watch::Sender<Death>>) {
    let silence = connection.siblings.silence();
    let mut silent_since = silent_since;
    loop {
        // Replies to something else may come while the answer to this waits behind them.
        silent_since = silent_since.max(connection.health.heard());
        let suspect_at = silent_since + connection.patience();
        let alarms = connection.siblings.alarms();
        let (mut link, ping) = (connection.link.clone(), redis::cmd("PING"));
        let mut answer = pin!(ping.query_async::<()>(&mut link));
        if let Ok(answer) = tokio::time::timeout_at(suspect_at, &mut answer).await {
            return judge(&connection, alarms, answer, found);
        }
        connection.suspect(silent_since);
        // A PING that is itself forgotten in the queue is followed by another.
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
            // First this check is over, for whoever is woken may begin the next.
            drop(found);
            connection.found_sound(alarms);
        }
    }
}
