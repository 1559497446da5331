//! Awaits many calls together.

use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;

/// How many calls are on their way at once: enough to fill a pipeline, and few enough that none waits long.
const AT_ONCE: usize = 200;

/// A call that is not sent yet.
pub(crate) type PendingCall<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Awaits calls together and returns their answers in order.
pub(crate) async fn join<'a, T>(calls: impl IntoIterator<Item = PendingCall<'a, T>>) -> Vec<T> {
    let mut answers = Vec::new();
    let mut calls: Vec<_> = calls.into_iter().collect();
    while !calls.is_empty() {
        let later = calls.split_off(calls.len().min(AT_ONCE));
        answers.extend(join_all(calls).await);
        calls = later;
    }
    answers
}
