//! The contract of the scripts, from `lua/contract.json`.

use std::path::Path;

use serde::Deserialize;

use crate::file::read;

/// The number of what the scripts take, answer and store.
#[derive(Debug, Deserialize)]
pub(crate) struct Contract {
    pub(crate) contract: u32,
    /// The recorded contracts with which a client starts, including its own.
    pub(crate) accepts: Vec<u32>,
}

impl Contract {
    pub(crate) fn read(lua: &Path) -> Result<Self, String> {
        let path = lua.join("contract.json");
        serde_json::from_str(&read(&path)?).map_err(|error| format!("{}: {error}", path.display()))
    }
}
