//! What became of sessions, kept in order: of all partitions and nodes in one list, for there is one process.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use crate::memory::call::{Call, Memory};
use crate::memory::record::Record;
use crate::memory::store::MemoryStore;
use crate::model::{
    EntryId, Error, Event, EventKind, EventsFrom, EventsPosition, Result, SessionId, Told, Version,
    require_name, require_runtime, some,
};
use crate::store::event_store::{EventStore, EventStream, Part};

/// How many a reader takes at once.
const AT_ONCE: usize = 256;

/// The events of a store. A call tells while it holds the shards of the session, so they are in the order of the changes.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<Kept>,
    /// How many there were so far, for whoever waits for the next.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Each with the node that the session was at before.
    told: VecDeque<(Event, String)>,
    /// How many there were so far, those that are gone included.
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

    fn tell(&self, event: Event, before: String, keep: usize) {
        let mut kept = self.kept();
        kept.told.push_back((event, before));
        while kept.told.len() > keep {
            kept.told.pop_front();
        }
        kept.count += 1;
        // Under the lock, so that it never goes back.
        self.count.send_replace(kept.count);
    }

    /// Lets readers look whether the store is closed.
    pub(crate) fn wake(&self) {
        self.count.send_modify(|_| {});
    }

    /// Those behind so many, up to a number of them: whether some of them are gone, how many were told with the last, and
    /// those that concern a node, each with its place.
    fn behind(&self, read: u64, node: Option<&str>) -> Batch {
        let kept = self.kept();
        let first = kept.count - kept.told.len() as u64;
        let has_lagged = read < first || read > kept.count;
        let read = if has_lagged { first } else { read };
        let skip = usize::try_from(read - first).unwrap_or(usize::MAX);
        let places = (read + 1..).zip(kept.told.iter().skip(skip)).take(AT_ONCE);
        let concerns = |event: &Event, before: &String| {
            node.is_none_or(|node| event.node.as_deref() == Some(node) || before == node)
        };
        let events = places.clone().filter(|(_, (event, before))| concerns(event, before));
        Batch {
            has_lagged,
            read: places.last().map_or(read, |(place, _)| place),
            events: events.map(|(place, (event, _))| (place, event.clone())).collect(),
        }
    }
}

struct Batch {
    has_lagged: bool,
    read: u64,
    events: Vec<(u64, Event)>,
}

impl Call<'_> {
    /// Tells what becomes of a session that is locked, by what it has or had.
    pub(crate) fn tell(&self, kind: EventKind, id: &SessionId, record: &Record, version: u64) {
        self.tell_from(kind, id, record, version, "");
    }

    /// The same of one that was at a node before.
    pub(crate) fn tell_from(
        &self,
        kind: EventKind,
        id: &SessionId,
        record: &Record,
        version: u64,
        before: &str,
    ) {
        let Some(keep) = usize::try_from(self.rules.events).ok().filter(|keep| *keep > 0) else { return };
        let [user, connection, node] =
            [&record.user, &record.connection, &record.node].map(|name| some(name.as_str()).map(Into::into));
        let version = Version::new(version);
        let event = Event { kind, id: id.clone(), user, connection, node, version };
        self.memory.events.tell(event, before.to_owned(), keep);
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn events(&self, from: EventsFrom) -> Result<EventStream> {
        read(self, from, None)
    }

    async fn events_of_node(&self, node: &str, from: EventsFrom) -> Result<EventStream> {
        require_name("node id", node)?;
        read(self, from, Some(node.to_owned()))
    }
}

fn read(store: &MemoryStore, from: EventsFrom, node: Option<String>) -> Result<EventStream> {
    if store.rules.events == 0 {
        return Err(Error::invalid("events", "are not told by the rules of this store"));
    }
    require_runtime()?;
    let read = match &from {
        EventsFrom::Beginning => 0,
        EventsFrom::Now => store.memory.events.kept().count,
        EventsFrom::Position(EventsPosition(places)) => match places.as_slice() {
            [place] => place.map_or(0, |place| place.count),
            _ => return Err(Error::invalid("events position", "is of several partitions")),
        },
    };
    let (tell, told) = mpsc::channel(AT_ONCE);
    let count = store.memory.events.count.subscribe();
    let reader = tokio::spawn(walk(store.memory.clone(), read, node, count, tell));
    Ok(EventStream::new(told, EventsPosition(vec![entry(read)]), vec![reader.abort_handle()]))
}

fn entry(place: u64) -> Option<EntryId> {
    (place > 0).then_some(EntryId { ms: 0, count: place })
}

async fn walk(
    memory: Arc<Memory>,
    mut read: u64,
    node: Option<String>,
    mut count: watch::Receiver<u64>,
    tell: mpsc::Sender<Part>,
) {
    loop {
        count.mark_unchanged();
        let batch = memory.events.behind(read, node.as_deref());
        let lagged = batch.has_lagged.then_some(Part {
            partition: 0,
            at: entry(read),
            told: Some(Told::Lagged { partition: 0 }),
        });
        let events = batch.events.into_iter().map(|(place, event)| Part {
            partition: 0,
            at: entry(place),
            told: Some(Told::Event(event)),
        });
        if memory.closed.load(Ordering::SeqCst) {
            return;
        }
        let is_at_the_end = batch.read == read && !batch.has_lagged;
        read = batch.read;
        let end = Part { partition: 0, at: entry(read), told: None };
        for part in lagged.into_iter().chain(events).chain((!is_at_the_end).then_some(end)) {
            if tell.send(part).await.is_err() {
                return;
            }
        }
        if is_at_the_end && count.changed().await.is_err() {
            return;
        }
    }
}
