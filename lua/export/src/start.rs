//! The proof at a store's start that its user may run all commands of the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::commands::commands;
use crate::file::read;
use crate::keys::{KEYS, names};
use crate::minify::minify;
use crate::script::Script;

/// Where its files are, in the directory of the scripts.
pub const DIRECTORY: &str = "dist/start";

/// The script, in its directory.
pub(crate) const SCRIPT: &str = "forbidden.lua";

#[derive(Debug, Serialize)]
pub(crate) struct Start {
    /// KEYS of the script: one of each kind. Nothing is stored under those with a missing name.
    keys: Vec<String>,
    /// ARGV of the script: the commands of all operations.
    commands: BTreeSet<String>,
    pub(crate) sha1: String,
    source: String,
}

impl Start {
    pub(crate) fn of(lua: &Path, scripts: &[Script]) -> Result<Self, String> {
        let source = minify(&read(&lua.join("start").join(SCRIPT))?);
        let mut all = BTreeSet::new();
        for script in scripts {
            all.extend(commands(&script.source)?);
        }
        Ok(Self {
            keys: KEYS.iter().map(|(_, _, pattern)| without_names(pattern)).collect(),
            commands: all,
            sha1: sha1_smol::Sha1::from(&source).hexdigest(),
            source,
        })
    }

    /// What the crate embeds.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, String> {
        let commands = self.commands.iter().map(|command| format!("{command}\n")).collect();
        let files = [(SCRIPT, self.source.clone()), ("commands.txt", commands)];
        files.map(|(name, text)| (Path::new(DIRECTORY).join(name), text)).into()
    }
}

fn without_names(pattern: &str) -> String {
    names(pattern).fold(pattern.to_owned(), |key, name| key.replace(&format!("<{name}>"), ""))
}
