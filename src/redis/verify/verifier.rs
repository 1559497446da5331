//! All keys of a namespace gone through while others work on it.

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

/// How many keys are looked at by one step at most, and entries of one index: the server does nothing else for about a
/// millisecond.
const PER_STEP: usize = 100;

/// As many keys and entries a second at most, unless it is told otherwise.
const PER_SECOND: u32 = 10_000;

/// How often the server is asked for its time.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// Goes through all keys of a namespace, and tells what does not agree.
///
/// Nothing is locked meanwhile, and what others change is no violation: what looks wrong is judged by a script, which sees all
/// of it at one instant. What comes and goes on the way may or may not be looked at.
#[derive(Debug)]
pub struct Verifier {
    store: RedisStore,
    per_second: u32,
    /// Which of the servers is gone through, and how far; `None` when all are.
    at: Option<(usize, Vec<u8>)>,
    walks: Vec<Walk>,
    found: VecDeque<Violation>,
    /// What was told, for SCAN may come by a key twice.
    told: HashSet<u64>,
    hasher: RandomState,
    verified: Verified,
    /// A time of the server's, and when it was asked for.
    asked: Option<(u64, Instant)>,
    /// When the next step may be.
    next: Instant,
}

/// How far a verifier has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Keys of the namespace.
    pub keys: u64,
    /// Sessions that were read, live or expired.
    pub sessions: u64,
    /// Entries of indexes.
    pub entries: u64,
    /// What does not agree.
    pub violations: u64,
}

impl RedisStore {
    /// A walk through all keys of the namespace, on all servers and in all partitions, that tells what does not agree.
    ///
    /// Besides what a store needs, its user has to be allowed `ZSCAN`.
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
    /// At most so many keys and entries of indexes a second, 1 to 10,000,000. Keys of others on the same servers count too.
    /// Defaults to 10,000.
    #[must_use]
    pub fn per_second(self, per_second: u32) -> Self {
        Self { per_second: per_second.clamp(1, 10_000_000), ..self }
    }

    /// How far it has come.
    #[must_use]
    pub fn verified(&self) -> Verified {
        self.verified
    }

    /// The next that does not agree; `None` when all keys were looked at. After an error it goes on where it was.
    ///
    /// # Errors
    /// Only those of all operations.
    ///
    /// # Atomicity
    /// What it tells was so at one instant: `mend_session`, `mend_record`, `mend_key` and `mend_node`, which only tell here.
    ///
    /// # Cancellation safety
    /// A call that is dropped loses nothing: the next one goes on where it was.
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

    /// The same for whoever shows how far it has come: what does not agree among the next keys, none mostly; `None` when all
    /// keys were looked at.
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

/// What a step came to.
#[derive(Default)]
struct Step {
    /// Where the next one begins, on which server.
    next: Option<(usize, Vec<u8>)>,
    walks: Vec<Walk>,
    violations: Vec<Violation>,
    /// Keys of the server, whosever they are, and those of the namespace.
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
