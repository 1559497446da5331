//! Ids and names as a server has them: bytes, which may not be valid text.

use crate::model::SessionId;

/// A session id as a server has it.
pub(crate) type StoredId = Vec<u8>;

/// The id for the caller, if it is a valid one.
pub(crate) fn told(id: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(id).ok().and_then(|text| SessionId::new(text).ok())
}

/// The name for the caller. An empty name, or one that is not valid text, is `None`.
pub(crate) fn told_name(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(str::to_owned)
}
