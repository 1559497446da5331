//! freeze: lets callers read and delete a live session, but not change it, while it moves to another store.

use crate::model::{Export, Freezing, Frozen, Result, SessionRef, ms};
use crate::redis::call::Call;
use crate::redis::key_plan::{KeyPlan, OnRotated};
use crate::redis::script;

pub(crate) async fn run(call: &Call, session: &dyn SessionRef, freezing: &Freezing) -> Result<Frozen> {
    freezing.check()?;
    let Freezing { task, place, node, span } = freezing;
    let mut plan = KeyPlan::of(session, OnRotated::Follow);
    let cmd = |plan: &KeyPlan| {
        let keys = [call.keys().session(plan.id.as_str()), call.keys().migrations()];
        let mut cmd = call.evalsha(&script::FREEZE, keys.iter());
        cmd.arg(task.as_bytes()).arg(plan.id.as_str()).arg(place).arg(node);
        cmd.arg(ms(*span)).arg(ms(call.rules().grace));
        cmd
    };
    let mut reply = plan.settle(call, &script::FREEZE, cmd).await?;
    match reply.word.as_str() {
        "ok" => {
            let until_ms = reply.number()?;
            let (session, changes) = reply.export(&plan.id)?;
            Ok(Frozen { export: Export::new(session, changes), until_ms })
        }
        _ => Err(reply.into_error()),
    }
}
