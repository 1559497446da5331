//! The runtime that tasks and timers need.

use crate::model::error::{Error, Result};

/// Refuses what would panic outside of a runtime.
pub(crate) fn require_runtime() -> Result<()> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid("runtime", "is missing: this has to be called in a Tokio runtime")),
    }
}
