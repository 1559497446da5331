//! Whose sessions to list, and a page of them.

use std::fmt;

use crate::model::error::{Error, Result};
use crate::model::index_fields::require_name;
use crate::model::invalid::Invalid;
use crate::model::serde_text::serde_as_text;
use crate::model::session::Session;
use crate::model::session_id::SessionId;

/// The place where a page ended. Sessions that are created or removed meanwhile do not shift the next page: it
/// neither skips nor repeats a session that keeps its id.
///
/// `Display` and serde write it as text: a page token that you can send over HTTP and get back. It contains the id of a
/// session, and is as secret as the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) created_at: u64,
    pub(crate) id: SessionId,
    /// How many entries of the same millisecond were read, including this one.
    pub(crate) ties: usize,
}

/// An entry of an index. Entries are ordered by score, then by id.
#[derive(Debug)]
pub(crate) struct IndexEntry {
    pub(crate) id: SessionId,
    pub(crate) created_at: u64,
}

/// Writes a page token: `<created_at>.<ties>.<id>`.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.created_at, self.ties, self.id.as_str())
    }
}

/// Reads what `Display` writes.
impl std::str::FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let broken = || Invalid::new("cursor", "is not a page token");
        let (created_at, rest) = text.split_once('.').ok_or_else(broken)?;
        let (ties, id) = rest.split_once('.').ok_or_else(broken)?;
        let created_at: u64 = created_at.parse().map_err(|_| broken())?;
        let ties: u16 = ties.parse().map_err(|_| broken())?;
        if created_at >> 48 > 0 {
            return Err(broken());
        }
        Ok(Self { created_at, ties: ties.into(), id: SessionId::new(id).map_err(|_| broken())? })
    }
}

serde_as_text!(Cursor, to_string);

impl Cursor {
    /// Where the next page begins, behind one of this size that began behind `before` and ended with these entries. A
    /// page that is not full is the last.
    pub(crate) fn behind(entries: &[IndexEntry], size: usize, before: Option<&Self>) -> Option<Self> {
        let last = entries.last().filter(|_| entries.len() == size)?;
        let here = entries.iter().filter(|entry| entry.created_at == last.created_at).count();
        let before = before.filter(|before| before.created_at == last.created_at);
        let ties = before.map_or(0, |before| before.ties) + here;
        Some(Self { created_at: last.created_at, id: last.id.clone(), ties })
    }
}

/// Whose sessions: a user's, or those that a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    User(String),
    Node(String),
}

impl Selector {
    /// A user's sessions.
    #[must_use]
    pub fn user(user: impl Into<String>) -> Self {
        Self(Kind::User(user.into()))
    }

    /// The sessions whose connections a node holds.
    #[must_use]
    pub fn node(node: impl Into<String>) -> Self {
        Self(Kind::Node(node.into()))
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match &self.0 {
            Kind::User(user) => require_name("user id", user),
            Kind::Node(node) => require_name("node id", node),
        }
    }

    /// Whether a session is one of them.
    pub(crate) fn has(&self, session: &Session) -> bool {
        match &self.0 {
            Kind::User(user) => session.user() == Some(user),
            Kind::Node(node) => session.node() == Some(node),
        }
    }

    /// The words that the scripts take.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match &self.0 {
            Kind::User(user) => ("user", user),
            Kind::Node(node) => ("node", node),
        }
    }
}

/// The largest page.
const LARGEST_PAGE: usize = 500;

/// Which page of a user's or node's sessions to read.
#[derive(Clone, Debug)]
pub struct PageRequest {
    pub(crate) size: usize,
    pub(crate) after: Option<Cursor>,
}

impl PageRequest {
    /// The first page, of 1 to 500 entries.
    #[must_use]
    pub fn first(size: usize) -> Self {
        Self { size, after: None }
    }

    /// The page behind a cursor, of 1 to 500 entries.
    #[must_use]
    pub fn after(cursor: Cursor, size: usize) -> Self {
        Self { size, after: Some(cursor) }
    }

    /// Where the page behind this one begins, if this one ended with these entries. A page that is not full is the
    /// last.
    pub(crate) fn next(&self, entries: &[IndexEntry]) -> Option<Cursor> {
        Cursor::behind(entries, self.size, self.after.as_ref())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.size == 0 || self.size > LARGEST_PAGE {
            return Err(Error::invalid(
                "page size",
                format!("is {}, must be 1 to {LARGEST_PAGE}", self.size),
            ));
        }
        Ok(())
    }
}

/// A page of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Live sessions, oldest first. A page with fewer than its size need not be the last: `next` says it.
    pub sessions: Vec<Session>,
    /// Where the next page begins; `None` after the last page.
    pub next: Option<Cursor>,
}

impl Page {
    /// Merges several pages into one, oldest first: as far as all of them reach, and up to its size.
    pub(crate) fn merged(pages: Vec<Self>, size: usize) -> Self {
        let place = |session: &Session| (session.created_at_ms(), session.id().clone());
        let ends = pages.iter().filter_map(|page| page.next.clone());
        let mut next =
            ends.min_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        let mut sessions: Vec<Session> = pages.into_iter().flat_map(|page| page.sessions).collect();
        sessions.sort_by_cached_key(place);
        if let Some(end) = &next {
            sessions.retain(|session| place(session) <= (end.created_at, end.id.clone()));
        }
        if sessions.len() > size {
            sessions.truncate(size);
            next = sessions.last().map(|last| Cursor {
                created_at: last.created_at_ms(),
                id: last.id().clone(),
                ties: 1,
            });
        }
        Self { sessions, next }
    }
}
