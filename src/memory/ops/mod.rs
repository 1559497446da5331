//! One module per operation, named after its script.

pub(crate) mod bind;
pub(crate) mod clean;
pub(crate) mod count;
pub(crate) mod create;
pub(crate) mod create_many;
pub(crate) mod delete;
pub(crate) mod delete_user;
pub(crate) mod depart;
pub(crate) mod expired;
pub(crate) mod freeze;
pub(crate) mod get;
pub(crate) mod heartbeat;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod migrations;
pub(crate) mod nodes;
pub(crate) mod patch;
pub(crate) mod reap;
pub(crate) mod recover;
pub(crate) mod refresh;
pub(crate) mod rotate;
pub(crate) mod thaw;
pub(crate) mod unbind;
pub(crate) mod update;
