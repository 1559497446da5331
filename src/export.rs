//! A session on its way out of a store: as it was, with what it remembers of its last changes.

use std::fmt;

use crate::error::Result;
use crate::id::SessionId;
use crate::lookup;
use crate::operation::Operation;
use crate::record::Operations;
use crate::session::Session;

/// A session as it was when it was exported, with what it remembers of its last changes.
#[derive(Clone, PartialEq, Eq)]
pub struct Export {
    pub(crate) session: Session,
    pub(crate) operations: Operations,
}

impl Export {
    pub(crate) fn new(session: Session, operations: Operations) -> Self {
        Self { session, operations }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, without what it remembers.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }
}

/// As little as a session shows.
impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("session", &self.session).finish_non_exhaustive()
    }
}

pub(crate) async fn read(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Export>> {
    let found = lookup::with_operations(operation, id).await?;
    Ok(found.map(|(session, operations)| Export::new(session, operations)))
}
