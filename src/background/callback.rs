//! Callbacks by which a background task reports to the service.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A function of the service that a task calls with each event. If it panics, the task logs and counts the panic, and
/// goes on.
pub(crate) struct Callback<T> {
    function: Option<Function<T>>,
    panics: Arc<AtomicU64>,
}

type Function<T> = Arc<dyn Fn(&T) + Send + Sync>;

impl<T> Callback<T> {
    pub(crate) fn new(function: impl Fn(&T) + Send + Sync + 'static) -> Self {
        Self { function: Some(Arc::new(function)), panics: Arc::default() }
    }

    pub(crate) fn call(&self, event: &T) {
        let Some(function) = &self.function else { return };
        // A panic leaves only the function's own state half done, none of ours.
        if catch_unwind(AssertUnwindSafe(|| function(event))).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a callback panicked; the task goes on");
        }
    }

    /// Counts its panics together with those of another callback.
    pub(crate) fn count_with<U>(&mut self, other: &Callback<U>) {
        self.panics = other.panics.clone();
    }

    /// The count of panics, for a handle that outlives the task. The function itself is dropped with the task.
    pub(crate) fn panics(&self) -> Panics {
        Panics(self.panics.clone())
    }
}

/// How often a callback panicked.
#[derive(Clone, Debug)]
pub(crate) struct Panics(Arc<AtomicU64>);

impl Panics {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Calls nothing.
impl<T> Default for Callback<T> {
    fn default() -> Self {
        Self { function: None, panics: Arc::default() }
    }
}

impl<T> Clone for Callback<T> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), panics: self.panics.clone() }
    }
}

impl<T> fmt::Debug for Callback<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("is_set", &self.function.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_the_next_event_is_told() {
        let told = Arc::new(AtomicU64::new(0));
        let count = told.clone();
        let callback = Callback::new(move |event: &u64| {
            assert_ne!(*event, 1, "planted");
            count.fetch_add(*event, Ordering::Relaxed);
        });
        [1, 2].iter().for_each(|event| callback.call(event));
        assert_eq!((callback.panics().get(), told.load(Ordering::Relaxed)), (1, 2));
    }

    #[test]
    fn two_that_count_together_have_one_count() {
        let one = Callback::new(|()| panic!("planted"));
        let mut other = one.clone();
        other.count_with(&Callback::<u64>::default());
        other.call(&());
        assert_eq!(one.panics().get(), 0);
        other.count_with(&one);
        [&one, &other].iter().for_each(|callback| callback.call(&()));
        assert_eq!((one.panics().get(), other.panics().get()), (2, 2));
    }
}
