//! Checks that the cases leave nothing out.

use std::collections::BTreeSet;

use super::bundle::{Bundle, Operation};
use super::call::Sent;
use super::case::{Case, File, Step};
use super::{exported, files};

fn forms(operation: &Operation, case: &Case) -> BTreeSet<String> {
    let reading = operation.read(&case.call.reply);
    reading.unwrap_or_else(|| panic!("{}: {:?} has no form of the bundle", case.name, case.call.reply)).forms
}

/// The keys of a case's call that hold a foreign type, by their place among those of the call.
fn planted(bundle: &Bundle, file: &File, case: &Case) -> BTreeSet<usize> {
    let operation = &bundle.operations[&file.operation];
    let sent = Sent::new(bundle, operation, "{ns:p}", &case.call.values(&file.defaults));
    let foreign = case.before.iter().filter_map(|step| match step {
        Step::Command { command } if command[0] == "RPUSH" => command[1].as_str(),
        _ => None,
    });
    foreign.flat_map(|key| sent.keys.iter().position(|sent| sent == key)).collect()
}

#[test]
fn every_form_of_reply_of_every_operation_has_a_case() {
    let bundle = exported();
    for (name, File { cases, .. }) in files() {
        let operation = &bundle.operations[&name];
        let covered: BTreeSet<String> = cases.iter().flat_map(|case| forms(operation, case)).collect();
        let holes: Vec<_> = operation.forms().into_iter().filter(|form| !covered.contains(form)).collect();
        assert!(holes.is_empty(), "no case of {name} is answered {holes:?}");
    }
}

#[test]
fn at_every_key_of_every_operation_a_case_plants_a_foreign_type() {
    let bundle = exported();
    for file in files().values() {
        let operation = &bundle.operations[&file.operation];
        let covered: BTreeSet<usize> =
            file.cases.iter().flat_map(|case| planted(&bundle, file, case)).collect();
        let group = operation.group.iter().flat_map(|group| &group.keys);
        for (at, key) in operation.keys.iter().chain(group).enumerate() {
            assert!(
                covered.contains(&at),
                "no case of {} has a foreign type at {}",
                file.operation,
                key.name
            );
        }
        if operation.events.is_some() {
            let is_told = |case: &&Case| case.call.reply == ["corrupt", "events"];
            assert!(
                file.cases.iter().any(|case| is_told(&case)),
                "no case of {} has a foreign stream",
                file.operation
            );
        }
    }
}

#[test]
fn each_operation_has_its_file_of_cases_which_name_what_there_is_and_say_the_time() {
    let bundle = exported();
    let files = files();
    assert!(files.keys().eq(bundle.operations.keys()), "a file an operation: {:?}", files.keys());
    for (stem, file) in &files {
        let mut names = BTreeSet::new();
        assert_eq!(*stem, file.operation);
        for case in &file.cases {
            assert!(names.insert(&case.name), "{}: two cases {}", file.operation, case.name);
            assert_eq!(case.call.operation, file.operation, "{}", case.name);
            for call in case.calls() {
                let operation = &bundle.operations[&call.operation];
                let patterns = operation.keys.iter().map(|key| key.pattern.as_str()).collect::<String>();
                for name in call.with.keys() {
                    let known = operation.arguments.iter().any(|argument| argument.name == *name)
                        || (name == "events" && operation.events.is_some())
                        || operation.group.as_ref().is_some_and(|group| group.name == *name)
                        || patterns.contains(&format!("<{name}>"));
                    assert!(known, "{}: {} has no {name}", case.name, call.operation);
                }
                assert!(call.with["now_ms"].is_u64(), "{}: {} at no time", case.name, call.operation);
            }
        }
    }
}
