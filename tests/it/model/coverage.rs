//! Checks that a run reached its goals: a model that agrees only on refusals has shown little.

use std::collections::BTreeMap;

/// How often each operation was answered with each word.
pub(super) type Coverage = BTreeMap<(&'static str, &'static str), u64>;

/// Counted beside the word, as "replacing" is: the call was taken for one that had happened.
pub(super) const RECOGNIZED: &str = "recognized";

/// The call may have happened, or did, and what it answered then is not known any more.
pub(super) const AMBIGUOUS: &str = "ambiguous";

/// Every answer that there can be.
const ANSWERS: &[(&str, &[&str])] = &[
    (
        "create",
        &[
            "ok",
            "ok evicting",
            "ok reaping",
            "ok evicting and reaping",
            "exists",
            "gone",
            "moved",
            "taken",
            "limit",
            "too large",
            RECOGNIZED,
        ],
    ),
    ("get", &["ok", "missing", "rotated"]),
    ("update", &["ok", "missing", "rotated", "conflict", "taken", "too large", "no copy", RECOGNIZED]),
    ("patch", &["ok", "unchanged", "missing", "rotated", "conflict", "too large", RECOGNIZED]),
    ("refresh", &["ok", "unchanged", "missing", "rotated"]),
    ("refresh_and_get", &["ok", "missing", "rotated"]),
    (
        "rotate",
        &["ok", "ok evicting", "by another", "exists", "limit", "missing", "rotated", AMBIGUOUS, RECOGNIZED],
    ),
    ("bind", &["ok", "unchanged", "taking over", "taken", "missing", "rotated", RECOGNIZED]),
    ("unbind", &["ok", "unchanged", "missing", "rotated", RECOGNIZED]),
    ("delete", &["ok", "missing", RECOGNIZED]),
    ("export", &["ok", "missing", "rotated"]),
    (
        "import",
        &[
            "ok",
            "replacing",
            "replacing that version",
            "unchanged",
            "missing",
            "conflict",
            "gone",
            "moved",
            "taken",
            "too large",
            "no export",
            RECOGNIZED,
        ],
    ),
    ("list", &["more", "last"]),
    ("list_next", &["more", "last", "no cursor"]),
    ("count", &["ok", "none"]),
    ("by_connection", &["ok", "missing"]),
    ("delete_user", &["ok", "none"]),
    ("expired", &["ok", "none"]),
    ("reap", &["ok", "none"]),
];

/// Prints the counts (seen with `--nocapture`), and fails where an answer never came, or one that is not in the list.
pub(super) fn check(coverage: &Coverage) {
    let mut listed = 0;
    for (operation, words) in ANSWERS {
        let counts = words.iter().map(|word| (word, coverage.get(&(operation, word)).copied().unwrap_or(0)));
        let counts: Vec<_> = counts.collect();
        eprintln!("{operation}: {counts:?}");
        for (word, count) in counts {
            assert!(count > 0, "{operation} was never answered with {word:?}");
            listed += 1;
        }
    }
    assert_eq!(coverage.len(), listed, "an answer that is not in the list: {coverage:?}");
}
