//! Where a session is indexed: its user, connection and node.

use crate::model::error::{Error, Result};

/// The longest user, connection or node id, in bytes.
const NAME_BYTES: usize = 256;

/// User, connection and node of a session; empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexFields {
    pub(crate) user: String,
    pub(crate) connection: String,
    pub(crate) node: String,
}

impl IndexFields {
    pub(crate) fn validate(&self) -> Result<()> {
        check_name("user id", &self.user)?;
        check_name("connection id", &self.connection)?;
        check_name("node id", &self.node)
    }
}

/// Any bytes are legal, up to a length.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    if name.len() > NAME_BYTES {
        return Err(Error::invalid(field, format!("is {} bytes, at most {NAME_BYTES}", name.len())));
    }
    Ok(())
}

/// Where an operation needs a name, and empty would mean none.
pub(crate) fn require_name(field: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    check_name(field, name)
}

/// A name as the public types give it.
pub(crate) fn some(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}
