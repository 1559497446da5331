//! Where a session is indexed: its user, connection and node.

use crate::model::error::{Error, Result};

/// The longest user, connection or node id, in bytes.
const NAME_BYTES: usize = 256;

/// User, connection and node of a session; empty means none. Text, or bytes as a server has them, which may not be
/// valid text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexFields<T = String> {
    pub(crate) user: T,
    pub(crate) connection: T,
    pub(crate) node: T,
}

impl IndexFields {
    pub(crate) fn validate(&self) -> Result<()> {
        check_name("user id", &self.user)?;
        check_name("connection id", &self.connection)?;
        check_name("node id", &self.node)
    }

    /// The same, as bytes.
    #[cfg(any(test, feature = "redis"))]
    pub(crate) fn to_bytes(&self) -> IndexFields<Vec<u8>> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        IndexFields { user: bytes(&self.user), connection: bytes(&self.connection), node: bytes(&self.node) }
    }
}

/// Checks a name: any text is legal up to a length in bytes.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    if name.len() > NAME_BYTES {
        return Err(Error::invalid(field, format!("is {} bytes, at most {NAME_BYTES}", name.len())));
    }
    Ok(())
}

/// Checks a name that an operation needs: it must not be empty.
pub(crate) fn require_name(field: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    check_name(field, name)
}

/// A name as the public types return it.
pub(crate) fn some(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}
