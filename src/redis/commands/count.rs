//! count: how many live sessions a user or node has.

use crate::model::{Result, Selector};
use crate::redis::call::Call;
use crate::redis::script;
use crate::redis::stored_id::StoredId;
use crate::stored::partitions::Partition;

pub(crate) async fn run(call: &Call, of: &Selector) -> Result<u64> {
    of.validate()?;
    let counts = run_each(call, std::slice::from_ref(of)).await?;
    Ok(counts.into_iter().sum())
}

/// The same for several owners, in one round trip per 1,000 sessions of each.
pub(crate) async fn run_each(call: &Call, of: &[Selector]) -> Result<Vec<u64>> {
    let partitions = call.partitions();
    let indexes_of = |of: &Selector| -> Vec<Index> {
        let homes = partitions.of_owner(of).into_iter();
        homes.map(|partition| (partition, partitions.keys(partition).index(of))).collect()
    };
    let indexes: Vec<Vec<Index>> = of.iter().map(indexes_of).collect();
    let counts = count_indexes(call, &indexes.concat()).await?;
    let mut counts = counts.into_iter();
    Ok(indexes.iter().map(|indexes| counts.by_ref().take(indexes.len()).sum()).collect())
}

/// An index of a user or node: its partition and its key.
pub(crate) type Index = (Partition, Vec<u8>);

/// The same for indexes. On the way it drops entries that lead nowhere, up to 100 per 1,000 that it reads.
pub(crate) async fn count_indexes(call: &Call, indexes: &[Index]) -> Result<Vec<u64>> {
    let mut totals = vec![0; indexes.len()];
    let mut suspects = Vec::new();
    let mut left: Vec<(usize, u64)> = (0..indexes.len()).map(|at| (at, 0)).collect();
    while !left.is_empty() {
        let cmds: Vec<redis::Cmd> =
            left.iter().map(|(at, start)| command(call, &indexes[*at], *start, &[])).collect();
        let replies = call.run_each(&script::COUNT, &cmds).await?;
        let mut more = Vec::new();
        for ((at, _), reply) in left.into_iter().zip(replies) {
            let mut reply = reply.expect_ok()?;
            totals[at] += reply.number()?;
            let start = reply.number()?;
            if start > 0 {
                more.push((at, start));
            }
            let named = reply.rest_ids()?;
            if !named.is_empty() {
                suspects.push((at, named));
            }
        }
        left = more;
    }
    drop_dead(call, indexes, &suspects).await;
    Ok(totals)
}

/// Lets the script drop entries without a record. The count is returned whether that succeeds or not.
async fn drop_dead(call: &Call, indexes: &[Index], suspects: &[(usize, Vec<StoredId>)]) {
    if suspects.is_empty() {
        return;
    }
    let cmds: Vec<redis::Cmd> =
        suspects.iter().map(|(at, ids)| command(call, &indexes[*at], 0, ids)).collect();
    if let Err(error) = call.run_each(&script::COUNT, &cmds).await {
        tracing::debug!(%error, "index entries that lead nowhere were not dropped");
    }
}

fn command(call: &Call, (partition, index): &Index, start: u64, suspects: &[StoredId]) -> redis::Cmd {
    let of_partition = call.partitions().keys(*partition);
    let mut keys = vec![index.clone(), of_partition.expiry()];
    keys.extend(suspects.iter().map(|id| of_partition.session(id)));
    let mut cmd = call.evalsha(&script::COUNT, &keys);
    cmd.arg(start);
    for id in suspects {
        cmd.arg(id);
    }
    cmd
}
