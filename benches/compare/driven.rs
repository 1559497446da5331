//! What callers tell of the operations that they did.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What the callers tell.
pub(crate) struct Driven {
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) took: Duration,
    /// Of another process, where they were in one.
    pub(crate) client_cpu: Option<Duration>,
}

/// An empty histogram, of two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(2).unwrap()
}
