//! What the store tells of its sessions. What happens here while it is away it tells when it is brought there.

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
        self.store.event_store().ok_or_else(|| Error::invalid("events", "are not told by the store"))
    }
}
