//! A question to several servers that one task asks for all who want to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::RedisResult;
use tokio::sync::watch;
use tokio::time::Instant;

/// What was answered last, and whether somebody asks just now.
#[derive(Debug)]
pub(crate) struct Survey<T> {
    told: watch::Sender<Told<T>>,
    is_asking: AtomicBool,
}

/// An answer, and when the servers were asked for it. `None`: they never were.
#[derive(Clone, Debug)]
struct Told<T> {
    asked: Option<Instant>,
    answer: RedisResult<T>,
}

impl<T: Clone + Send + Sync + 'static> Survey<T> {
    /// One that was not made yet.
    pub(crate) fn new() -> Self {
        let answer = Err(std::io::Error::other("no server was asked yet").into());
        let (told, _) = watch::channel(Told { asked: None, answer });
        Self { told, is_asking: AtomicBool::new(false) }
    }

    /// The answer to a question that is asked not before that. Where nobody asks, `ask` begins to.
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

    /// Begins to ask, unless somebody does.
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

/// A question that is being asked. Whatever becomes of it, those who wait are told.
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
        let broken_off =
            || Err(std::io::Error::other("the task that asks the servers was broken off").into());
        let answer = self.answer.take().unwrap_or_else(broken_off);
        // First this, for whoever is told begins the next.
        self.survey.is_asking.store(false, Ordering::Release);
        self.survey.told.send_replace(Told { asked: Some(self.asked), answer });
    }
}
