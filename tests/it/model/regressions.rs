//! Cases that failed once, as the random run printed them: each shrunk, then cut down by hand.

use super::case::{Case, Lane};
use super::rules::{CaseRules, Policy};
use super::step::Call::{Bind, Create, Export, Import, Patch};
use super::step::Entry;
use super::step::{Call, Mode, On, Replaces, Span, Step, Ttl, here, there};

const USUAL: CaseRules = CaseRules::usual();

/// Runs a case by the rules of here and there, and compares all that is stored after each step.
fn agree(rules: [CaseRules; 2], steps: impl IntoIterator<Item = Step>) {
    let mut case = Case::new(&rules);
    for step in steps {
        case.step(&step);
        case.compare_all();
    }
    drop(case);
    drop(Lane::take());
}

/// An active session without a node and entries; a user or connection 0 is none.
fn create(id: u8, user: u8, connection: u8) -> Call {
    let entries: Vec<Entry> = Vec::new();
    Create { id: Some(id), user, connection, node: 0, mode: Mode::Active, ttl: None, entries }
}

fn with_ttl(id: u8, ttl: Ttl) -> Call {
    let entries: Vec<Entry> = Vec::new();
    Create { id: Some(id), user: 0, connection: 0, node: 0, mode: Mode::Active, ttl: Some(ttl), entries }
}

fn short_lived(id: u8) -> Call {
    with_ttl(id, Ttl::Short)
}

fn import(export: u8) -> Call {
    Import { export, crossed: false, replaces: Replaces::Older }
}

/// The script asked for the expired session to be reaped before it looked at the limit.
#[test]
fn a_create_that_the_limit_refuses_reaps_nothing() {
    let rules = CaseRules { limit: Some((1, Policy::Reject)), ..USUAL };
    agree(
        [rules, USUAL],
        [here(create(0, 0, 1)), Step::Advance(Span::Ttl), here(create(1, 1, 0)), here(create(0, 1, 1))],
    );
}

/// The store in memory did that before it looked at the connection, too.
#[test]
fn a_create_whose_connection_is_taken_reaps_nothing() {
    agree(
        [USUAL, USUAL],
        [here(short_lived(3)), Step::Advance(Span::ThirdOfTtl), here(create(1, 0, 2)), here(create(3, 0, 2))],
    );
}

/// Script and memory alike reaped the expired session with the id before they looked at the connection.
#[test]
fn an_import_whose_connection_is_taken_reaps_nothing() {
    agree(
        [USUAL, USUAL],
        [
            here(short_lived(0)),
            there(create(0, 0, 3)),
            there(Export(On::Id(0))),
            Step::Advance(Span::ThirdOfTtl),
            here(create(1, 0, 3)),
            here(import(0)),
        ],
    );
}

/// In memory it stayed stored as long as the version that it replaced.
#[test]
fn an_import_that_expires_sooner_than_what_it_replaces_is_stored_shorter() {
    let shorter =
        Patch { on: On::Id(0), entries: Vec::new(), mode: None, ttl: Some(Ttl::Short), expect: None };
    agree(
        [USUAL, USUAL],
        [
            here(create(0, 0, 0)),
            here(Export(On::Id(0))),
            there(import(0)),
            here(shorter),
            here(Export(On::Id(0))),
            there(import(0)),
        ],
    );
}

/// Not found at random, so that it is not forgotten: an import is noted in the second place, even where there is one.
#[test]
fn an_import_is_recognized_until_the_third_change_after_it() {
    let bind = |connection| here(Bind { on: On::Id(0), connection, node: 0, take_over: false });
    agree(
        [USUAL, USUAL],
        [
            there(create(0, 0, 0)),
            there(Export(On::Id(0))),
            here(import(0)),
            Step::Again(0),
            bind(1),
            Step::Again(1),
            bind(2),
            Step::Again(2),
            bind(3),
            Step::Again(3),
        ],
    );
}

/// The check of the TTLs was wrong, not what it checked: it took the time that a record has by the server's clock, which
/// the case does not move, for the time that it needs.
#[test]
fn an_expiry_index_that_is_kept_longer_after_the_clock_moved_outlives_what_was_made_before() {
    let there_rules = CaseRules { ttl: 120_000, grace: 1_200_000, ..USUAL };
    let on = |spans: &[Span]| spans.iter().copied().map(Step::Advance).collect::<Vec<_>>();
    let mut steps = on(&[Span::Ttl, Span::ThirdOfTtl, Span::ThirdOfTtl]);
    steps.push(there(with_ttl(0, Ttl::Long)));
    steps.extend(on(&[Span::Ttl, Span::Ttl, Span::ThirdOfTtl, Span::ThirdOfTtl]));
    steps.push(there(create(1, 0, 0)));
    agree([USUAL, there_rules], steps);
}
