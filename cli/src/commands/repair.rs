//! repair: repairs violations in the stored data.

use cloakroom::RedisStore;
use cloakroom::verify::{Repaired, Verified, Violation};

use crate::arguments::RepairArguments;
use crate::commands::verify::{Walk, line, told};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The most passes through the stored data: one violation may have hidden another.
const PASSES: usize = 5;

pub(crate) async fn run(
    store: &RedisStore,
    arguments: &RepairArguments,
    output: &Output,
) -> Result<(), Failure> {
    let (interrupt, mut all) = (Interrupt::listen(), Pass::default());
    for _ in 0..PASSES {
        let pass = go_through(store, arguments, output, &interrupt).await?;
        let is_last = pass.mended == 0;
        all = Pass { mended: all.mended + pass.mended, gone: all.gone + pass.gone, ..pass };
        if is_last {
            break;
        }
    }
    summary(output, &all)
}

/// The result of one pass through the stored data.
#[derive(Default)]
struct Pass {
    verified: Verified,
    mended: u64,
    /// Violations that no longer existed: they were repaired with others.
    gone: u64,
    /// Violations that remain.
    left: u64,
}

async fn go_through(
    store: &RedisStore,
    arguments: &RepairArguments,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Pass, Failure> {
    let mut walk = Walk::begin(store, &arguments.verify, interrupt.clone());
    let mut pass = Pass::default();
    while let Some(found) = walk.next().await? {
        for violation in &found {
            let repaired = if arguments.apply { Some(store.repair(violation).await?) } else { None };
            match repaired {
                Some(Repaired::Mended) => pass.mended += 1,
                Some(Repaired::Gone) => pass.gone += 1,
                _ => pass.left += 1,
            }
            let (word, mut value) = (word(repaired, violation), output.violation(violation));
            value["repaired"] = word.into();
            walk.tell(output, &value, &format!("{word:<7}  {}", output.line_of_violation(violation)))?;
        }
    }
    pass.verified = walk.end();
    Ok(pass)
}

/// The result for a violation. Without --apply nothing was done.
fn word(repaired: Option<Repaired>, violation: &Violation) -> &'static str {
    match repaired {
        Some(Repaired::Mended) => "mended",
        Some(Repaired::Gone) => "gone",
        None if violation.is_mendable() => "to_mend",
        _ => "left",
    }
}

fn summary(output: &Output, pass: &Pass) -> Result<(), Failure> {
    let Pass { verified, mended, gone, left } = pass;
    let mut value = told(verified);
    for (name, count) in [("mended", mended), ("gone", gone), ("left", left)] {
        value[name] = (*count).into();
    }
    output.tell(&value, &format!("{}; {mended} mended, {gone} gone, {left} left", line(verified)))?;
    if *left > 0 { Err(Failure::Violated(*left)) } else { Ok(()) }
}
