//! The answers of a cluster's node that does not serve a key: nothing was executed.

use redis::RedisError;

use crate::redis::transport::delivery::Delivery;
use crate::redis::transport::role::NOT_THE_MASTER;
use crate::redis::transport::server_error::server_code;

/// Where or when to send instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// Another node owns the slot: its address.
    Moved(String),
    /// The slot is moving to this address, and the keys are no longer here, or not yet.
    Ask(String),
    /// Later: some of the keys are here and some are not, or no node owns the slot.
    Later,
    /// The node is not the slot's master any more.
    NotTheMaster,
    /// There is no connection to the node.
    Unreachable,
    /// Unknown: the node may be gone.
    Unknown,
}

impl Redirect {
    /// `None`: the call was served, or refused for good.
    pub(crate) fn of<T>(delivery: &Delivery<T>) -> Option<Self> {
        match delivery {
            Delivery::Refused(error) => Self::of_error(error),
            Delivery::Unsent(unavailable) if !unavailable.is_late() => Some(Self::Unreachable),
            Delivery::Unsent(_) | Delivery::Lost(_) | Delivery::Late => Some(Self::Unknown),
            Delivery::Answered(_) => None,
        }
    }

    pub(crate) fn of_error(error: &RedisError) -> Option<Self> {
        let code = server_code(error)?;
        let address = || error.redirect_node().map(|(address, _)| address.to_owned());
        match code.as_str() {
            "MOVED" => address().map(Self::Moved),
            "ASK" => address().map(Self::Ask),
            "TRYAGAIN" | "CLUSTERDOWN" => Some(Self::Later),
            NOT_THE_MASTER | "MASTERDOWN" => Some(Self::NotTheMaster),
            _ => None,
        }
    }
}
