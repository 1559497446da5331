#![doc = include_str!("../README.md")]
// docs.rs tells of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod failure;
mod loaded;
mod store;

pub use crate::loaded::State;
pub use crate::store::CloakroomStore;
