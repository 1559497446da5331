//! Tools for the tests of a service, behind the feature `test-util`: a clock that they move, a Redis server of their
//! own, and a view of the stored data.
//!
//! ```
//! use cloakroom::testing::TestClock;
//! use cloakroom::{MemoryStore, NewSession, Rules, SessionStore};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), cloakroom::Error> {
//! let clock = TestClock::new();
//! let rules = Rules::new().ttl(Duration::from_secs(1800));
//! let store = MemoryStore::builder().rules(rules).clock(clock.clone()).build()?;
//! let session = store.create(NewSession::new().user("ann")).await?.session;
//!
//! clock.advance(Duration::from_secs(1799));
//! assert!(store.get(session.id()).await?.is_some());
//! clock.advance(Duration::from_secs(1));
//! assert!(store.get(session.id()).await?.is_none(), "half an hour is over");
//! # Ok(())
//! # }
//! ```

pub(crate) mod server;

pub use crate::memory::snapshot::Stored;
pub use crate::model::TestClock;
pub use server::TestServer;
