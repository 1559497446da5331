//! What is to be measured, and for how long.

use std::time::Duration;

use crate::operation::Operation;

/// What the program can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    ServerTime,
    Speed,
    Delay,
    Batch,
    Memory,
    Expired,
    Replication,
    Growth,
    NearCache,
}

impl Part {
    const ALL: [(&str, Self); 9] = [
        ("server-time", Self::ServerTime),
        ("speed", Self::Speed),
        ("delay", Self::Delay),
        ("batch", Self::Batch),
        ("memory", Self::Memory),
        ("expired", Self::Expired),
        ("replication", Self::Replication),
        ("growth", Self::Growth),
        ("near-cache", Self::NearCache),
    ];
}

#[derive(Debug)]
pub(crate) struct Options {
    parts: Vec<Part>,
    operations: Vec<Operation>,
    callers: Vec<usize>,
    /// Only what the table of goals needs.
    pub(crate) goals: bool,
    /// `cargo test` only tries whether it works.
    pub(crate) quick: bool,
    /// How many sessions are stored.
    pub(crate) sessions: u64,
    pub(crate) rounds: usize,
    /// How long one operation of one contender is measured in one round.
    pub(crate) lasts: Duration,
}

impl Options {
    pub(crate) fn from_arguments() -> Self {
        let mut options = Self {
            parts: Vec::new(),
            operations: Vec::new(),
            callers: Vec::new(),
            goals: false,
            quick: true,
            sessions: sessions_wanted().unwrap_or(100_000),
            rounds: 3,
            lasts: Duration::from_millis(100),
        };
        for argument in std::env::args().skip(1) {
            options.take(&argument);
        }
        if options.quick {
            options.sessions = 200;
            options.rounds = 1;
            options.lasts = Duration::from_millis(2);
        }
        options
    }

    fn take(&mut self, argument: &str) {
        let part = Part::ALL.iter().find(|(name, _)| *name == argument);
        let operation = Operation::SINGLE.into_iter().find(|operation| operation.name() == argument);
        match (argument, argument.parse()) {
            ("--bench", _) => self.quick = false,
            ("--goals", _) => self.goals = true,
            (_, Ok(callers)) => self.callers.push(callers),
            // What `cargo test` passes on is not for this program.
            _ => {
                self.parts.extend(part.map(|(_, part)| *part));
                self.operations.extend(operation);
            }
        }
    }

    /// Whether nothing is left out.
    pub(crate) fn is_whole(&self) -> bool {
        let Self { parts, operations, callers, goals, quick, .. } = self;
        parts.is_empty() && operations.is_empty() && callers.is_empty() && !goals && !quick
    }

    /// Named, or nothing was.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    pub(crate) fn wants_operation(&self, operation: Operation) -> bool {
        self.operations.is_empty() || self.operations.contains(&operation)
    }

    pub(crate) fn callers(&self) -> Vec<usize> {
        match (self.callers.is_empty(), self.quick) {
            (false, _) => self.callers.clone(),
            (true, false) => vec![1, 16, 256],
            (true, true) => vec![16],
        }
    }
}

fn sessions_wanted() -> Option<u64> {
    let wanted = std::env::var("CLOAKROOM_BENCH_SESSIONS").ok()?;
    Some(wanted.parse().expect("CLOAKROOM_BENCH_SESSIONS is a number"))
}
