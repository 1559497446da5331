//! A history: the calls, their times and their ends; whether it is linearizable, and if not, the proof.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;

use super::call::{Answer, Call, End};
use super::model::Act;
use super::search::{Instant, Verdict, search};

/// How many ways the search follows, and how many where a report is only made shorter.
const WAYS: usize = 500_000;
const WAYS_TO_LESS: usize = 20_000;

/// A call of a history. Times count what began and ended in it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) client: usize,
    pub(super) call: Call,
    pub(super) began: u64,
    pub(super) ended: Option<u64>,
    pub(super) end: End,
    /// Made again by its caller after it was ambiguous.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
pub(super) struct History {
    entries: Mutex<(u64, Vec<Entry>)>,
}

impl History {
    /// Notes that a call begins, and returns its place.
    pub(super) fn begin(&self, client: usize, call: Call) -> usize {
        let (time, entries) = &mut *self.entries.lock().unwrap();
        *time += 1;
        let entry = Entry { client, call, began: *time, ended: None, end: End::Unknown, again: false };
        entries.push(entry);
        entries.len() - 1
    }

    pub(super) fn made_again(&self, at: usize) {
        self.entries.lock().unwrap().1[at].again = true;
    }

    pub(super) fn end(&self, at: usize, end: End) {
        let (time, entries) = &mut *self.entries.lock().unwrap();
        *time += 1;
        entries[at].ended = Some(*time);
        entries[at].end = end;
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().1.clone()
    }

    pub(super) fn is_linearizable(&self) -> bool {
        verdict(&self.entries(), WAYS) == Verdict::Linearizable
    }

    /// What shows that no order of the calls explains their answers.
    pub(super) fn report(&self) -> String {
        let entries = self.entries();
        match verdict(&entries, WAYS) {
            Verdict::Linearizable => "it is linearizable".to_owned(),
            Verdict::Violation => report(&entries),
            Verdict::Undecided => format!("there are too many orders\n{}", told(&entries, |_| true)),
        }
    }

    /// Fails with the calls that contradict each other.
    pub(super) fn assert_linearizable(&self) {
        assert!(self.is_linearizable(), "not linearizable: {}", self.report());
    }
}

/// How many ids there are, numbered from 0.
fn ids(entries: &[Entry]) -> usize {
    let named = entries.iter().flat_map(|entry| entry.call.ids()).max();
    usize::from(named.unwrap_or(0)) + 1
}

fn verdict(entries: &[Entry], ways: usize) -> Verdict {
    let ids = ids(entries);
    let instants: Vec<Instant> = entries.iter().flat_map(|entry| instants(entry, ids)).collect();
    let mut rotated_from = vec![None; ids];
    for entry in entries {
        if let Call::Rotate { id, to, .. } = entry.call {
            rotated_from[usize::from(to)] = Some(id);
        }
    }
    search(&instants, &rotated_from, ways)
}

/// The instants of a call.
fn instants(entry: &Entry, ids: usize) -> Vec<Instant> {
    let Entry { call, began, ended, end, again, .. } = entry;
    let instant = |act, ended| Instant { act, began: *began, ended };
    let Call::DeleteUser { user } = *call else {
        return match (end, ended) {
            (End::NotExecuted, _) => Vec::new(),
            (End::Answered(answer), Some(ended)) => {
                let answer = match *answer {
                    Answer::Bound { id, version, .. } if *again => Answer::BoundBefore { id, version },
                    ref answer => answer.clone(),
                };
                vec![instant(Act::Call(call.clone()), Some((*ended, answer)))]
            }
            _ if call.reads() => Vec::new(),
            _ => vec![instant(Act::Call(call.clone()), None)],
        };
    };
    // It removes in batches. After any error some may be deleted; and one that is made again tells only the rest.
    let all = 0..u8::try_from(ids).unwrap();
    let (End::Answered(Answer::Removed(removed)), Some(ended)) = (end, ended) else {
        return all.map(|id| instant(Act::Remove { user, id }, None)).collect();
    };
    let mut instants: Vec<Instant> = Vec::new();
    for one in removed {
        let answer = Answer::Removed(vec![*one]);
        instants.push(instant(Act::Remove { user, id: one.0 }, Some((*ended, answer))));
    }
    if *again {
        let told = |id: &u8| removed.iter().any(|one| one.0 == *id);
        let rest = all.filter(|id| !told(id));
        instants.extend(rest.map(|id| instant(Act::Remove { user, id }, None)));
    }
    instants.push(instant(Act::NoneLeft { user, since: *began }, Some((*ended, Answer::Ended(true)))));
    instants
}

/// The calls that contradict each other, and what became of the ids that they are about.
fn report(entries: &[Entry]) -> String {
    let core = core(entries);
    let is_core = |entry: &Entry| core.iter().any(|other| other.began == entry.began);
    let named: BTreeSet<u8> = core.iter().flat_map(|entry| entry.call.ids()).collect();
    let about = |entry: &Entry| {
        let ids = entry.call.ids();
        is_core(entry) || ids.is_empty() || ids.iter().any(|id| named.contains(id))
    };
    format!(
        "these answers contradict each other, whatever else happened:\n{}\nall calls about these ids:\n{}",
        told(entries, is_core),
        told(entries, about)
    )
}

/// The fewest answers that no order explains, while all other calls may have happened or not.
fn core(entries: &[Entry]) -> Vec<Entry> {
    let mut weaker = entries.to_vec();
    let mut core = Vec::new();
    for at in (0..weaker.len()).rev() {
        let whole = weaker[at].clone();
        if !matches!(whole.end, End::Answered(_)) {
            continue;
        }
        weaker[at].end = End::Unknown;
        if !matches!(verdict(&weaker, WAYS_TO_LESS), Verdict::Violation) {
            core.push(whole.clone());
            weaker[at] = whole;
        }
    }
    core
}

/// The calls in the order in which they began, a line each.
fn told(entries: &[Entry], which: impl Fn(&Entry) -> bool) -> String {
    let mut text = String::new();
    for entry in entries.iter().filter(|entry| which(entry)) {
        let Entry { client, call, began, ended, end, again } = entry;
        let ended = ended.map_or_else(|| "?".to_owned(), |ended| ended.to_string());
        let again = if *again { ", made again" } else { "" };
        let _ =
            writeln!(text, "{began:>4}-{ended:<4} client {client}: {call:?}\n            -> {end:?}{again}");
    }
    text
}
