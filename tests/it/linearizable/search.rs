//! Whether a history is linearizable: whether there is an order of its calls, each at one instant between its beginning
//! and its end, in which every answer is the model's.
//!
//! This is the search of Wing and Gong, with what Lowe added: of two ways that did the same calls and came to the same
//! state, one is followed. Without that (`stateright`'s tester has none) histories of forty calls, of which a third may
//! have happened or not, take too long.

use std::collections::HashSet;

use super::call::Answer;
use super::model::{Act, State};

/// Of so many acts the search keeps account.
const MOST: usize = 256;

/// Something that happened at one instant, or may have.
#[derive(Clone, Debug)]
pub(super) struct Instant {
    pub(super) act: Act,
    pub(super) began: u64,
    /// When it had certainly happened, and with what answer. `None`: it may never happen.
    pub(super) ended: Option<(u64, Answer)>,
}

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Linearizable,
    /// No order explains it.
    Violation,
    /// There are too many orders.
    Undecided,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Done([u64; MOST / 64]);

impl Done {
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn with(mut self, at: usize) -> Self {
        self.0[at / 64] |= 1 << (at % 64);
        self
    }
}

struct Search<'a> {
    instants: &'a [Instant],
    rotated_from: &'a [Option<u8>],
    /// How many ways are followed before the search gives up.
    ways: usize,
    seen: HashSet<(Done, State)>,
}

/// Searches for an order, on so many ways. `rotated_from` has for each id the one that it took the place of.
pub(super) fn search(instants: &[Instant], rotated_from: &[Option<u8>], ways: usize) -> Verdict {
    assert!(instants.len() <= MOST, "a history of {} parts", instants.len());
    let mut search = Search { instants, rotated_from, ways, seen: HashSet::new() };
    match search.go(Done::default(), &State::new(rotated_from.len())) {
        true => Verdict::Linearizable,
        false if search.seen.len() > ways => Verdict::Undecided,
        false => Verdict::Violation,
    }
}

impl Search<'_> {
    fn go(&mut self, done: Done, state: &State) -> bool {
        let certain = |at: &usize| self.instants[*at].ended.is_some();
        let left = (0..self.instants.len()).filter(|at| !done.has(*at));
        // What began after something left has ended comes after that.
        let ends = left.clone().filter_map(|at| self.instants[at].ended.as_ref().map(|ended| ended.0)).min();
        let Some(ends) = ends else {
            return true;
        };
        if self.seen.len() > self.ways || !self.seen.insert((done, state.clone())) {
            return false;
        }
        let possible = left.filter(|at| self.instants[*at].began < ends);
        let (certain, uncertain): (Vec<usize>, Vec<usize>) = possible.partition(certain);
        let mut ways = Vec::new();
        for at in certain.into_iter().chain(uncertain) {
            let Instant { act, ended, .. } = &self.instants[at];
            let mut next = state.clone();
            let returns = ended.as_ref().map_or(u64::MAX, |ended| ended.0);
            let answer = next.act(act, returns);
            match ended {
                Some((_, told)) if !told.is_as(&answer, self.rotated_from) => {}
                // What changes nothing and is explained now would only stand in the way later.
                Some(_) if next == *state => {
                    ways = vec![(at, next)];
                    break;
                }
                // What would change nothing might as well never happen.
                None if next == *state => {}
                _ => ways.push((at, next)),
            }
        }
        ways.into_iter().any(|(at, next)| self.go(done.with(at), &next))
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{Answer, Call, View};
    use super::super::model::Act;
    use super::{Instant, Verdict, search};

    fn view(version: u32, value: u32) -> View {
        View { id: 0, version, values: [value, 0], user: 0, connection: 0, node: 0, suspended: false }
    }

    fn instant(began: u64, call: Call, ended: Option<(u64, Answer)>) -> Instant {
        Instant { act: Act::Call(call), began, ended }
    }

    fn created() -> Instant {
        let call = Call::Create { id: 0, user: 0, connection: 0, node: 0, value: 1 };
        instant(1, call, Some((2, Answer::Made(view(1, 1)))))
    }

    fn patch(began: u64, value: u32, ended: Option<(u64, u32)>) -> Instant {
        let call = Call::Patch { id: 0, attribute: 0, value, expect: None };
        let answer = |(at, version)| (at, Answer::Patched { id: 0, version, changed: true });
        instant(began, call, ended.map(answer))
    }

    fn read(began: u64, ended: u64, version: u32, value: u32) -> Instant {
        let answer = Answer::Found(Some(view(version, value)));
        instant(began, Call::Get { id: 0 }, Some((ended, answer)))
    }

    #[test]
    fn calls_at_once_happen_in_either_order() {
        for (one, other) in [(2, 3), (3, 2)] {
            let calls = [created(), patch(3, 2, Some((10, one))), patch(4, 3, Some((9, other)))];
            assert_eq!(search(&calls, &[None], 1000), Verdict::Linearizable);
        }
        let calls = [created(), patch(3, 2, Some((10, 2))), patch(4, 3, Some((9, 2)))];
        assert_eq!(search(&calls, &[None], 1000), Verdict::Violation, "both made the same version");
    }

    #[test]
    fn what_was_answered_is_seen_by_whoever_calls_after_that() {
        let calls = [created(), patch(3, 2, Some((4, 2))), read(5, 6, 1, 1)];
        assert_eq!(search(&calls, &[None], 1000), Verdict::Violation);
        let calls = [created(), patch(3, 2, Some((6, 2))), read(4, 5, 1, 1)];
        assert_eq!(search(&calls, &[None], 1000), Verdict::Linearizable);
    }

    #[test]
    fn what_is_unknown_happens_late_or_never_but_once() {
        let unknown = patch(3, 2, None);
        let never = [created(), unknown.clone(), read(5, 6, 1, 1)];
        assert_eq!(search(&never, &[None], 1000), Verdict::Linearizable);
        let late = [created(), unknown.clone(), read(5, 6, 1, 1), read(7, 8, 2, 2)];
        assert_eq!(search(&late, &[None], 1000), Verdict::Linearizable);
        let undone = [created(), unknown.clone(), read(5, 6, 2, 2), read(7, 8, 1, 1)];
        assert_eq!(search(&undone, &[None], 1000), Verdict::Violation);
        let twice = [created(), unknown, read(5, 6, 2, 2), patch(7, 3, Some((8, 3))), read(9, 10, 4, 2)];
        assert_eq!(search(&twice, &[None], 1000), Verdict::Violation);
    }

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let calls = [created(), patch(3, 2, None), patch(3, 3, None), patch(3, 4, None), read(4, 5, 9, 9)];
        assert_eq!(search(&calls, &[None], 3), Verdict::Undecided);
        assert_eq!(search(&calls, &[None], 1000), Verdict::Violation);
    }
}
