//! One call of a store: its settings, its deadline, its operation id, and the only loop that retries.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::model::{
    Cause, Error, NodeIdentity, Obstacle, OperationId, Refusal, Result, Rules, SessionId, cause, ms,
};
use crate::redis::config::StoreConfig;
use crate::redis::history::History;
use crate::redis::near_cache::NearCache;
use crate::redis::reply::Reply;
use crate::redis::script::{Effect, Script};
use crate::redis::script_error::{ScriptError, may_have_written};
use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::failure;
use crate::redis::transport::read_batcher::{Part, Stamped};
use crate::redis::transport::role::NOT_THE_MASTER;
use crate::redis::transport::sender::Sender;
use crate::redis::transport::server_clock::{ServerClock, time_ms};
use crate::redis::transport::server_error::server_code;
use crate::redis::transport::target::ClockUse;
use crate::redis::transport::tracked::Tracked;
use crate::store::call_span::{CallSpan, System};
use crate::store::meter;
use crate::store::outcome::Outcome;
use crate::stored::keys::Keys;
use crate::stored::partitions::{Partition, Partitions};

/// The result of a read: the server's time, the bytes, and the connection on which the server will report
/// their next change.
type TrackedRead = (u64, Vec<u8>, Option<Arc<Tracked>>);

/// Sessions of up to this size, the default limit, are read in one piece.
const USUAL_BYTES: usize = 256 * 1024;

/// How often one call is sent at most when its connections break. Retrying is safe, so normally the deadline ends
/// it. But a call under which so many connections broke is probably the cause itself.
const ATTEMPTS: u32 = 10;

const NO_REPLY: &str = "no reply before the deadline";

/// How often a call starts over because four other changes of its session came since it began.
const BEGINNINGS: u32 = 32;

/// The answers that prove that an ambiguous call has happened, or can no longer happen. Other refusals may change, and
/// then a late first attempt would still be executed.
const PROOFS: [&str; 9] =
    ["ok", "again", "conflict", "exists", "gone", "moved", "rotated", "departed", "need"];

/// One call of a store.
#[derive(Debug)]
pub(crate) struct Call {
    config: Arc<StoreConfig>,
    sender: Arc<Sender>,
    /// Made when needed: a call that only reads needs none, and randomness takes a system call.
    id: OnceLock<OperationId>,
    /// The node that makes the call as the owner of what it writes.
    identity: Option<NodeIdentity>,
    history: History,
    /// Whether the call changes anything.
    is_change: AtomicBool,
    /// Whether a session records the call's operation id, so that a repeat can find it.
    is_noted: AtomicBool,
    deadline: Instant,
    round_trips: AtomicU32,
    /// How many retries were sent.
    attempts: AtomicU32,
    span: CallSpan,
    /// The partition of the call, once it is known. A call is in one partition.
    partition: OnceLock<Partition>,
}

impl Call {
    pub(crate) fn new(
        config: Arc<StoreConfig>,
        sender: Arc<Sender>,
        name: &'static str,
        id: Option<OperationId>,
        identity: Option<NodeIdentity>,
    ) -> Self {
        let span = CallSpan::begin(System::Redis, name);
        let deadline = Instant::now() + config.deadline;
        let history = History::begin(id.as_ref());
        let id = id.map_or_else(OnceLock::new, OnceLock::from);
        let (is_change, is_noted) = (AtomicBool::new(false), AtomicBool::new(false));
        let (round_trips, attempts, partition) = (AtomicU32::new(0), AtomicU32::new(0), OnceLock::new());
        Self {
            config,
            sender,
            id,
            identity,
            history,
            is_change,
            is_noted,
            deadline,
            round_trips,
            attempts,
            span,
            partition,
        }
    }

    /// The same call with an earlier deadline.
    pub(crate) fn by(self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    pub(crate) fn id(&self) -> OperationId {
        *self.id.get_or_init(OperationId::random)
    }

    /// Adds the arguments of a script that records the call: its operation id and its bound.
    pub(crate) fn operation_arguments(&self, cmd: &mut Cmd) {
        cmd.arg(self.id().as_bytes());
        self.bound_argument(cmd);
    }

    pub(crate) fn bound_argument(&self, cmd: &mut Cmd) {
        cmd.arg(self.history.bound().map(|bound| bound.to_string()).unwrap_or_default());
    }

    /// The operation id for a part of the call. If the call may have happened, so may the part.
    pub(crate) fn id_of_part(&self, id: OperationId) -> OperationId {
        if self.history.doubt().is_some() { id.of_a_repeat() } else { id }
    }

    /// Why an earlier attempt may have happened, if it may.
    pub(crate) fn doubt(&self) -> Option<Cause> {
        self.history.doubt()
    }

    /// Whether this call made all attempts under its operation id.
    pub(crate) fn is_the_only_one(&self) -> bool {
        self.history.is_of_own_id()
    }

    fn bound_by(&self, clock: &ServerClock) {
        match &self.config.clock {
            Some(test) => self.history.bound_by_test_clock(test.now_ms()),
            None => self.history.bound_by(|began| clock.no_later_than(began)),
        }
    }

    pub(crate) fn identity(&self) -> Option<&NodeIdentity> {
        self.identity.as_ref()
    }

    /// The key of the lease under which the call must be made, if any.
    pub(crate) fn fence_key(&self, record_key: &[u8]) -> Vec<u8> {
        self.keys().fence(record_key, self.identity().map_or("", NodeIdentity::node))
    }

    /// Adds the two arguments by which a script records a use.
    pub(crate) fn use_arguments(&self, cmd: &mut Cmd) {
        let rules = self.rules();
        cmd.arg(rules.threshold_thousandths()).arg(ms(rules.touch_interval));
    }

    /// Adds the two arguments that name the lease.
    pub(crate) fn fence_arguments(&self, cmd: &mut Cmd) {
        match self.identity() {
            Some(identity) => cmd.arg(identity.node()).arg(&self.lease_of(identity)),
            None => cmd.arg("").arg(""),
        };
    }

    /// The lease that a node has in the call's partition.
    pub(crate) fn lease_of(&self, identity: &NodeIdentity) -> [u8; 8] {
        self.partitions().lease_of(identity, self.partition())
    }

    /// Records the session of the call in its span, as a hash, because ids are secrets. If the call has no partition
    /// yet, it gets the session's.
    pub(crate) fn about(&self, session: &SessionId) {
        self.partition.get_or_init(|| self.partitions().of(session.as_str()));
        if !self.span.span.is_disabled() {
            self.span.span.record("session", session.short_hash());
        }
    }

    pub(crate) fn partitions(&self) -> &Partitions {
        &self.config.partitions
    }

    /// Sets the partition of the call.
    pub(crate) fn enter(&self, partition: Partition) {
        let entered = *self.partition.get_or_init(|| partition);
        debug_assert_eq!(entered, partition, "a call is in one partition");
    }

    /// The partition of the session, user or walk of the call.
    pub(crate) fn partition(&self) -> Partition {
        let partition = self.partition.get().copied();
        debug_assert!(partition.is_some() || self.partitions().is_one(), "a call that knows no partition");
        partition.unwrap_or_default()
    }

    /// Whether an id is in the call's partition.
    pub(crate) fn is_near(&self, id: &SessionId) -> bool {
        self.partitions().of(id.as_str()) == self.partition()
    }

    /// The keys of its partition.
    pub(crate) fn keys(&self) -> &Keys {
        self.partitions().keys(self.partition())
    }

    pub(crate) fn near_cache(&self) -> Option<&NearCache> {
        self.config.near_cache.as_deref()
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.config.rules
    }

    /// The first argument of every script: empty for the server's clock.
    fn now_argument(&self) -> String {
        self.config.clock.as_ref().map(|clock| clock.now_ms().to_string()).unwrap_or_default()
    }

    /// The time that a pipeline read, unless a test set another.
    fn now(&self, time_ms: Option<u64>) -> Result<u64> {
        if let Some(clock) = &self.config.clock {
            return Ok(clock.now_ms());
        }
        time_ms.ok_or_else(|| Error::corrupt("reply to TIME"))
    }

    /// A time that the server's clock has passed, as far as that is known without asking.
    pub(crate) fn known_time(&self) -> Option<u64> {
        match &self.config.clock {
            Some(test) => Some(test.now_ms()),
            None => self.sender.known_time(|| self.keys().expiry()),
        }
    }

    /// Records that the call will change something. A call that reads first must say so before: if an earlier call
    /// under its operation id may have happened, a server that does not answer proves nothing.
    pub(crate) fn changes(&self) {
        self.is_change.store(true, Ordering::Relaxed);
    }

    fn count_round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs the body of the call in its span, and records how it went.
    pub(crate) async fn observe<T>(
        &self,
        body: impl Future<Output = Result<T>>,
        outcome_of: fn(&Result<T>) -> Outcome,
    ) -> Result<T> {
        let CallSpan { span, name, .. } = &self.span;
        let result = body.instrument(span.clone()).await;
        let result = result.map_err(|error| self.unless_in_doubt(error).at(&self.config.server));
        let counts = [(&self.round_trips, &meter::ROUND_TRIPS), (&self.attempts, &meter::ATTEMPTS)];
        let [round_trips, attempts] = counts.map(|(count, meter)| {
            let count = count.load(Ordering::Relaxed);
            meter.add(count.into(), &[(meter::OPERATION, name)]);
            count
        });
        span.record("round_trips", round_trips).record("attempts", attempts);
        self.span.end(outcome_of(&result));
        result
    }

    /// An EVALSHA of a script with its keys; the caller adds the arguments, without the clock, which is the first.
    pub(crate) fn evalsha<'k>(&self, script: &Script, keys: impl IntoIterator<Item = &'k Vec<u8>>) -> Cmd {
        self.evalsha_of(script, &keys.into_iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn evalsha_of(&self, script: &Script, keys: &[&[u8]]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script.sha()).arg(keys.len()).arg(keys).arg(self.now_argument());
        cmd
    }

    /// The same for a script that writes events, if the namespace has events. It adds the keys of the partition's
    /// stream, of the expiry index, which the script keeps as long as the stream, and of the nodes' streams, in the order in which the
    /// script takes their indexes. The caller ends with `events_argument`.
    pub(crate) fn evalsha_telling<'k, T: AsRef<[u8]>>(
        &self,
        script: &Script,
        keys: impl IntoIterator<Item = &'k Vec<u8>>,
        nodes: impl IntoIterator<Item = T>,
    ) -> Cmd {
        if self.rules().events == 0 {
            return self.evalsha(script, keys);
        }
        let streams: Vec<Vec<u8>> = [self.keys().events(), self.keys().expiry()]
            .into_iter()
            .chain(nodes.into_iter().map(|node| self.keys().events_of(node)))
            .collect();
        let mut names: Vec<&[u8]> = Vec::new();
        keys.into_iter().for_each(|key| names.push(key));
        streams.iter().for_each(|stream| names.push(stream));
        self.evalsha_of(script, &names)
    }

    /// Adds the last argument of a script that writes events: how many a stream keeps.
    pub(crate) fn events_argument(&self, cmd: &mut Cmd) {
        if self.rules().events > 0 {
            cmd.arg(self.rules().events);
        }
    }

    /// Runs a script. Each attempt builds its command again, because the command carries a bound.
    ///
    /// The near cache forgets the sessions that the script may change: those that it has when the script is sent, and
    /// those from reads that began before the reply came.
    pub(crate) async fn run(&self, script: &'static Script, cmd: impl Fn() -> Cmd) -> Result<Reply> {
        let near_cache = self.near_cache().filter(|_| script.effect != Effect::Reads);
        let Some(near_cache) = near_cache else {
            return self.run_to_its_end(script, cmd).await;
        };
        let reach = OnceLock::new();
        let forget = |reach: &Vec<SessionId>| reach.iter().for_each(|id| near_cache.forget(id));
        let cmd = || {
            let cmd = cmd();
            forget(reach.get_or_init(|| near_cache.reach_of(&cmd)));
            cmd
        };
        let reply = self.run_to_its_end(script, cmd).await;
        reach.get().into_iter().for_each(forget);
        reply
    }

    async fn run_to_its_end(&self, script: &'static Script, cmd: impl Fn() -> Cmd) -> Result<Reply> {
        let make = |clock: &ServerClock| {
            self.bound_by(clock);
            cmd()
        };
        let send = async || {
            let clock =
                if script.effect == Effect::Noted { self.history.clock_use() } else { ClockUse::Known };
            let key = || self.keys().expiry();
            self.sender.script(script, &make, key, clock, self.deadline, || self.count_round_trip()).await
        };
        if script.effect != Effect::Reads {
            self.changes();
        }
        if script.effect == Effect::Noted {
            self.is_noted.store(true, Ordering::Relaxed);
        }
        for _ in 0..BEGINNINGS {
            let reply = Reply::parse(self.deliver(Work::Script(script), &send).await?)?;
            if script.effect != Effect::Noted {
                return Ok(reply);
            }
            if reply.word != "unsure" {
                return match self.history.doubt() {
                    Some(doubt) if !PROOFS.contains(&reply.word.as_str()) => Err(self.ambiguous(doubt)),
                    _ => Ok(reply),
                };
            }
            if !self.history.begin_anew() {
                let doubt = self.history.doubt();
                return Err(doubt.map_or_else(|| Error::unsure(self.id()), |doubt| self.ambiguous(doubt)));
            }
        }
        Err(Error::obstacle(Obstacle::Contended, None))
    }

    /// Runs a repeatable script once per set of arguments, in one round trip.
    pub(crate) async fn run_each(&self, script: &'static Script, cmds: &[Cmd]) -> Result<Vec<Reply>> {
        if script.effect != Effect::Reads {
            self.changes();
        }
        let send =
            async || self.sender.scripts(script, cmds, self.deadline, || self.count_round_trip()).await;
        self.deliver(Work::Script(script), send).await?.into_iter().map(Reply::parse).collect()
    }

    /// Sends commands that only read the key `what`.
    pub(crate) async fn read(&self, pipeline: &Pipeline, what: &'static str) -> Result<Vec<Value>> {
        let send = || async {
            self.count_round_trip();
            self.sender.pipeline(pipeline, self.deadline).await
        };
        self.deliver(Work::Read(what), send).await
    }

    /// How many servers have keys.
    pub(crate) fn servers(&self) -> usize {
        self.sender.servers().count()
    }

    /// Sends a reading command to one of the servers, by its number. `None`: there is no such server.
    pub(crate) async fn read_at(&self, nth: usize, cmd: &Cmd) -> Result<Option<Value>> {
        let send = || async {
            self.count_round_trip();
            self.sender.at_master(nth, cmd, self.deadline).await
        };
        self.deliver(Work::Read("keys"), send).await
    }

    /// The answers of reading commands at one instant: the time first, then those of the commands. `None`: the server
    /// refuses the transaction. It does so if a key has a foreign type, or if its memory is full, although it would run
    /// each command alone.
    ///
    /// Atomicity: one transaction (MULTI, EXEC).
    pub(crate) async fn read_at_once(&self, cmds: Vec<Cmd>) -> Result<Option<(u64, VecDeque<Value>)>> {
        let cmds: Vec<Cmd> = std::iter::once(redis::cmd("TIME")).chain(cmds).collect();
        let send = || async {
            self.count_round_trip();
            match self.sender.transaction(&cmds, self.deadline).await {
                Delivery::Refused(error) => {
                    tracing::debug!(%error, "the server refused a read in a transaction; a script reads instead");
                    Delivery::Answered(None)
                }
                delivery => delivery.map(Some),
            }
        };
        let Some(replies) = self.deliver(Work::Read("reply"), send).await? else {
            return Ok(None);
        };
        if replies.len() != cmds.len() {
            return Err(Error::corrupt("reply to EXEC"));
        }
        let mut replies = VecDeque::from(replies);
        let time_ms = replies.pop_front().and_then(|time| time_ms(&time));
        Ok(Some((self.now(time_ms)?, replies)))
    }

    /// Sends commands that each read a string: empty if there is none, or if the type is foreign.
    pub(crate) async fn read_strings(&self, pipeline: Pipeline) -> Result<Vec<Vec<u8>>> {
        let string = |value| match value {
            Some(Value::BulkString(bytes)) => bytes,
            _ => Vec::new(),
        };
        Ok(self.read_any(pipeline).await?.into_iter().map(string).collect())
    }

    /// Sends commands that each read a key. `None`: the key has a foreign type.
    pub(crate) async fn read_any(&self, pipeline: Pipeline) -> Result<Vec<Option<Value>>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let send = || async {
            self.count_round_trip();
            self.sender.replies(&pipeline, self.deadline).await
        };
        let known = |value| match value {
            Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
            Value::ServerError(error) => Err(failure::not_executed(RedisError::from(error))),
            value => Ok(Some(value)),
        };
        self.deliver(Work::Read("record"), send).await?.into_iter().map(known).collect()
    }

    /// The value under the key `what`, if there is one, and the time of the read.
    pub(crate) async fn read_string(
        &self,
        key: &[u8],
        part: Part,
        what: &'static str,
    ) -> Result<Option<(u64, Vec<u8>)>> {
        let read = self.read_and_track(key, part, what).await?;
        Ok(read.map(|(now, bytes, _)| (now, bytes)))
    }

    /// The record of a session, or a part of it, and the connection on which the server will report its next
    /// change, if it was asked to.
    ///
    /// If sessions may be large, the first read takes only as much as fits among other calls. A larger record is then
    /// read whole, by a read of its own.
    pub(crate) async fn read_record(&self, key: &[u8], part: Part) -> Result<Option<TrackedRead>> {
        if self.rules().get_session_bytes() <= USUAL_BYTES {
            return self.read_and_track(key, part, "record").await;
        }
        let share = self.read_and_track(key, part.share(), "record").await?;
        let bytes = share.as_ref().map_or(0, |(_, bytes, _)| bytes.len());
        match part.behind_share(bytes) {
            Some(whole) => self.read_and_track(key, whole, "record").await,
            None => Ok(share),
        }
    }

    async fn read_and_track(
        &self,
        key: &[u8],
        part: Part,
        what: &'static str,
    ) -> Result<Option<TrackedRead>> {
        let send = || async {
            self.count_round_trip();
            self.sender.read(key, part, self.deadline).await
        };
        let Stamped { time_ms, value, read_on } = self.deliver(Work::Read(what), send).await?;
        match value {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some((self.now(time_ms)?, bytes, read_on))),
            _ => Err(Error::corrupt("reply to a read")),
        }
    }

    /// Sends until there is an answer or the deadline passes. It retries when the connection breaks, as far as a
    /// second execution is safe. A lost attempt may have happened, whatever becomes of a later one.
    async fn deliver<T, F>(&self, work: Work, send: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Delivery<T>>,
    {
        let effect = work.effect();
        let StoreConfig { startup, partitions, .. } = &*self.config;
        startup.done(&self.sender, partitions, self.deadline).await?;
        let (mut lost, mut refused) = (None::<RedisError>, None);
        for _ in 0..ATTEMPTS {
            if effect == Effect::Noted {
                self.wait_until_alone().await;
            }
            self.attempts.fetch_add(1, Ordering::Relaxed);
            let failure = match send().await {
                Delivery::Answered(answer) => return Ok(answer),
                Delivery::Late => return Err(self.no_answer(effect, Obstacle::Deadline, cause(NO_REPLY))),
                // Not executed. The next connection leads to the master, or there is none.
                Delivery::Refused(error) if is_of_a_replica(&error) => {
                    refused = Some(self.refused(error, work));
                    continue;
                }
                Delivery::Refused(error) => self.refused(error, work),
                Delivery::Unsent(unavailable) => unavailable.into(),
                Delivery::Lost(error) => {
                    if effect != Effect::Reads {
                        self.history.lost(failure::lost(error.clone()));
                    }
                    lost = Some(error);
                    if effect == Effect::ReportedOnce {
                        break;
                    }
                    continue;
                }
            };
            return Err(match lost {
                Some(lost) if effect != Effect::Reads => self.connection_lost(effect, lost),
                _ => failure,
            });
        }
        Err(match (lost, refused) {
            (Some(lost), _) => self.connection_lost(effect, lost),
            (None, Some(refused)) => refused,
            (None, None) => self.connection_lost(effect, std::io::Error::other("no attempt was made").into()),
        })
    }

    /// Before a retry, waits long enough that no script takes the retry for a first attempt.
    async fn wait_until_alone(&self) {
        if let Some(not_before) = self.history.not_before() {
            tokio::time::sleep_until(self.deadline.min(not_before.into())).await;
        }
    }

    /// Returns the error of a call; but if the call may have happened and the error does not prove
    /// otherwise, the error is ambiguous.
    fn unless_in_doubt(&self, error: Error) -> Error {
        let leaves_doubt = match &error {
            Error::NotExecuted { .. } => self.is_change.load(Ordering::Relaxed),
            Error::Corrupt { .. } | Error::Refused(Refusal::Missing) => self.is_noted.load(Ordering::Relaxed),
            Error::Refused(_) | Error::Invalid(_) | Error::Value { .. } | Error::Ambiguous { .. } => false,
        };
        match self.history.doubt() {
            Some(doubt) if leaves_doubt => self.ambiguous(doubt),
            _ => error,
        }
    }

    pub(crate) fn ambiguous(&self, source: Cause) -> Error {
        Error::ambiguous(self.id(), source)
    }

    fn connection_lost(&self, effect: Effect, error: RedisError) -> Error {
        self.no_answer(effect, Obstacle::ConnectionLost, failure::lost(error))
    }

    fn no_answer(&self, effect: Effect, obstacle: Obstacle, source: Cause) -> Error {
        match effect {
            Effect::Reads => Error::obstacle(obstacle, source),
            Effect::Repeatable | Effect::Noted | Effect::ReportedOnce => self.ambiguous(source),
        }
    }

    /// Maps an error of the server to the error of the call.
    fn refused(&self, error: RedisError, work: Work) -> Error {
        let effect = work.effect();
        if effect == Effect::Reads && server_code(&error).as_deref() == Some("WRONGTYPE") {
            return Error::corrupt(work.what());
        }
        match work {
            Work::Script(script) if may_have_written(&error) => {
                self.no_answer(effect, Obstacle::Server, cause(ScriptError::new(script, error)))
            }
            _ => failure::not_executed(error),
        }
    }
}

/// Whether a server refuses writes because it is not the master.
fn is_of_a_replica(error: &RedisError) -> bool {
    matches!(server_code(error).as_deref(), Some(NOT_THE_MASTER | "MASTERDOWN"))
}

/// The kind of what is sent.
#[derive(Clone, Copy)]
enum Work {
    Script(&'static Script),
    /// Commands that only read a key, with the key's role.
    Read(&'static str),
}

impl Work {
    fn effect(self) -> Effect {
        match self {
            Self::Script(script) => script.effect,
            Self::Read(_) => Effect::Reads,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Script(_) => "reply",
            Self::Read(what) => what,
        }
    }
}
