//! The locks and the hashing of the store. In the tests of `schedules` shuttle runs the threads, and tries the orders in
//! which they may meet.

#[cfg(not(all(test, shuttle)))]
pub(crate) use ahash::RandomState;
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(all(test, shuttle))]
pub(crate) use shuttled::RandomState;

#[cfg(all(test, shuttle))]
mod shuttled {
    use std::collections::hash_map::DefaultHasher;
    use std::hash::{Hash, Hasher};

    use shuttle::rand::{Rng, thread_rng};

    /// Decides which names share a shard, differently in each schedule. It uses shuttle's randomness, so a replayed
    /// schedule finds the same shards.
    #[derive(Clone, Debug)]
    pub(crate) struct RandomState(u64);

    impl RandomState {
        pub(crate) fn new() -> Self {
            Self(thread_rng().r#gen())
        }

        pub(crate) fn hash_one(&self, name: &str) -> u64 {
            let mut hasher = DefaultHasher::new();
            (self.0, name).hash(&mut hasher);
            hasher.finish()
        }
    }
}
