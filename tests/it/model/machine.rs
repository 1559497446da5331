//! The case as `proptest-state-machine` runs it.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::case::Case;
use super::rules::{CaseRules, case_rules};
use super::step::{Step, steps};

/// The steps of a case do not depend on its state, which only the model knows that runs beside the stores: the ids that
/// the engine makes are random, and decide what comes first of one millisecond.
pub(super) struct Reference;

impl ReferenceStateMachine for Reference {
    /// Of the two places.
    type State = [CaseRules; 2];
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self::State> {
        prop::array::uniform2(case_rules()).boxed()
    }

    fn transitions(_: &Self::State) -> BoxedStrategy<Step> {
        thread_local! {
            static STEPS: BoxedStrategy<Step> = steps();
        }
        STEPS.with(Clone::clone)
    }

    fn apply(rules: Self::State, _: &Step) -> Self::State {
        rules
    }
}

/// The case against every store.
pub(super) struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Case;
    type Reference = Reference;

    fn init_test(rules: &[CaseRules; 2]) -> Case {
        Case::new(rules)
    }

    fn apply(mut case: Case, _: &[CaseRules; 2], step: Step) -> Case {
        case.step(&step);
        case
    }

    fn teardown(case: Case, _: [CaseRules; 2]) {
        case.compare_all();
    }
}
