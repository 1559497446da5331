//! docs/promises.md names the tests that hold each promise. A test that moves must not leave its promise without one.

use std::fs;
use std::path::PathBuf;

use crate::support::repository::root;

/// The promises of the page, each with its heading.
fn promises(page: &str) -> Vec<&str> {
    let (promised, _) = page.split_once("\n## What is not promised\n").unwrap();
    promised.split("\n### ").skip(1).collect()
}

/// The files and folders that a promise names in backquotes.
fn named(promise: &str) -> Vec<&str> {
    let quoted = promise.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.ends_with(".rs") || text.contains('/')).collect()
}

/// A name is that of a file of the integration tests, or of one anywhere in the repository.
fn is_there(name: &str) -> bool {
    let places: [PathBuf; 2] = [root().join("tests/it").join(name), root().join(name)];
    places.iter().any(|place| place.exists())
}

#[test]
fn each_promise_names_tests_that_are_there() {
    let page = fs::read_to_string(root().join("docs/promises.md")).unwrap();
    let promises = promises(&page);
    assert!(promises.len() >= 11, "the page has other headings than this test reads");
    for promise in promises {
        let (heading, _) = promise.split_once('\n').unwrap();
        let names = named(promise);
        assert!(!names.is_empty(), "{heading:?} names no test");
        let missing: Vec<&str> = names.into_iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{heading:?} names {missing:?}, which are not there");
    }
}
