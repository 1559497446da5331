//! One module an operation: its input, its outcome, its keys and arguments, how its reply is read.
//!
//! No operation imports another.

pub(crate) mod bind;
pub(crate) mod count;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod delete_user;
pub(crate) mod expired;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod patch;
pub(crate) mod reap;
pub(crate) mod refresh;
pub(crate) mod rotate;
pub(crate) mod unbind;
pub(crate) mod update;
