//! verify: checks the stored data for violations.

use cloakroom::RedisStore;
use cloakroom::verify::{Verified, Verifier, Violation};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::arguments::VerifyArguments;
use crate::counted::counted;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::progress::{Unit, bar};

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &VerifyArguments,
    output: &Output,
) -> Result<(), Failure> {
    let mut walk = Walk::begin(store, arguments, Interrupt::listen());
    while let Some(found) = walk.next().await? {
        for violation in &found {
            walk.tell(output, &output.violation(violation), &output.line_of_violation(violation))?;
        }
    }
    let verified = walk.end();
    output.tell(&told(&verified), &line(&verified))?;
    if verified.violations > 0 { Err(Failure::Violated(verified.violations)) } else { Ok(()) }
}

/// A walk through all stored data, with its progress.
pub(crate) struct Walk {
    verifier: Verifier,
    progress: ProgressBar,
    interrupt: Interrupt,
}

impl Walk {
    pub(crate) fn begin(store: &RedisStore, arguments: &VerifyArguments, interrupt: Interrupt) -> Self {
        let verifier = store.verifier().per_second(arguments.per_second);
        Self { verifier, progress: bar("keys", None, Unit::Things), interrupt }
    }

    /// The violations among the next keys; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Violation>>, Failure> {
        if self.interrupt.is_set() {
            self.progress.finish_and_clear();
            return Err(Failure::Stopped { how_to_go_on: "the same command again".to_owned(), why: None });
        }
        let found = self.verifier.next_step().await?;
        self.progress.set_position(self.verifier.verified().keys);
        Ok(found)
    }

    pub(crate) fn tell(&self, output: &Output, value: &Value, line: &str) -> Result<(), Failure> {
        self.progress.suspend(|| output.tell(value, line))
    }

    pub(crate) fn end(&self) -> Verified {
        self.progress.finish_and_clear();
        self.verifier.verified()
    }
}

pub(crate) fn told(verified: &Verified) -> Value {
    let Verified { keys, sessions, entries, violations, .. } = verified;
    json!({"keys": keys, "sessions": sessions, "entries": entries, "violations": violations})
}

pub(crate) fn line(verified: &Verified) -> String {
    let [keys, sessions, entries, violations] = [
        counted(verified.keys, "key", "keys"),
        counted(verified.sessions, "session", "sessions"),
        counted(verified.entries, "entry", "entries"),
        counted(verified.violations, "violation", "violations"),
    ];
    format!("{violations} in {sessions}, {entries} of indexes, {keys}")
}
