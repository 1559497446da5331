//! Reads and writes files.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A document as the text of a file.
pub(crate) fn json<T: Serialize>(document: &T) -> Result<String, String> {
    serde_json::to_string_pretty(document).map(|json| json + "\n").map_err(|error| error.to_string())
}
