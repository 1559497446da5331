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
//!
//! # Only in the repository
//!
//! The pages link to some files that are not in the package: larger examples (`examples/races`, `examples/axum-app`), tests,
//! benchmarks and the command line. You find them in the repository.

// `links.md`, before each page, says where its links lead in rustdoc; `docs/links` writes it. A doctest is named by its page and
// line, and so without it. The examples of a page run in builds with the features that they need; those of docs/operating.md run in
// tests/metrics, those of docs/testing.md in tests.

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(not(doctest), doc = include_str!("../../ARCHITECTURE.md"))]
pub mod architecture {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(not(doctest), doc = include_str!("images.md"))]
#[cfg_attr(not(doctest), doc = include_str!("../../BENCHMARKS.md"))]
pub mod benchmarks {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/events.md"))]
pub mod events {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[doc = include_str!("../../docs/faq.md")]
pub mod faq {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/fleet.md"))]
pub mod fleet {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/guide.md"))]
pub mod guide {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[doc = include_str!("../../docs/internals.md")]
pub mod internals {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/migration.md"))]
pub mod migration {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(not(doctest), doc = include_str!("../../docs/operating.md"))]
pub mod operating {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[doc = include_str!("../../docs/other-languages.md")]
pub mod other_languages {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/outages.md"))]
pub mod outages {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/partitions.md"))]
pub mod partitions {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "tls"), doc = include_str!("../../docs/production.md"))]
pub mod production {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(any(not(doctest), feature = "redis"), doc = include_str!("../../docs/promises.md"))]
pub mod promises {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[doc = include_str!("../../lua/README.md")]
pub mod scripts {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[doc = include_str!("../../docs/security.md")]
pub mod security {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[cfg_attr(not(doctest), doc = include_str!("../../docs/testing.md"))]
pub mod testing {}

#[cfg_attr(not(doctest), doc = include_str!("links.md"))]
#[doc = include_str!("../../docs/tokens.md")]
pub mod tokens {}
