//! Browsers against a small service, on both stores.

mod browser;
mod cookies;
mod outage;
mod service;
mod sessions;
mod sockets;
mod trips;
mod users;
