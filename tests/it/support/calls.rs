//! What a piece of work costs, counted at the server.

use std::collections::BTreeMap;

use super::context::Context;

/// Commands and reads that the server has counted.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    commands: BTreeMap<String, u64>,
    reads: u64,
}

/// What came between two counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Times that something arrived at the server: a pipeline is one.
    pub(crate) round_trips: u64,
    /// Scripts run.
    pub(crate) scripts: u64,
    /// Commands by name, those that scripts called included, EVALSHA itself not.
    pub(crate) commands: BTreeMap<String, u64>,
    /// PINGs by which the store checked a connection that was slow to answer, which are counted nowhere else.
    pub(crate) checks: u64,
}

impl Cost {
    /// How many `redis.call` there were, where all the work was one script.
    pub(crate) fn calls(&self) -> u64 {
        self.commands.values().sum()
    }
}

impl Context {
    /// Counts at a server that is the test's own; elsewhere others would be counted too.
    pub(crate) async fn count(&self) -> Count {
        assert!(self.server().is_own(), "counted on a server that is not the test's own");
        let info: String = self.command(&["INFO", "everything"]).await;
        let mut count = Count { commands: BTreeMap::new(), reads: 0 };
        for line in info.lines() {
            if let Some(reads) = line.strip_prefix("total_reads_processed:") {
                count.reads = reads.trim().parse().unwrap();
            } else if let Some((name, stats)) =
                line.strip_prefix("cmdstat_").and_then(|rest| rest.split_once(':'))
            {
                let calls = stats.strip_prefix("calls=").and_then(|rest| rest.split(',').next()).unwrap();
                count.commands.insert(name.to_owned(), calls.parse().unwrap());
            }
        }
        count
    }

    /// What was done since a count.
    pub(crate) async fn cost_since(&self, before: &Count) -> Cost {
        let now = self.count().await;
        let mut commands = now.commands;
        for (name, calls) in &before.commands {
            *commands.get_mut(name).unwrap() -= calls;
        }
        let scripts = commands.get("evalsha").copied().unwrap_or_default();
        // On a busy machine they may come at any time.
        let checks = commands.remove("ping").unwrap_or_default();
        commands.retain(|name, calls| *calls > 0 && name != "info" && name != "evalsha");
        // One read is the second count's own.
        Cost { round_trips: now.reads - before.reads - 1 - checks, scripts, commands, checks }
    }
}
