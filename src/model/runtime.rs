//! Checks for the runtime that tasks and timers need.

use crate::model::error::{Error, Result};

/// Returns an error where a task or timer would panic outside of a runtime.
pub(crate) fn require_runtime() -> Result<()> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::invalid("runtime", "is missing: call this within a Tokio runtime")),
    }
}
