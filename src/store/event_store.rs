//! What became of sessions, read as it is told.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::model::{EntryId, EventsFrom, EventsPosition, Result, Told};

/// A store that tells events: see [`Rules::events`](crate::Rules::events).
#[async_trait]
pub trait EventStore: Send + Sync {
    /// What becomes of the sessions of all partitions, in order within each.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) where the rules ask for no events, or the position is of another number of
    /// partitions; [`Error::NotExecuted`](crate::Error::NotExecuted) where the server does not answer in time;
    /// [`Refusal::Forbidden`](crate::Refusal::Forbidden) where its user may not read streams.
    async fn events(&self, from: EventsFrom) -> Result<EventStream>;

    /// What becomes of the sessions that a node has, or had before: for a gateway, which then learns of its own
    /// connections at a cost that does not grow with the other gateways.
    ///
    /// # Errors
    /// The same; and [`Error::Invalid`](crate::Error::Invalid) for an empty or too long name.
    async fn events_of_node(&self, node: &str, from: EventsFrom) -> Result<EventStream>;
}

/// Events, as they are told: a `Stream` that ends when its store is closed. Each is told at least once.
///
/// Whoever takes them slowly is waited for, up to what the streams keep.
#[derive(Debug)]
pub struct EventStream {
    incoming: mpsc::Receiver<Part>,
    position: EventsPosition,
    at: Option<EntryId>,
    readers: Vec<AbortHandle>,
}

/// What a reader found in a partition: an entry, and what it tells, if that is for the caller.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: u16,
    /// `None`: nothing was read there yet.
    pub(crate) at: Option<EntryId>,
    pub(crate) told: Option<Told>,
}

impl EventStream {
    pub(crate) fn new(
        incoming: mpsc::Receiver<Part>,
        position: EventsPosition,
        readers: Vec<AbortHandle>,
    ) -> Self {
        Self { incoming, position, at: None, readers }
    }

    /// The next one, however long it takes. `None`: the store is closed.
    ///
    /// Cancellation safety: nothing is lost where this is dropped.
    pub async fn next(&mut self) -> Option<Told> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// Up to where it was read: behind what was told last. To be stored once that was heeded.
    #[must_use]
    pub fn position(&self) -> &EventsPosition {
        &self.position
    }

    /// When the event happened that was told last, by its server's clock, in milliseconds since the epoch. `None`: none was
    /// told yet, or that some were missed.
    #[must_use]
    pub fn at_ms(&self) -> Option<u64> {
        self.at.map(|at| at.ms)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Told>> {
        loop {
            let Some(part) = std::task::ready!(self.incoming.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            if let Some(place) = self.position.0.get_mut(usize::from(part.partition)) {
                *place = part.at;
            }
            if let Some(told) = &part.told {
                self.at = part.at.filter(|_| matches!(told, Told::Event(_)));
                return Poll::Ready(part.told);
            }
        }
    }
}

impl Stream for EventStream {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Told>> {
        self.poll(context)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}
