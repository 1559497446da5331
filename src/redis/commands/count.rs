//! count: how many live sessions a user or node has.

use crate::model::{Result, Selector};
use crate::redis::call::Call;
use crate::redis::script;

pub(crate) async fn run(call: &Call, of: &Selector) -> Result<u64> {
    of.validate()?;
    let counts = run_each(call, std::slice::from_ref(of)).await?;
    Ok(counts.into_iter().sum())
}

/// The same for each of some, in one round trip for 1,000 sessions of each.
pub(crate) async fn run_each(call: &Call, of: &[Selector]) -> Result<Vec<u64>> {
    let mut totals = vec![0; of.len()];
    let mut left: Vec<(usize, u64)> = (0..of.len()).map(|at| (at, 0)).collect();
    while !left.is_empty() {
        let cmds: Vec<redis::Cmd> = left.iter().map(|(at, start)| command(call, &of[*at], *start)).collect();
        let replies = call.run_each(&script::COUNT, &cmds).await?;
        let mut more = Vec::new();
        for ((at, _), reply) in left.into_iter().zip(replies) {
            let mut reply = reply.expect_ok()?;
            totals[at] += reply.number()?;
            let start = reply.number()?;
            if start > 0 {
                more.push((at, start));
            }
        }
        left = more;
    }
    Ok(totals)
}

fn command(call: &Call, of: &Selector, start: u64) -> redis::Cmd {
    let keys = [call.keys().index(of), call.keys().expiry()];
    let mut cmd = call.evalsha(&script::COUNT, keys.iter());
    cmd.arg(start);
    cmd
}
