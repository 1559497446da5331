//! Verifies the stored data: walks through all keys of a namespace, and names and repairs violations.

mod judge;
pub(crate) mod kind;
mod look;
mod looked;
mod records;
pub(crate) mod repair;
mod subject;
pub(crate) mod verifier;
pub(crate) mod violation;
