//! TODO

pub(crate) mod answer;
pub(crate) mod attempt;
pub(crate) mod book;
pub(crate) mod builder;
pub(crate) mod calls;
pub(crate) mod copies;
pub(crate) mod keeper;
pub(crate) mod local;
pub(crate) mod policy;
pub(crate) mod recovery;
pub(crate) mod shared;
