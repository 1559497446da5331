//! What is stored, held against itself: all keys of a namespace gone through, and what does not agree named and mended.

mod judge;
mod look;
pub(crate) mod repair;
mod subject;
pub(crate) mod verifier;
pub(crate) mod violation;
