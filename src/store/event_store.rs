//! A stream of events: what happened to sessions.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::model::{EntryId, EventsFrom, EventsPosition, Result, Told};

/// A store that writes events and reads them back: see [`Rules::events`](crate::Rules::events).
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Reads the events of all sessions. They come in order within each partition.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the rules leave events off, or if the position comes from
    /// a namespace with another number of partitions; [`Error::NotExecuted`](crate::Error::NotExecuted) if
    /// the server does not answer in time; [`Refusal::Forbidden`](crate::Refusal::Forbidden) if the store's
    /// user may not read streams.
    async fn events(&self, from: EventsFrom) -> Result<EventStream>;

    /// Reads the events of the sessions that a node has or had. A gateway reads its own events by this call, at
    /// a cost that does not grow with the number of gateways.
    ///
    /// # Errors
    /// Those of [`events`](Self::events), and [`Error::Invalid`](crate::Error::Invalid) for a name that is
    /// empty or too long.
    async fn events_of_node(&self, node: &str, from: EventsFrom) -> Result<EventStream>;
}

/// Events as they happen: a `Stream` that ends when its store is closed. It delivers each event at least
/// once.
///
/// A slow reader loses nothing until the streams in the store drop their oldest events.
#[derive(Debug)]
pub struct EventStream {
    incoming: mpsc::Receiver<Part>,
    position: EventsPosition,
    at: Option<EntryId>,
    readers: Vec<AbortHandle>,
}

/// What a reader found in a partition: the position of an entry, and its event if that is for the caller.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) partition: u16,
    /// `None`: the reader has read nothing there yet.
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

    /// Waits for the next event. `None`: the store is closed.
    ///
    /// Cancellation safety: dropping this future loses no event.
    pub async fn next(&mut self) -> Option<Told> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The position behind the last event that the stream returned. Store it once you have handled that
    /// event.
    #[must_use]
    pub fn position(&self) -> &EventsPosition {
        &self.position
    }

    /// When the last returned event happened, by its server's clock, in milliseconds since the epoch. `None` before the
    /// first event, and after a `Lagged`.
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
