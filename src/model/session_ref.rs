//! What an operation acts on.

use std::fmt::Debug;

use crate::model::index_fields::IndexFields;
use crate::model::session_id::SessionId;
use crate::model::token::Token;

/// What an operation acts on: a [`Session`](crate::Session) in hand, or only its [`SessionId`] or [`Token`].
///
/// All work alike. With the session in hand the call knows its user, connection and node, and takes one round trip;
/// with the id it may take two. The trait is sealed.
pub trait SessionRef: Debug + Sync {
    /// The session's id.
    fn id(&self) -> &SessionId;

    /// What else is known of it.
    #[doc(hidden)]
    fn hint(&self) -> Hint<'_>;
}

/// Nothing, if only the id is known. Nobody outside can make one, which seals [`SessionRef`].
#[derive(Debug)]
#[allow(unnameable_types)]
pub struct Hint<'a>(pub(crate) Option<Known<'a>>);

/// What a copy in hand knows.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) index_fields: &'a IndexFields,
    pub(crate) last_active: u64,
    pub(crate) expires_at: u64,
}

impl Hint<'_> {
    /// Where the session is indexed, as far as known.
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
