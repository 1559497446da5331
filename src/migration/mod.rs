//! Sessions moved between two stores, in number: each on its [`route`], by steps that anybody may take again; or
//! [handed over](hand_over) to another node of one; tasks in a queue; and what a crash left, brought to its end.

pub(crate) mod drain;
pub(crate) mod hand_over;
pub(crate) mod manager;
pub(crate) mod patience;
pub(crate) mod resume;
pub(crate) mod route;
pub(crate) mod task;
