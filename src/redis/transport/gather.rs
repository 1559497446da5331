//! Calls of callers at once, of which the first sees to all.
//!
//! What goes around a call (a connection, a wake of the task that writes and one of the task that reads, what a server does
//! at each script) costs more than the call. So those that come while others are under way go together. Nobody waits for
//! others to come: what is there when the runtime has nothing else to do is sent, and a call that comes when none is under
//! way is sent at once, alone.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Those that wait to be sent. Each has a channel to its caller, which ends when it is dropped unanswered.
pub(crate) struct Gather<T> {
    waiting: Mutex<Vec<T>>,
    /// How many batches are on their way.
    under_way: AtomicUsize,
}

/// Without what waits, which may have session ids in it.
impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl<T> Default for Gather<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), under_way: AtomicUsize::new(0) }
    }
}

impl<T: Send + 'static> Gather<T> {
    /// Adds a call, and waits for its answer; `None` if it was let go of. Where it is the first of those that wait, it
    /// sees to the sending of all: `send` tells the first of those that it is given its answer itself, in no other task.
    ///
    /// Cancellation safety: once the first one has its answer, or its caller gives up, a task goes on with the others.
    pub(crate) async fn answer<A, F>(
        self: &Arc<Self>,
        call: T,
        mut answer: oneshot::Receiver<A>,
        send: impl FnOnce(Vec<T>) -> F + Send + 'static,
    ) -> Option<A>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let is_first = {
            let mut waiting = self.lock();
            waiting.push(call);
            waiting.len() == 1
        };
        if is_first {
            let turn = Turn { gather: self.clone(), taken: false };
            let mut work = SeenThrough(Some(Box::pin(turn.take(send))));
            // Its own answer comes of this work. Were it waited for as the others wait, the task would wake itself with it,
            // and with that another thread, at each call.
            let answered = poll_fn(|context| match Pin::new(&mut work).poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => match answer.try_recv() {
                    Err(TryRecvError::Empty) => Poll::Pending,
                    told => Poll::Ready(Some(told.ok())),
                },
            });
            if let Some(told) = answered.await {
                return told;
            }
        }
        answer.await.ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of the caller that came first.
struct Turn<T: Send + 'static> {
    gather: Arc<Gather<T>>,
    taken: bool,
}

impl<T: Send + 'static> Turn<T> {
    async fn take<F: Future<Output = ()>>(mut self, send: impl FnOnce(Vec<T>) -> F) {
        // Those who were woken by the same replies as the first come now. Nobody was, if nothing is under way.
        if self.gather.under_way.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        let calls = std::mem::take(&mut *self.gather.lock());
        self.taken = true;
        self.gather.under_way.fetch_add(1, Ordering::Relaxed);
        send(calls).await;
    }
}

/// A runtime that shuts down drops it half done. Nobody else would send what waits for it, so that is let go.
impl<T: Send + 'static> Drop for Turn<T> {
    fn drop(&mut self) {
        if self.taken {
            self.gather.under_way.fetch_sub(1, Ordering::Relaxed);
        } else {
            drop(std::mem::take(&mut *self.gather.lock()));
        }
    }
}

/// Work that a task goes on with when its caller gives up.
struct SeenThrough(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Future for SeenThrough {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.0 else { return Poll::Ready(()) };
        ready!(work.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(())
    }
}

impl Drop for SeenThrough {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}
