//! Each way to keep sessions in Redis.

pub(crate) mod actix_session;
pub(crate) mod by_hand;
pub(crate) mod cloakroom;
pub(crate) mod connect_redis;
pub(crate) mod tower_sessions;
