//! refresh: records a use of a live session, and extends it when enough of its idle time has passed.
//!
//! Most refreshes come within the touch interval and write nothing. So a read comes first if the script may have
//! nothing to write. The script decides everything else: sessions that are frozen, rotated or corrupt.

use crate::model::{Refreshed, Result, Session, SessionId, SessionRef, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::lookup;
use crate::redis::reply::Reply;
use crate::redis::script;
use crate::redis::transport::read_batcher::Part;
use crate::stored::record::{Record, Usage};

pub(crate) async fn run(call: &Call, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
    call.changes();
    if may_be_untouched(call, session)
        && let Some(refreshed) = untouched(call, session.id()).await?
    {
        return Ok(Some(refreshed));
    }
    let Some((plan, mut reply)) = settle(call, session, "times").await? else {
        return Ok(None);
    };
    read(plan.id, &mut reply).map(Some)
}

/// Also returns what a refresh without the session would have answered.
pub(crate) async fn run_and_get(
    call: &Call,
    session: &dyn SessionRef,
) -> Result<Option<(Session, Refreshed)>> {
    call.changes();
    if may_be_untouched(call, session) {
        match look(call, session.id()).await? {
            Seen::Untouched(session) => {
                let refreshed = Refreshed::of_untouched(&session);
                return Ok(Some((*session, refreshed)));
            }
            Seen::Absent => return Ok(None),
            Seen::Unclear => {}
        }
    }
    let Some((plan, mut reply)) = settle(call, session, "record").await? else {
        return Ok(None);
    };
    let refreshed = read(plan.id, &mut reply)?;
    let session = reply.session(&refreshed.id)?;
    Ok(Some((session, refreshed)))
}

/// Extends a session by its full idle time.
pub(crate) async fn extend(call: &Call, session: &dyn SessionRef) -> Result<Option<Session>> {
    let Some((plan, mut reply)) = settle_by(call, session, "record", 1000, 0).await? else {
        return Ok(None);
    };
    let refreshed = read(plan.id, &mut reply)?;
    reply.session(&refreshed.id).map(Some)
}

/// Whether the script may have nothing to write, as far as that is known before a read. Only the script can check a
/// node's lease.
fn may_be_untouched(call: &Call, session: &dyn SessionRef) -> bool {
    let rules = call.rules();
    if rules.touch_interval.is_zero() || call.identity().is_some() {
        return false;
    }
    let Some(known) = session.hint().0 else { return true };
    let is_due = |now| rules.is_touch_due(known.last_active, known.expires_at, now);
    !call.known_time().is_some_and(is_due)
}

/// The answer of a refresh that has nothing to write. `None`: the script must decide.
async fn untouched(call: &Call, id: &SessionId) -> Result<Option<Refreshed>> {
    // A session for the near cache is read whole.
    if call.near_cache().is_some() {
        return Ok(match look(call, id).await? {
            Seen::Untouched(session) => Some(Refreshed::of_untouched(&session)),
            Seen::Absent | Seen::Unclear => None,
        });
    }
    call.about(id);
    let key = call.keys().session(id.as_str());
    let beginning = call.read_string(&key, Part::beginning(Usage::BYTES), "record").await?;
    let Some((now, usage)) = beginning.and_then(|(now, bytes)| Some((now, Usage::decode(&bytes)?))) else {
        return Ok(None);
    };
    let is_due = call.rules().is_touch_due(usage.last_active, usage.expires_at, now);
    Ok((!is_due).then(|| Refreshed {
        id: id.clone(),
        version: usage.version,
        last_active_ms: usage.last_active,
        expires_at_ms: usage.expires_at,
        changed: false,
    }))
}

/// What a read shows of a session to refresh and return.
enum Seen {
    Untouched(Box<Session>),
    Absent,
    /// The script must decide.
    Unclear,
}

async fn look(call: &Call, id: &SessionId) -> Result<Seen> {
    call.about(id);
    let Some((now, record)) = lookup::stored_to_keep(call, id).await? else {
        return Ok(Seen::Absent);
    };
    let record = match record {
        None | Some(Record::Session { freeze: Some(_), .. }) => return Ok(Seen::Unclear),
        Some(record) => record.unless_over(now),
    };
    let is_due = |session: &Session| {
        call.rules().is_touch_due(session.times.last_active, session.times.expires_at, now)
    };
    Ok(match record {
        None | Some(Record::Deleted { to: None, .. }) => Seen::Absent,
        Some(Record::Session { session, .. }) if !is_due(&session) => Seen::Untouched(session),
        Some(_) => Seen::Unclear,
    })
}

fn read(id: SessionId, reply: &mut Reply) -> Result<Refreshed> {
    Ok(Refreshed {
        id,
        version: reply.version()?,
        last_active_ms: reply.number()?,
        expires_at_ms: reply.number()?,
        changed: reply.word == "ok",
    })
}

async fn settle(call: &Call, session: &dyn SessionRef, want: &str) -> Result<Option<(KeyPlan, Reply)>> {
    let rules = call.rules();
    settle_by(call, session, want, rules.threshold_thousandths(), ms(rules.touch_interval)).await
}

async fn settle_by(
    call: &Call,
    session: &dyn SessionRef,
    want: &str,
    threshold_thousandths: u64,
    touch_interval_ms: u64,
) -> Result<Option<(KeyPlan, Reply)>> {
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let cmd = |plan: &KeyPlan| {
        let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let lease = call.fence_key(&keys[0]);
        let mut cmd = call.evalsha(&script::REFRESH, keys.iter().chain([&lease]));
        cmd.arg(plan.id.as_str());
        cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        cmd.arg(threshold_thousandths).arg(touch_interval_ms).arg(ms(call.rules().grace)).arg(want);
        call.fence_arguments(&mut cmd);
        cmd
    };
    let reply = plan.settle(call, &script::REFRESH, cmd).await?;
    match reply.word.as_str() {
        "ok" | "unchanged" => Ok(Some((plan, reply))),
        "missing" => Ok(None),
        _ => Err(reply.into_error()),
    }
}
