//! heartbeat: registers, renews or releases a node's lease.

use crate::memory::call::Call;
use crate::memory::lease::Lease;
use crate::memory::locked_shards::LockedShards;
use crate::model::{Heartbeat, HeartbeatReply, NodeIdentity, Result, Want, ms};

pub(crate) fn run(call: Call<'_>, identity: &NodeIdentity, beat: &Heartbeat) -> Result<HeartbeatReply> {
    beat.check()?;
    // It locks everything, to forget the nodes that were listed for long enough.
    call.reaching_all().settle(|call, locked| Ok(attempt(call.now, locked, identity, beat)))
}

fn attempt(
    now: u64,
    locked: &mut LockedShards<'_>,
    identity: &NodeIdentity,
    beat: &Heartbeat,
) -> HeartbeatReply {
    let found = locked.lease(identity.node());
    let (is_own, is_live) =
        found.map_or((false, false), |lease| (lease.identity == *identity, lease.is_live(now)));
    let deadline = match (beat.want, found) {
        (Want::Register, Some(lease)) if is_live && !is_own => {
            return HeartbeatReply::HeldByAnother { until_ms: lease.deadline };
        }
        (Want::Register, _) if is_own && !is_live => return HeartbeatReply::Lost,
        (Want::Renew, _) if !is_own || !is_live => return HeartbeatReply::Lost,
        (Want::Register | Want::Renew, _) => now + ms(beat.lease),
        (Want::Release, Some(lease)) if is_own => lease.deadline.min(now),
        (Want::Release, _) => return HeartbeatReply::Lost,
    };
    locked.forget_nodes(now);
    let kept_until = deadline + ms(beat.keep);
    locked.set_lease(Lease { identity: identity.clone(), deadline, kept_until, length: ms(beat.lease) });
    HeartbeatReply::Held { until_ms: deadline }
}
