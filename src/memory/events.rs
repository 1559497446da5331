//! Events of sessions, in order. One list holds those of all partitions and nodes, because there is one
//! process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::Event;
use crate::store::meter::Beginning;

/// How many events a reader takes at once.
pub(crate) const AT_ONCE: usize = 256;

/// The events of a store. A call writes them while it holds the shards of the session, so they are in the order of the
/// changes.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<Kept>,
    /// How many there were so far, for readers that wait for the next.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Each event with the session's node before, and when it was written.
    told: VecDeque<(Event, String, Beginning)>,
    /// How many there were so far, including dropped ones.
    count: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self { kept: Mutex::default(), count: watch::channel(0).0 }
    }
}

impl Events {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, event: Event, before: String, keep: usize) {
        let mut kept = self.kept();
        kept.told.push_back((event, before, Beginning::now()));
        while kept.told.len() > keep {
            kept.told.pop_front();
        }
        kept.count += 1;
        // Set under the lock, so that it never goes back.
        self.count.send_replace(kept.count);
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.kept().count
    }

    /// A receiver of changes of that count.
    pub(crate) fn counts(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Lets readers look whether the store is closed.
    pub(crate) fn wake(&self) {
        self.count.send_modify(|_| {});
    }

    /// The events behind a count, up to a number of them: whether some were dropped, the count at the last one, and the
    /// events that concern a node, each with its position.
    pub(crate) fn behind(&self, read: u64, node: Option<&str>) -> Batch {
        let kept = self.kept();
        let first = kept.count - kept.told.len() as u64;
        let has_lagged = read < first || read > kept.count;
        let read = if has_lagged { first } else { read };
        let skip = usize::try_from(read - first).unwrap_or(usize::MAX);
        let places = (read + 1..).zip(kept.told.iter().skip(skip)).take(AT_ONCE);
        let concerns = |event: &Event, before: &String| {
            node.is_none_or(|node| event.node.as_deref() == Some(node) || before == node)
        };
        let events = places.clone().filter(|(_, (event, before, _))| concerns(event, before));
        Batch {
            has_lagged,
            read: places.last().map_or(read, |(place, _)| place),
            events: events.map(|(place, (event, _, told))| (place, event.clone(), *told)).collect(),
        }
    }
}

/// What a reader finds.
pub(crate) struct Batch {
    pub(crate) has_lagged: bool,
    pub(crate) read: u64,
    /// Each event with its position, and when it was written.
    pub(crate) events: Vec<(u64, Event, Beginning)>,
}
