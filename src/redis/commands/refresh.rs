//! refresh: a live session is used, and extended when enough of its idle time is gone.

use crate::model::{Refreshed, Result, Session, SessionId, SessionRef, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::reply::Reply;
use crate::redis::script;

pub(crate) async fn run(call: &Call, session: &dyn SessionRef) -> Result<Option<Refreshed>> {
    let Some((plan, mut reply)) = settle(call, session, "times").await? else {
        return Ok(None);
    };
    read(plan.id, &mut reply).map(Some)
}

/// Also what a refresh without the session would have answered.
pub(crate) async fn run_and_get(
    call: &Call,
    session: &dyn SessionRef,
) -> Result<Option<(Session, Refreshed)>> {
    let Some((plan, mut reply)) = settle(call, session, "record").await? else {
        return Ok(None);
    };
    let refreshed = read(plan.id, &mut reply)?;
    let session = reply.session(&refreshed.id)?;
    Ok(Some((session, refreshed)))
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
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let cmd = |plan: &KeyPlan| {
        let keys = call.keys().of_session(plan.id.as_str(), &plan.index_fields);
        let lease = call.fence_key();
        let mut cmd = call.evalsha(&script::REFRESH, keys.iter().chain([&lease]));
        cmd.arg(plan.id.as_str());
        cmd.arg(&plan.index_fields.user).arg(&plan.index_fields.connection).arg(&plan.index_fields.node);
        cmd.arg(rules.threshold_thousandths()).arg(ms(rules.touch_interval)).arg(ms(rules.grace)).arg(want);
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
