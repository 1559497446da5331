//! Which contract the scripts are of, as `lua/contract.json` says it.

use std::path::Path;

use serde::Deserialize;

use crate::file::read;

/// What the scripts take, answer and store, by a number.
#[derive(Debug, Deserialize)]
pub(crate) struct Contract {
    pub(crate) contract: u32,
    /// The contracts that may be noted in a namespace in which a client starts, its own among them.
    pub(crate) accepts: Vec<u32>,
}

impl Contract {
    pub(crate) fn read(lua: &Path) -> Result<Self, String> {
        let path = lua.join("contract.json");
        serde_json::from_str(&read(&path)?).map_err(|error| format!("{}: {error}", path.display()))
    }
}
