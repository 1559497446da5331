//! A question to several servers. One task asks it for all callers that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::RedisResult;
use tokio::sync::watch;
use tokio::time::Instant;

/// The last answer, and whether a task is asking now.
#[derive(Debug)]
pub(crate) struct Survey<T> {
    told: watch::Sender<Told<T>>,
    is_asking: AtomicBool,
}

/// An answer, and when the servers were asked for it. `None`: never.
#[derive(Clone, Debug)]
struct Told<T> {
    asked: Option<Instant>,
    answer: RedisResult<T>,
}

impl<T: Clone + Send + Sync + 'static> Survey<T> {
    /// A survey that was not made yet.
    pub(crate) fn new() -> Self {
        let answer = Err(std::io::Error::other("no server was asked yet").into());
        let (told, _) = watch::channel(Told { asked: None, answer });
        Self { told, is_asking: AtomicBool::new(false) }
    }

    /// The answer to a question that is asked no earlier than an instant. If no task is asking, `ask`
    /// starts one.
    pub(crate) async fn told_since<F>(
        self: &Arc<Self>,
        not_before: Instant,
        ask: impl Fn() -> F,
    ) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>> + Send + 'static,
    {
        let mut told = self.told.subscribe();
        loop {
            {
                let told = told.borrow_and_update();
                if told.asked.is_some_and(|asked| asked >= not_before) {
                    return told.answer.clone();
                }
            }
            self.begin(&ask);
            // The sender lives as long as this.
            let _ = told.changed().await;
        }
    }

    /// When the servers were asked for the last answer.
    pub(crate) fn asked(&self) -> Option<Instant> {
        self.told.borrow().asked
    }

    /// Starts to ask, unless a task does so already.
    pub(crate) fn begin<F>(self: &Arc<Self>, ask: impl FnOnce() -> F)
    where
        F: Future<Output = RedisResult<T>> + Send + 'static,
    {
        if self.is_asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let question = Question { survey: self.clone(), asked: Instant::now(), answer: None };
        tokio::spawn(question.put(ask()));
    }
}

/// A question that is being asked. However it ends, the callers that wait get an answer.
struct Question<T: Clone + Send + Sync + 'static> {
    survey: Arc<Survey<T>>,
    asked: Instant,
    answer: Option<RedisResult<T>>,
}

impl<T: Clone + Send + Sync + 'static> Question<T> {
    async fn put(mut self, ask: impl Future<Output = RedisResult<T>>) {
        self.answer = Some(ask.await);
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Question<T> {
    fn drop(&mut self) {
        let broken_off = || Err(std::io::Error::other("the task that asks the servers was cancelled").into());
        let answer = self.answer.take().unwrap_or_else(broken_off);
        // This comes first, because a woken waiter begins the next.
        self.survey.is_asking.store(false, Ordering::Release);
        self.survey.told.send_replace(Told { asked: Some(self.asked), answer });
    }
}
