//! Browsers against a small service, on both stores.

mod browser;
mod cookies;
mod outage;
mod sessions;
mod service;
mod sockets;
mod trips;
mod users;
