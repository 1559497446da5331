//! Walks through all keys of a namespace while others work on it.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::model::{Error, Result, ms};
use crate::redis::call::Call;
use crate::redis::store::RedisStore;
use crate::redis::verify::judge::judge;
use crate::redis::verify::kind::ViolationKind;
use crate::redis::verify::look::{look, look_on};
use crate::redis::verify::looked::{Come, Looked, Walk, unknown};
use crate::redis::verify::violation::Violation;
use crate::store::migration_store::MigrationStore as _;
use crate::stored::key_kind::KeyKind;

/// The most keys, or entries of one index, that one step looks at: the server does nothing else for about a
/// millisecond.
const PER_STEP: usize = 100;

/// The default limit of keys and entries per second.
const PER_SECOND: u32 = 10_000;

/// How often to ask the server for its time.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// Walks through all keys of a namespace, and reports violations.
///
/// It locks nothing, and concurrent changes are no violations: a script judges each suspect, and sees everything at one
/// instant. It may or may not look at sessions that come or go during the walk.
#[derive(Debug)]
pub struct Verifier {
    store: RedisStore,
    per_second: u32,
    /// The server that the walk is at, and the cursor there; `None` at the end.
    at: Option<(usize, Vec<u8>)>,
    walks: Vec<Walk>,
    found: VecDeque<Violation>,
    /// The reported violations, because SCAN may return a key twice.
    told: HashSet<u64>,
    hasher: RandomState,
    verified: Verified,
    /// A time of the server, and when it was asked for.
    asked: Option<(u64, Instant)>,
    /// When the next step may begin.
    next: Instant,
}

/// The progress of a verifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many keys of the namespace it read.
    pub keys: u64,
    /// How many sessions it read, live or expired.
    pub sessions: u64,
    /// How many entries of indexes it read.
    pub entries: u64,
    /// How many violations it found.
    pub violations: u64,
}

impl RedisStore {
    /// Starts a walk through all keys of the namespace, on all servers and in all partitions, that reports violations.
    ///
    /// Besides the commands of a store, its user needs `ZSCAN`.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier {
            store: self.clone(),
            per_second: PER_SECOND,
            at: Some((0, b"0".to_vec())),
            walks: Vec::new(),
            found: VecDeque::new(),
            told: HashSet::new(),
            hasher: RandomState::new(),
            verified: Verified::default(),
            asked: None,
            next: Instant::now(),
        }
    }
}

impl Verifier {
    /// The most keys and entries of indexes per second, 1 to 10,000,000. Foreign keys on the same servers count too.
    /// Defaults to 10,000.
    #[must_use]
    pub fn per_second(self, per_second: u32) -> Self {
        Self { per_second: per_second.clamp(1, 10_000_000), ..self }
    }

    /// Its progress so far.
    #[must_use]
    pub fn verified(&self) -> Verified {
        self.verified
    }

    /// The next violation; `None` when the walk is complete. After an error, the next call continues where it
    /// was.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// Each violation existed at one instant: `mend_session`, `mend_record`, `mend_key` and `mend_node` find it, and
    /// only report here.
    ///
    /// # Cancellation safety
    /// Dropping a call loses nothing: the next one continues where it was.
    pub async fn next(&mut self) -> Result<Option<Violation>> {
        loop {
            if let Some(violation) = self.found.pop_front() {
                return Ok(Some(violation));
            }
            match self.next_step().await? {
                Some(found) => self.found.extend(found),
                None => return Ok(None),
            }
        }
    }

    /// The same in small steps, for callers that show progress: the violations among the next keys, usually none;
    /// `None` when the walk is complete.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// As [`next`](Self::next).
    pub async fn next_step(&mut self) -> Result<Option<Vec<Violation>>> {
        if self.walks.is_empty() && self.at.is_none() {
            return Ok(None);
        }
        self.step().await.map(Some)
    }

    /// The server's time, or nearly.
    async fn now(&mut self) -> Result<u64> {
        match self.asked {
            Some((now, at)) if at.elapsed() < ASKED_AGAIN => Ok(now.saturating_add(ms(at.elapsed()))),
            _ => {
                let now = self.store.now().await?;
                self.asked = Some((now, Instant::now()));
                Ok(now)
            }
        }
    }

    /// Looks at some keys, or at some entries of one index.
    async fn step(&mut self) -> Result<Vec<Violation>> {
        sleep_until(self.next).await;
        let now = self.now().await?;
        let size = (self.per_second as usize / 10).clamp(1, PER_STEP);
        let (walk, at) = (self.walks.last().cloned(), self.at.clone());
        let reads_on = walk.is_some();
        let body = |call: Arc<Call>| async move {
            let (mut step, looked) = match (walk, at) {
                (Some(walk), _) => (Step::default(), look_on(&call, walk, size).await?),
                (None, Some(at)) => scan(&call, at, size, now).await?,
                (None, None) => Default::default(),
            };
            step.violations = looked.violations;
            step.violations.extend(judge(&call, looked.suspects).await?);
            (step.walks, step.sessions, step.entries) = (looked.walks, looked.sessions, looked.entries);
            Ok(step)
        };
        let step = self.store.call("verify", body).await?;
        if reads_on {
            self.walks.pop();
        } else {
            self.at = step.next;
        }
        self.walks.extend(step.walks);
        self.verified.keys += step.keys;
        self.verified.sessions += step.sessions;
        self.verified.entries += step.entries;
        let looked_at = (step.passed + step.entries).max(1);
        let took = Duration::from_secs_f64(looked_at as f64 / f64::from(self.per_second));
        self.next = self.next.max(Instant::now()) + took;
        let mut found = step.violations;
        found.retain(|violation| self.told.insert(self.hasher.hash_one(violation.identity())));
        self.verified.violations += found.len() as u64;
        Ok(found)
    }
}

/// The result of a step.
#[derive(Default)]
struct Step {
    /// The server and the cursor of the next step.
    next: Option<(usize, Vec<u8>)>,
    walks: Vec<Walk>,
    violations: Vec<Violation>,
    /// The keys of the server, including foreign ones, and those of the namespace.
    passed: u64,
    keys: u64,
    sessions: u64,
    entries: u64,
}

/// Looks at the next keys of a server.
async fn scan(
    call: &Call,
    (server, cursor): (usize, Vec<u8>),
    size: usize,
    now: u64,
) -> Result<(Step, Looked)> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(&cursor).arg("MATCH").arg(call.partitions().pattern()).arg("COUNT").arg(size);
    let Some(page) = call.read_at(server, &scan).await? else { return Ok(Default::default()) };
    let (next, keys): (Vec<u8>, Vec<Vec<u8>>) =
        redis::from_redis_value(page).map_err(|_| Error::corrupt("reply to SCAN"))?;
    let (mut come, mut strange) = (Vec::new(), Vec::new());
    for key in keys.into_iter().filter(|key| call.partitions().has_tag(key)) {
        let Some(partition) = call.partitions().of_key(&key) else {
            strange.push(Violation { kind: ViolationKind::WrongPartition, key, mend: None });
            continue;
        };
        let rest = call.partitions().keys(partition).behind_tag(&key).unwrap_or_default();
        match KeyKind::of(rest) {
            Some(kind) => come.push(Come { partition, key, kind }),
            None => strange.push(unknown(key)),
        }
    }
    let next = match next.as_slice() {
        b"0" if server + 1 < call.servers() => Some((server + 1, b"0".to_vec())),
        b"0" => None,
        _ => Some((server, next)),
    };
    let keys = (come.len() + strange.len()) as u64;
    let step = Step { next, passed: keys.max(size as u64), keys, ..Step::default() };
    let mut looked = look(call, come, size, now).await?;
    looked.violations.extend(strange);
    Ok((step, looked))
}
