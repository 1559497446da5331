//! A session on its way out of a store: as it was, with what it remembers of its last changes.

use crate::lookup;
use crate::model::{Export, Result, SessionId};
use crate::operation::Operation;

pub(crate) async fn read(operation: &Operation<'_>, id: &SessionId) -> Result<Option<Export>> {
    let found = lookup::with_operations(operation, id).await?;
    Ok(found.map(|(session, operations)| Export::new(session, operations)))
}
