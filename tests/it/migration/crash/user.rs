//! A user of one session while it moves, who remembers the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::{Error, Patch, Refusal, Result, SessionId};

use crate::support::context::Store;

/// What became of the session, as far as its user knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    Deleted,
}

/// Who uses one session.
pub(crate) struct User {
    id: SessionId,
    /// How many changes were answered; the last wrote this number.
    pub(crate) changes: u64,
    pub(crate) fate: Fate,
    /// Between two uses.
    pause_ms: u64,
    /// After how many uses it is deleted, if it ever is: a fifth of all are.
    ends_after: Option<u64>,
}

/// How a try at one store ended.
enum Try {
    Done,
    /// It is not there, or cannot be changed there now.
    NotHere,
}

impl User {
    pub(crate) fn new(id: SessionId) -> Self {
        Self { id, changes: 0, fate: Fate::Lives, pause_ms: 10, ends_after: Self::end(15) }
    }

    fn end(most: u64) -> Option<u64> {
        (fastrand::u64(..5) == 0).then(|| fastrand::u64(1..=most))
    }

    /// One of so many, so that all of them leave the machine time. The first is sure to be deleted.
    pub(crate) fn one_of(self, number: usize, users: usize) -> Self {
        let pause_ms = users as u64;
        let ends_after = if number == 0 { Some(4) } else { Self::end(8) };
        Self { pause_ms, ends_after, ..self }
    }

    /// Uses the session until told to stop, or until it is deleted.
    pub(crate) async fn uses(mut self, one: Store, other: Store, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::SeqCst) && self.fate == Fate::Lives {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=2 * self.pause_ms))).await;
            let stores = if fastrand::bool() { [&one, &other] } else { [&other, &one] };
            match &mut self.ends_after {
                Some(0) => self.delete(stores).await,
                _ if fastrand::u64(..8) == 0 => self.refresh(stores).await,
                ends_after => {
                    if let Some(left) = ends_after {
                        *left -= 1;
                    }
                    self.change(stores).await;
                }
            }
        }
        self
    }

    /// Writes a number that is one higher, wherever that is possible. Of two stores one at most may take it: but the
    /// session may come to the second while the first refuses, and so the second is tried only then.
    async fn change(&mut self, stores: [&Store; 2]) {
        let number = self.changes + 1;
        for store in stores {
            let patch = Patch::new().set("number", &number).unwrap();
            if let Try::Done = tried(store.patch(&self.id, patch).await) {
                self.changes = number;
                self.is_not_changed_in(stores, store).await;
                return;
            }
        }
    }

    /// What was changed in one store can at once be changed in the other only if it moved there since: then the first
    /// takes no change any more.
    async fn is_not_changed_in(&mut self, stores: [&Store; 2], store: &Store) {
        let mut changed = Vec::new();
        let other = if Arc::ptr_eq(stores[0], store) { stores[1] } else { stores[0] };
        for store in [other, store, other] {
            let number = self.changes + 1;
            let patch = Patch::new().set("number", &number).unwrap();
            let done = matches!(tried(store.patch(&self.id, patch).await), Try::Done);
            if done {
                self.changes = number;
            }
            changed.push(done);
        }
        // It may move to the one or to the other in between, but not there and back within three calls.
        assert_ne!(changed, [true, true, true], "changed in two stores in turn");
    }

    async fn refresh(&mut self, stores: [&Store; 2]) {
        for store in stores {
            if matches!(store.refresh(&self.id).await, Ok(Some(_))) {
                return;
            }
        }
    }

    async fn delete(&mut self, stores: [&Store; 2]) {
        for store in stores {
            match store.delete(&self.id).await {
                Ok(Some(_)) => {
                    self.fate = Fate::Deleted;
                    return;
                }
                Ok(_) | Err(Error::Refused(Refusal::Departed { .. })) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// That the session is in one store, with the last change, or in none if it was deleted.
    pub(crate) async fn check(&self, one: &Store, other: &Store) {
        let mut found = Vec::new();
        for store in [one, other] {
            match store.get(&self.id).await {
                Ok(session) => found.extend(session),
                Err(Error::Refused(Refusal::Departed { .. })) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        if self.fate == Fate::Deleted {
            assert!(found.is_empty(), "it was deleted, and is there: {found:?}");
            return;
        }
        assert_eq!(found.len(), 1, "{} is in {} stores", self.id.as_str(), found.len());
        let number = found[0].get::<u64>("number").unwrap().unwrap_or_default();
        assert_eq!(number, self.changes, "the last change of {} that was answered", self.id.as_str());
        // Created at version 1, and one more for each change: none was made twice.
        assert_eq!(found[0].version().get(), 1 + self.changes, "{}", self.id.as_str());
    }
}

fn tried<T>(result: Result<T>) -> Try {
    match result {
        Ok(_) => Try::Done,
        Err(Error::Refused(Refusal::Frozen | Refusal::Missing | Refusal::Departed { .. })) => Try::NotHere,
        Err(error) => panic!("{error:?}"),
    }
}
