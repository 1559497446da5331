//! The names at a server of the files in `lua/dist`, for clients that use the files directly.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contract::Contract;
use crate::file::json;
use crate::script::Script;
use crate::start::{SCRIPT, Start};

/// `lua/dist/index.json`.
#[derive(Debug, Serialize)]
struct Index<'a> {
    contract: u32,
    start: Entry,
    operations: BTreeMap<&'a str, Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    /// Its path, relative to the index.
    file: String,
    sha1: String,
}

/// The document.
pub(crate) fn index(scripts: &[Script], start: &Start, contract: &Contract) -> Result<String, String> {
    let operation =
        |script: &Script| Entry { file: format!("{}.lua", script.header.stem), sha1: script.sha1() };
    json(&Index {
        contract: contract.contract,
        start: Entry { file: format!("start/{SCRIPT}"), sha1: start.sha1.clone() },
        operations: scripts.iter().map(|script| (script.header.stem.as_str(), operation(script))).collect(),
    })
}
