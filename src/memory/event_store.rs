//! Reads events in memory: one task per reader.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use crate::memory::call::Memory;
use crate::memory::events::AT_ONCE;
use crate::memory::store::MemoryStore;
use crate::model::{EntryId, Error, EventsFrom, EventsPosition, Result, Told, require_name, require_runtime};
use crate::store::event_store::{EventStore, EventStream, Part};
use crate::store::meter;

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
        return Err(Error::invalid("events", "are not turned on by the rules of this store"));
    }
    require_runtime()?;
    let read = match &from {
        EventsFrom::Beginning => 0,
        EventsFrom::Now => store.memory.events.count(),
        EventsFrom::Position(EventsPosition(places)) => match places.as_slice() {
            [place] => place.map_or(0, |place| place.count),
            _ => return Err(Error::invalid("events position", "is of several partitions")),
        },
    };
    let (tell, told) = mpsc::channel(AT_ONCE);
    let count = store.memory.events.counts();
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
        let oldest = batch.events.first().map(|(_, _, told)| *told);
        let events = batch.events.into_iter().map(|(place, event, _)| Part {
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
        oldest.iter().for_each(|told| meter::EVENTS_LAG.record(told, &[]));
        if is_at_the_end && count.changed().await.is_err() {
            return;
        }
    }
}
