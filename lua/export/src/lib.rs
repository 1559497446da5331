//! Makes the scripts that servers load from the sources in `lua/`.
//!
//! `cargo run -p cloakroom-export` writes `lua/dist/<stem>.lua`, which the crate embeds, `lua/dist/index.json`, which
//! has their names at a server, and `lua/bundle.json`, which clients in other languages load. All have the same bytes
//! for a script, because a server knows a script by its SHA-1.

#![allow(missing_docs)] // a development tool: only its own binary and the tests of the crate use it

mod access;
pub mod bundle;
pub mod commands;
mod contract;
mod field;
mod file;
pub mod header;
mod index;
pub mod keys;
mod layout;
mod minify;
mod parameter;
mod reply;
mod role;
pub mod script;
mod shape;
mod start;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use start::DIRECTORY as START;

/// The contents of all files to write, by their paths in the directory of the scripts.
pub fn files(lua: &Path) -> Result<BTreeMap<PathBuf, String>, String> {
    let contract = contract::Contract::read(lua)?;
    let scripts = script::read_all(lua)?;
    let start = start::Start::of(lua, &scripts)?;
    let bundle = bundle::export(lua, &scripts, &start, &contract)?;
    let mut files = BTreeMap::from([(PathBuf::from("bundle.json"), bundle)]);
    files.extend(start.files());
    files.insert(Path::new("dist").join("index.json"), index::index(&scripts, &start, &contract)?);
    for script in scripts {
        files.insert(Path::new("dist").join(format!("{}.lua", script.header.stem)), script.source);
    }
    Ok(files)
}
