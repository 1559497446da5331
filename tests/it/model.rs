//! Random sequences of all operations, made of both stores and of a plain model: every answer and all that is stored
//! at the end must be the same.
//!
//! `CLOAKROOM_MODEL_OPS` sets how many steps; some ten thousand may miss an answer that is asked for at the end.
//! `CLOAKROOM_MODEL_SEED` repeats a run, but for the ids that the engine makes. A case that fails is shrunk and printed;
//! its steps belong into `model/regressions.rs`.

mod case;
mod coverage;
mod machine;
mod picture;
mod plain;
mod regressions;
mod reply;
mod rules;
mod step;
mod turn;

use std::time::Instant;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestError, TestRunner};
use proptest_state_machine::{ReferenceStateMachine as _, StateMachineTest as _};

use self::case::Lane;
use self::coverage::Coverage;
use self::machine::{Machine, Reference};

/// Cases that run side by side, each lane with servers of its own.
const LANES: u64 = 2;
/// Steps of a case.
const STEPS: usize = 250;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[test]
fn random_steps_are_answered_as_the_model_answers_and_leave_what_it_leaves() {
    let steps = number("CLOAKROOM_MODEL_OPS").unwrap_or(100_000);
    let seed = number("CLOAKROOM_MODEL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let began = Instant::now();
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| std::thread::spawn(move || run(seed.wrapping_add(lane), steps / LANES)))
        .collect();
    let (mut coverage, mut done) = (Coverage::new(), 0);
    for lane in lanes {
        let lane = lane.join().unwrap().unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        done += lane.steps;
        lane.coverage.into_iter().for_each(|(key, count)| *coverage.entry(key).or_default() += count);
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{done} steps in {seconds:.1} s, {:.0} a second", done as f64 / seconds);
    coverage::check(&coverage);
}

/// Runs cases of so many steps in all or a few more, and returns what they came to, or the shortest case that fails.
fn run(seed: u64, steps: u64) -> Result<Lane, String> {
    let cases = u32::try_from(steps.div_ceil(STEPS as u64)).unwrap();
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 3000,
        // Each part of each step takes a generator of its own, so it had better be small.
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let cases = Reference::sequential_strategy(STEPS);
    let outcome = TestRunner::new(config.clone()).run(&cases, |(rules, steps, seen)| {
        Machine::test_sequential(config.clone(), rules, steps, seen);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(Lane::take()),
        Err(TestError::Fail(reason, (rules, steps, _))) => {
            let steps: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
            Err(format!("{reason}\n{rules:?}\n{}", steps.join(",\n")))
        }
        Err(error) => Err(error.to_string()),
    }
}
