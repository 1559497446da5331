#![doc = include_str!("../README.md")]
// docs.rs tells of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod changes;
mod cookie;
mod csrf;
mod device;
mod error;
mod extract;
mod layer;
mod login;
mod session;
mod settings;
mod state;
mod watcher;

pub use crate::{
    cookie::{SameSite, SessionCookie},
    device::Device,
    error::SessionError,
    extract::{CurrentUser, Unauthenticated, WithoutLayer},
    layer::{SessionLayer, SessionService},
    login::Login,
    session::Session,
    watcher::{Ended, SessionWatcher},
};
