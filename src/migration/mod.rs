//! TODO

pub(crate) mod drain;
pub(crate) mod hand_over;
pub(crate) mod manager;
pub(crate) mod patience;
pub(crate) mod resume;
pub(crate) mod route;
pub(crate) mod task;
