//! recover: gives a batch of a node's sessions to another node.

use crate::model::{Claim, Claimed, Error, RecoveredSession, Refusal, Result, ms};
use crate::redis::bulk::Candidate;
use crate::redis::call::Call;
use crate::redis::index_page::IndexPage;
use crate::redis::reply::Reply;
use crate::redis::stored_id::{StoredId, told};
use crate::redis::{bulk as batch, script};

/// How often a batch whose sessions keep changing is read again.
const STALE_BATCHES: u32 = 12;

pub(crate) async fn run(call: &Call, claim: &Claim) -> Result<Claimed> {
    claim.check()?;
    call.changes();
    let mut claimed = Claimed::default();
    if let Some(only) = &claim.only {
        let ids = only.iter().map(|id| id.as_str().into()).collect();
        let left = take(call, claim, ids, &mut claimed).await?;
        claimed.stale.extend(left.iter().filter_map(|id| told(id)));
        return Ok(claimed);
    }
    let index = call.keys().node(&claim.node);
    let page = IndexPage::read(call, &index, "node", claim.batch, claim.after.as_ref()).await?;
    claimed.next = page.next(claim.after.as_ref());
    let ids = page.entries.iter().map(|entry| entry.id.clone()).collect();
    let left = take(call, claim, ids, &mut claimed).await?;
    if let Some(first) = left.first() {
        // The page ends before the sessions that were left. If no valid id marks that end, the page is read
        // again.
        let count = page.entries.iter().position(|entry| entry.id == *first).unwrap_or(page.entries.len());
        claimed.next = page.behind(count, claim.after.as_ref()).or_else(|| claim.after.clone());
    }
    Ok(claimed)
}

/// Takes sessions, and returns those that were left because of their size. Sessions that change meanwhile are tried
/// again.
async fn take(
    call: &Call,
    claim: &Claim,
    ids: Vec<StoredId>,
    claimed: &mut Claimed,
) -> Result<Vec<StoredId>> {
    let (mut stale, mut all_left) = (ids, Vec::new());
    for _ in 0..STALE_BATCHES {
        let candidates = batch::candidates(call, stale.clone()).await?;
        let left;
        (stale, left) = match take_once(call, claim, &candidates, claimed).await {
            Ok(taken) => taken,
            // A lease came or ended since: the sessions taken before are returned.
            Err(Error::Refused(_)) if !claimed.sessions.is_empty() => break,
            Err(error) => return Err(error),
        };
        all_left.splice(0..0, left);
        if stale.is_empty() {
            break;
        }
    }
    claimed.unreadable += stale.iter().filter(|id| told(id).is_none()).count() as u64;
    claimed.stale.extend(stale.iter().filter_map(|id| told(id)));
    Ok(all_left)
}

/// Takes sessions, and returns those that changed since they were read, and those that were left. With none left it
/// unregisters the node.
async fn take_once(
    call: &Call,
    claim: &Claim,
    candidates: &[Candidate],
    claimed: &mut Claimed,
) -> Result<(Vec<StoredId>, Vec<StoredId>)> {
    let keys = call.keys();
    let mut names = vec![keys.nodes(), keys.lease(&claim.node), keys.lease(&claim.to), keys.expiry()];
    names.extend([keys.node(&claim.node), keys.node(&claim.to), keys.kept()]);
    for candidate in candidates {
        let [record, _, user, connection, _] = keys.of_session(&candidate.id, &candidate.index_fields);
        names.extend([record, user, connection]);
    }
    let cmd = || {
        let mut cmd = call.evalsha_telling(&script::RECOVER, &names, [&claim.node, &claim.to]);
        call.operation_arguments(&mut cmd);
        cmd.arg(&claim.node).arg(&claim.to);
        match &claim.identity {
            Some(identity) => cmd.arg(&call.lease_of(identity)),
            None => cmd.arg(""),
        };
        cmd.arg(if claim.always { "always" } else { "lapsed" });
        cmd.arg(ms(claim.reconnect)).arg(ms(call.rules().grace));
        for Candidate { id, index_fields, .. } in candidates {
            cmd.arg(id).arg(&index_fields.user).arg(&index_fields.connection);
        }
        call.events_argument(&mut cmd);
        cmd
    };
    let reply = call.run(&script::RECOVER, cmd).await?;
    // The lapsed lease is that of the calling node.
    if reply.word == "lapsed" {
        return Err(Error::Refused(Refusal::Fenced));
    }
    let mut reply = reply.expect_ok()?;
    let [recovered, stale, frozen, corrupt] =
        [reply.number()?, reply.number()?, reply.number()?, reply.number()?];
    let left = reply.count()?;
    for _ in 0..recovered {
        match session(claim, candidates, &mut reply)? {
            Some(session) => claimed.sessions.push(session),
            None => claimed.unreadable += 1,
        }
    }
    let stale = reply.ids(stale)?;
    for (count, staying) in [(frozen, &mut claimed.frozen), (corrupt, &mut claimed.corrupt)] {
        for id in reply.ids(count)? {
            match told(&id) {
                Some(id) => staying.push(id),
                None => claimed.unreadable += 1,
            }
        }
    }
    let left = candidates.iter().skip(candidates.len().saturating_sub(left)).map(|left| left.id.clone());
    Ok((stale, left.collect()))
}

/// A session that a reply names, with its declared fields, if its id is valid text.
fn session(claim: &Claim, candidates: &[Candidate], reply: &mut Reply) -> Result<Option<RecoveredSession>> {
    let (id, version) = (reply.bytes()?, reply.version()?);
    let candidate = batch::named(candidates, &id)?;
    let (user, connection) = (candidate.user(), candidate.connection());
    let from = claim.node.clone();
    Ok(told(&id).map(|id| RecoveredSession { id, from, version, user, connection }))
}
