//! Ids and names as a server has them: bytes, which need be no texts.

use crate::model::SessionId;

/// A session id as a server has it.
pub(crate) type StoredId = Vec<u8>;

/// The id as it is told, if it is one.
pub(crate) fn told(id: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(id).ok().and_then(|text| SessionId::new(text).ok())
}

/// A name as it is told: that of none, and what is no text, is none.
pub(crate) fn told_name(name: &[u8]) -> Option<String> {
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(str::to_owned)
}
