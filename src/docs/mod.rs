//! The pages of the repository: how to use the store, run it, and trust it.
//!
//! | to | read |
//! | --- | --- |
//! | begin | [`guide`]: sessions, users, connections, timers, limits · [`testing`]: tests of a service · [`faq`] |
//! | go to production | [`production`]: what it needs, TLS, Sentinel, Cluster, managed services · [`security`]: OWASP and ASVS point by point · [`tokens`]: what is stored lets nobody log in · [`outages`]: while Redis is away |
//! | run a fleet | [`fleet`]: nodes and leases · [`events`]: what becomes of sessions · [`partitions`]: many servers · [`migration`]: sessions that move |
//! | be on call | [`operating`]: alarms, errors, failover, backups, sizing, the command line |
//! | use another language | [`other_languages`]: Python, Node, Go · [`scripts`]: a client of your own |
//! | know why | [`promises`]: what holds, and what proves it · [`internals`] · [`architecture`] · [`benchmarks`] |

// Each page comes behind `links.md`, which says where its links lead in rustdoc; `docs/links` writes that. Its examples run as
// doctests, in builds with the features that they need. Those of docs/operating.md run in tests/metrics, those of docs/testing.md
// in tests.

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../../ARCHITECTURE.md"))]
pub mod architecture {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../../BENCHMARKS.md"))]
pub mod benchmarks {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/events.md"))]
pub mod events {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/faq.md")]
pub mod faq {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/fleet.md"))]
pub mod fleet {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/guide.md"))]
pub mod guide {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/internals.md")]
pub mod internals {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/migration.md"))]
pub mod migration {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../../docs/operating.md"))]
pub mod operating {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/other-languages.md")]
pub mod other_languages {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/outages.md"))]
pub mod outages {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/partitions.md"))]
pub mod partitions {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "tls"), doc = include_str!("../../docs/production.md"))]
pub mod production {}

#[doc = include_str!("links.md")]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/promises.md"))]
pub mod promises {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../lua/README.md")]
pub mod scripts {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/security.md")]
pub mod security {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../../docs/testing.md"))]
pub mod testing {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/tokens.md")]
pub mod tokens {}
