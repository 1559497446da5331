//! recover: a batch of a node's sessions given to another node.

use crate::model::{Claim, Claimed, Cursor, Error, RecoveredSession, Refusal, Result, SessionId, ms, some};
use crate::redis::bulk::Candidate;
use crate::redis::call::Call;
use crate::redis::index_page::IndexPage;
use crate::redis::reply::Reply;
use crate::redis::{bulk as batch, script};

/// How often a batch is read again whose sessions kept changing.
const STALE_BATCHES: u32 = 12;

pub(crate) async fn run(call: &Call, claim: &Claim) -> Result<Claimed> {
    claim.check()?;
    let mut claimed = Claimed::default();
    (claimed.stale, claimed.next) = match &claim.only {
        Some(ids) => (ids.iter().cloned().collect(), None),
        None => page(call, claim).await?,
    };
    for _ in 0..STALE_BATCHES {
        let candidates = batch::candidates(call, claimed.stale.clone()).await?;
        match take(call, claim, &candidates, &mut claimed).await {
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
async fn page(call: &Call, claim: &Claim) -> Result<(Vec<SessionId>, Option<Cursor>)> {
    let index = call.keys().node(&claim.node);
    let page = IndexPage::read(call, &index, "node", claim.batch, claim.after.as_ref()).await?;
    let entries = page.entries;
    let next = Cursor::behind(&entries, claim.batch, claim.after.as_ref());
    Ok((entries.into_iter().map(|entry| entry.id).collect(), next))
}

/// Takes sessions, and returns those that changed since they were read. With none left it lets go of the node.
async fn take(
    call: &Call,
    claim: &Claim,
    candidates: &[Candidate],
    claimed: &mut Claimed,
) -> Result<Vec<SessionId>> {
    let (sound, broken) = batch::sound(candidates);
    let keys = call.keys();
    let mut names = vec![keys.nodes(), keys.lease(&claim.node), keys.lease(&claim.to), keys.expiry()];
    names.extend([keys.node(&claim.node), keys.node(&claim.to)]);
    for candidate in &sound {
        let [record, _, user, connection, _] =
            keys.of_session(candidate.id.as_str(), &candidate.index_fields);
        names.extend([record, user, connection]);
    }
    let cmd = || {
        let mut cmd = call.evalsha(&script::RECOVER, names.iter().map(String::as_str));
        call.operation_arguments(&mut cmd);
        cmd.arg(&claim.node).arg(&claim.to);
        cmd.arg(claim.identity.as_ref().map_or(&[][..], |identity| identity.lease()));
        cmd.arg(if claim.always { "always" } else { "lapsed" });
        cmd.arg(ms(claim.reconnect)).arg(ms(call.rules().grace));
        for Candidate { id, index_fields, .. } in &sound {
            cmd.arg(id.as_str()).arg(&index_fields.user).arg(&index_fields.connection);
        }
        cmd
    };
    let mut reply = call.run(&script::RECOVER, cmd).await?;
    match reply.word.as_str() {
        "taken" => return Err(Error::Refused(Refusal::Leased { until_ms: reply.number()? })),
        "missing" => return Err(Error::Refused(Refusal::Fenced)),
        _ => {}
    }
    let mut reply = reply.expect_ok()?;
    let [recovered, stale, frozen, corrupt] =
        [reply.number()?, reply.number()?, reply.number()?, reply.number()?];
    for _ in 0..recovered {
        claimed.sessions.push(session(claim, candidates, &mut reply)?);
    }
    let mut ids = |count| (0..count).map(|_| reply.session_id()).collect::<Result<Vec<SessionId>>>();
    let stale = ids(stale)?;
    claimed.frozen.extend(ids(frozen)?);
    claimed.corrupt.extend(batch::in_order(candidates, &[ids(corrupt)?, broken].concat()));
    Ok(stale)
}

/// A session that a reply names, with what was declared of it.
fn session(claim: &Claim, candidates: &[Candidate], reply: &mut Reply) -> Result<RecoveredSession> {
    let (id, version) = (reply.session_id()?, reply.version()?);
    let candidate = candidates.iter().find(|candidate| candidate.id == id);
    let index_fields =
        &candidate.ok_or_else(|| Error::corrupt("reply that names another session"))?.index_fields;
    let (user, connection) =
        (some(&index_fields.user).map(Into::into), some(&index_fields.connection).map(Into::into));
    Ok(RecoveredSession { id, from: claim.node.clone(), version, user, connection })
}
