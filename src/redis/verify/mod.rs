//! What is stored, held against itself: all keys of a namespace gone through, and what does not agree named and mended.

mod judge;
pub(crate) mod kind;
mod look;
mod looked;
mod records;
pub(crate) mod repair;
mod subject;
pub(crate) mod verifier;
pub(crate) mod violation;
