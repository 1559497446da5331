//! The events of the store. Changes made here while the store is away become events when they are written
//! back.

use async_trait::async_trait;

use crate::fallback::store::FallbackStore;
use crate::model::{Error, EventsFrom, Result};
use crate::store::event_store::{EventStore, EventStream};

#[async_trait]
impl EventStore for FallbackStore {
    async fn events(&self, from: EventsFrom) -> Result<EventStream> {
        self.told_by_the_store()?.events(from).await
    }

    async fn events_of_node(&self, node: &str, from: EventsFrom) -> Result<EventStream> {
        self.told_by_the_store()?.events_of_node(node, from).await
    }
}

impl FallbackStore {
    fn told_by_the_store(&self) -> Result<&dyn EventStore> {
        self.store.event_store().ok_or_else(|| Error::invalid("events", "are not supported by the store"))
    }
}
