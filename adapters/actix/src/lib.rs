#![doc = include_str!("../README.md")]

mod failure;
mod loaded;
mod store;

pub use crate::loaded::State;
pub use crate::store::CloakroomStore;
