//! recover: a batch of a node's sessions given to another node.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::batch::{BATCH, Candidate};
use crate::cursor::Cursor;
use crate::error::{Error, Refusal, Result};
use crate::holder::Holder;
use crate::id::{SessionId, Version};
use crate::operation::Operation;
use crate::reply::Reply;
use crate::routing::{require_name, some};
use crate::rules::{LONGEST, check_duration, ms};
use crate::{batch, cursor, script};

/// How often a batch is read again whose sessions kept changing.
const ROUNDS: u32 = 12;

/// A batch of a node's sessions that another node takes.
///
/// ```
/// use cloakroom::Claim;
///
/// let claim = Claim::new("gateway-1", "gateway-2").batch(100);
/// ```
#[derive(Clone, Debug)]
pub struct Claim {
    pub(crate) node: String,
    pub(crate) to: String,
    pub(crate) batch: usize,
    pub(crate) reconnect: Duration,
    pub(crate) always: bool,
    pub(crate) after: Option<Cursor>,
    pub(crate) only: Option<BTreeSet<SessionId>>,
}

impl Claim {
    /// Sessions of a node whose lease has run out, for another that holds one.
    #[must_use]
    pub fn new(node: impl Into<String>, to: impl Into<String>) -> Self {
        let reconnect = Duration::from_secs(60);
        let (node, to) = (node.into(), to.into());
        Self { node, to, batch: BATCH, reconnect, always: false, after: None, only: None }
    }

    /// How many sessions to look at, 1 to 200. Defaults to 200.
    #[must_use]
    pub fn batch(mut self, sessions: usize) -> Self {
        self.batch = sessions;
        self
    }

    /// How long each has left to live at least, but for its deadline, so that its client may reconnect: 1 ms to ten
    /// years. Defaults to a minute.
    #[must_use]
    pub fn reconnect(mut self, time: Duration) -> Self {
        self.reconnect = time;
        self
    }

    /// Takes the sessions although the node holds its lease: it is drained. Defaults to being refused.
    #[must_use]
    pub fn drain(mut self) -> Self {
        self.always = true;
        self
    }

    /// Goes on where another batch ended. Defaults to the node's oldest sessions, which is right too: those that were
    /// taken are no longer there.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Takes these sessions, as far as they are the node's, and looks at no others: at most 200, under the ids that they
    /// have now. `batch` and `after` do not count then. Defaults to the batch.
    #[must_use]
    pub fn only(mut self, ids: impl IntoIterator<Item = SessionId>) -> Self {
        self.only = Some(ids.into_iter().collect());
        self
    }

    /// `holder` is who makes the call, if it is fenced.
    pub(crate) fn check(&self, holder: Option<&Holder>) -> Result<()> {
        require_name("node id", &self.node)?;
        require_name("node id", &self.to)?;
        if self.node == self.to {
            return Err(Error::invalid("node id", "is that of the node itself"));
        }
        if holder.is_some_and(|holder| holder.node() != self.to) {
            return Err(Error::invalid("node id", "is not that of the node that makes the call"));
        }
        check_batch(self.batch)?;
        if let Some(ids) = self.only.as_ref().filter(|ids| ids.len() > BATCH) {
            return Err(Error::invalid(
                "only",
                format!("names {} sessions, must be at most {BATCH}", ids.len()),
            ));
        }
        check_duration("reconnect", self.reconnect, Duration::from_millis(1), LONGEST)
    }
}

/// How many sessions to look at in one call.
pub(crate) fn check_batch(batch: usize) -> Result<()> {
    if !(1..=BATCH).contains(&batch) {
        return Err(Error::invalid("batch", format!("is {batch}, must be 1 to {BATCH}")));
    }
    Ok(())
}

/// A session that went from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Its id.
    pub id: SessionId,
    /// The version that it is at.
    pub version: Version,
    /// Its user.
    pub user: Option<String>,
    /// The connection that it had, which leads to it no longer.
    pub connection: Option<String>,
}

/// What a claim came to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Claimed {
    /// The sessions that were taken: by this call, and reported by no other.
    pub sessions: Vec<Recovered>,
    /// Those that stay because they are being migrated.
    pub frozen: Vec<SessionId>,
    /// Those that stay because something under their keys is corrupt.
    pub corrupt: Vec<SessionId>,
    /// Those that kept changing: claim again.
    pub stale: Vec<SessionId>,
    /// Where to go on; `None`: the node's sessions are through.
    pub next: Option<Cursor>,
}

pub(crate) async fn run(operation: &Operation<'_>, claim: &Claim) -> Result<Claimed> {
    claim.check(operation.holder())?;
    let mut claimed = Claimed::default();
    (claimed.stale, claimed.next) = match &claim.only {
        Some(ids) => (ids.iter().cloned().collect(), None),
        None => page(operation, claim).await?,
    };
    for _ in 0..ROUNDS {
        let candidates = batch::candidates(operation, claimed.stale.clone()).await?;
        match take(operation, claim, &candidates, &mut claimed).await {
            Ok(stale) => claimed.stale = stale,
            // A lease that came or went since: what was taken before is told.
            Err(Error::Refused(_)) if !claimed.sessions.is_empty() => break,
            Err(error) => return Err(error),
        }
        if claimed.stale.is_empty() {
            break;
        }
    }
    Ok(claimed)
}

/// The node's sessions to look at, and where to go on.
async fn page(operation: &Operation<'_>, claim: &Claim) -> Result<(Vec<SessionId>, Option<Cursor>)> {
    let index = operation.keys().node(&claim.node);
    let entries = cursor::read(operation, &index, "node", claim.batch, claim.after.as_ref()).await?;
    let next = Cursor::behind(&entries, claim.batch, claim.after.as_ref());
    Ok((entries.into_iter().map(|entry| entry.id).collect(), next))
}

/// Takes sessions, and returns those that changed since they were read. With none left it lets go of the node.
async fn take(
    operation: &Operation<'_>,
    claim: &Claim,
    candidates: &[Candidate],
    claimed: &mut Claimed,
) -> Result<Vec<SessionId>> {
    let (sound, broken) = batch::sound(candidates);
    let keys = operation.keys();
    let mut names = vec![keys.nodes(), keys.lease(&claim.node), keys.lease(&claim.to), keys.expiry()];
    names.extend([keys.node(&claim.node), keys.node(&claim.to)]);
    for candidate in &sound {
        let [record, _, user, connection, _] = keys.of_session(candidate.id.as_str(), &candidate.routing);
        names.extend([record, user, connection]);
    }
    let mut call = operation.call(&script::RECOVER, names.iter().map(String::as_str));
    call.arg(operation.id().as_bytes()).arg(&claim.node).arg(&claim.to);
    call.arg(operation.holder().map_or(&[][..], |holder| holder.lease()));
    call.arg(if claim.always { "always" } else { "lapsed" });
    call.arg(ms(claim.reconnect)).arg(ms(operation.rules().grace));
    for Candidate { id, routing, .. } in sound {
        call.arg(id.as_str()).arg(&routing.user).arg(&routing.connection);
    }
    let mut reply = operation.run(&script::RECOVER, &call).await?;
    match reply.word.as_str() {
        "taken" => return Err(Error::Refused(Refusal::Leased { until_ms: reply.number()? })),
        "missing" => return Err(Error::Refused(Refusal::Fenced)),
        _ => {}
    }
    let mut reply = reply.expect_ok()?;
    let [recovered, stale, frozen, corrupt] =
        [reply.number()?, reply.number()?, reply.number()?, reply.number()?];
    for _ in 0..recovered {
        claimed.sessions.push(session(candidates, &mut reply)?);
    }
    let mut ids = |count| (0..count).map(|_| reply.session_id()).collect::<Result<Vec<SessionId>>>();
    let stale = ids(stale)?;
    claimed.frozen.extend(ids(frozen)?);
    claimed.corrupt.extend(batch::in_order(candidates, &[ids(corrupt)?, broken].concat()));
    Ok(stale)
}

/// A session that a reply names, with what was declared of it.
fn session(candidates: &[Candidate], reply: &mut Reply) -> Result<Recovered> {
    let (id, version) = (reply.session_id()?, reply.version()?);
    let candidate = candidates.iter().find(|candidate| candidate.id == id);
    let routing = &candidate.ok_or_else(|| Error::corrupt("reply that names another session"))?.routing;
    let (user, connection) = (some(&routing.user).map(Into::into), some(&routing.connection).map(Into::into));
    Ok(Recovered { id, version, user, connection })
}
