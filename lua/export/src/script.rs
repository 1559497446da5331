//! The scripts in a directory, read.

use std::fs;
use std::path::Path;

use crate::commands::with_questions;
use crate::header::Header;
use crate::minify::minify;

/// A script.
#[derive(Debug)]
pub struct Script {
    pub header: Header,
    /// What a server is to load: the fragments in the order of the header, then the script itself, minified.
    pub source: String,
}

/// All scripts in a directory, by stem.
pub fn read_all(lua: &Path) -> Result<Vec<Script>, String> {
    let files = fs::read_dir(lua).map_err(|error| format!("{}: {error}", lua.display()))?;
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let mut stems: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".lua").map(str::to_owned)).collect();
    stems.sort();
    stems.iter().map(|stem| Script::read(lua, stem)).collect()
}

impl Script {
    fn read(lua: &Path, stem: &str) -> Result<Self, String> {
        let own = read(&lua.join(format!("{stem}.lua")))?;
        let header = Header::parse(stem, &own)?;
        let mut whole = String::new();
        for fragment in &header.uses {
            whole += &read(&lua.join(format!("lib/{fragment}.lua")))?;
        }
        whole += &own;
        let source = with_questions(&minify(&whole)).map_err(|reason| format!("lua/{stem}.lua: {reason}"))?;
        Ok(Self { header, source })
    }
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
