//! The argument that names a session.

use std::fmt::Debug;

use crate::model::index_fields::IndexFields;
use crate::model::session_id::SessionId;
use crate::model::token::Token;

/// Names the session of an operation: a copy of it ([`Session`](crate::Session)), its [`SessionId`] or its
/// [`Token`].
///
/// All have the same effect. A copy tells the call the session's user, connection and node, so the call takes one
/// round trip; with the id it may take two. The trait is sealed.
pub trait SessionRef: Debug + Sync {
    /// The session's id.
    fn id(&self) -> &SessionId;

    /// What the caller knows of the session besides its id.
    #[doc(hidden)]
    fn hint(&self) -> Hint<'_>;
}

/// Empty if the caller knows only the id. Code outside this crate cannot make one, which seals
/// [`SessionRef`].
#[derive(Debug)]
#[allow(unnameable_types)]
pub struct Hint<'a>(pub(crate) Option<Known<'a>>);

/// What a copy knows of its session.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) index_fields: &'a IndexFields,
    pub(crate) last_active: u64,
    pub(crate) expires_at: u64,
}

impl Hint<'_> {
    /// The index fields of the session, as far as known.
    pub(crate) fn index_fields(self) -> IndexFields {
        self.0.map(|known| known.index_fields.clone()).unwrap_or_default()
    }
}

impl SessionRef for SessionId {
    fn id(&self) -> &SessionId {
        self
    }

    fn hint(&self) -> Hint<'_> {
        Hint(None)
    }
}

impl SessionRef for Token {
    fn id(&self) -> &SessionId {
        self.id()
    }

    fn hint(&self) -> Hint<'_> {
        Hint(None)
    }
}

impl<T: SessionRef + ?Sized> SessionRef for &T {
    fn id(&self) -> &SessionId {
        (**self).id()
    }

    fn hint(&self) -> Hint<'_> {
        (**self).hint()
    }
}
