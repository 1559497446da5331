//! The reply of a script: a flat array that begins with a word.

use std::collections::VecDeque;

use redis::Value;

use crate::model::{Error, RecentChanges, Refusal, Result, Session, SessionId, Version};
use crate::redis::stored_id::StoredId;
use crate::stored::record::Record;

/// A reply that is read from its front.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) word: String,
    rest: VecDeque<Value>,
}

impl Reply {
    pub(crate) fn parse(value: Value) -> Result<Self> {
        let Value::Array(items) = value else {
            return Err(not_ours("a reply that is not an array"));
        };
        let mut reply = Self { word: String::new(), rest: items.into() };
        reply.word = reply.text()?;
        Ok(reply)
    }

    /// The answer that there is no live session.
    pub(crate) fn missing() -> Self {
        Self { word: "missing".to_owned(), rest: VecDeque::new() }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        match self.rest.pop_front() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            Some(Value::SimpleString(text)) => Ok(text.into_bytes()),
            _ => Err(not_ours("a reply without the text it should have")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| not_ours("a reply with text that is not UTF-8"))
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        match self.rest.pop_front() {
            Some(Value::Int(number)) => {
                u64::try_from(number).map_err(|_| not_ours("a reply with a negative number"))
            }
            _ => Err(not_ours("a reply without the number it should have")),
        }
    }

    pub(crate) fn count(&mut self) -> Result<usize> {
        self.number().map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// The next `count` session ids, as they are stored.
    pub(crate) fn ids(&mut self, count: u64) -> Result<Vec<StoredId>> {
        (0..count).map(|_| self.bytes()).collect()
    }

    /// All the session ids that are left, as they are stored.
    pub(crate) fn rest_ids(&mut self) -> Result<Vec<StoredId>> {
        self.ids(self.rest.len() as u64)
    }

    pub(crate) fn version(&mut self) -> Result<Version> {
        self.number().map(Version::new)
    }

    pub(crate) fn session_id(&mut self) -> Result<SessionId> {
        SessionId::new(self.text()?).map_err(|_| not_ours("a reply with an impossible session id"))
    }

    /// The present id of a session: the one at the end of the reply, if it was rotated since the call changed it.
    pub(crate) fn id_since(&mut self, then: SessionId) -> Result<SessionId> {
        if self.is_empty() { Ok(then) } else { self.session_id() }
    }

    /// The record of a session.
    pub(crate) fn session(&mut self, id: &SessionId) -> Result<Session> {
        match Record::decode(id, &self.bytes()?) {
            Some(Record::Session { session, .. }) => Ok(*session),
            _ => Err(Error::corrupt("record")),
        }
    }

    /// The whole record of a session, with the operation ids of its last changes.
    pub(crate) fn export(&mut self, id: &SessionId) -> Result<(Session, RecentChanges)> {
        match Record::decode(id, &self.bytes()?) {
            Some(Record::Session { session, changes, .. }) => Ok((*session, changes)),
            _ => Err(Error::corrupt("record")),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The same reply, with the word of plain success.
    pub(crate) fn into_ok(self) -> Self {
        Self { word: "ok".to_owned(), ..self }
    }

    /// The reply, if its word is plain success; otherwise its error.
    pub(crate) fn expect_ok(self) -> Result<Self> {
        if self.word == "ok" { Ok(self) } else { Err(self.into_error()) }
    }

    /// The error for a word that is not a success of the operation.
    pub(crate) fn into_error(mut self) -> Error {
        let refusal = match self.word.as_str() {
            // A session that has expired before its import counts as missing.
            "missing" | "expired" => Ok(Refusal::Missing),
            "exists" => Ok(Refusal::Exists),
            "gone" => Ok(Refusal::Gone),
            "frozen" => Ok(Refusal::Frozen),
            "taken" => Ok(Refusal::Taken),
            "fenced" => Ok(Refusal::Fenced),
            "leased" => self.number().map(|until_ms| Refusal::Leased { until_ms }),
            "conflict" => self.version().map(|current| Refusal::Conflict { current }),
            "moved" => self.session_id().map(|to| Refusal::Rotated { to: Some(to) }),
            "rotated" => Ok(Refusal::Rotated { to: None }),
            "departed" => self.text().map(|place| Refusal::Departed { place }),
            "limit" => self.number().map(|live| Refusal::Limit { live }),
            "large" => {
                self.number().and_then(|bytes| Ok(Refusal::TooLarge { bytes, entries: self.number()? }))
            }
            "corrupt" => return self.corrupt().unwrap_or_else(|error| error),
            _ => Err(not_ours("a reply with an unknown word")),
        };
        refusal.map_or_else(|error| error, Error::Refused)
    }

    /// The key that is corrupt, and its owner if the call declares several keys of the kind.
    fn corrupt(&mut self) -> Result<Error> {
        let key = self.text()?;
        Ok(Error::corrupt(if self.is_empty() { key } else { format!("{key} of {:?}", self.text()?) }))
    }
}

/// The error for a script that names a session that the call did not.
pub(crate) fn another_session() -> Error {
    not_ours("reply that names another session")
}

fn not_ours(what: &str) -> Error {
    Error::corrupt(what)
}
