//! Reads the scripts in a directory.

use std::fs;
use std::path::Path;

use crate::commands::with_questions;
use crate::file::read;
use crate::header::Header;
use crate::minify::{minify, parts, words};
use crate::shape::with_shape;

/// A script.
#[derive(Clone, Debug)]
pub struct Script {
    pub header: Header,
    /// The text that a server loads: the fragments in the order of the header, then the script itself,
    /// minified.
    pub source: String,
    /// The same without the ordinary form: a test checks that both do the same.
    pub general: String,
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
    /// Its name at a server.
    pub(crate) fn sha1(&self) -> String {
        sha1_smol::Sha1::from(&self.source).hexdigest()
    }

    fn read(lua: &Path, stem: &str) -> Result<Self, String> {
        let own = read(&lua.join(format!("{stem}.lua")))?;
        let header = Header::parse(stem, &own)?;
        let own = with_shape(lua, &header, &own).map_err(|reason| format!("lua/{stem}.lua: {reason}"))?;
        let [binding, ordinary, rest] = in_three(&own);
        let (mut front, mut fragments) = (String::new(), String::new());
        for fragment in &header.uses {
            let fragment = read(&lua.join(format!("lib/{fragment}.lua")))?;
            *(if is_used(&fragment, binding) { &mut front } else { &mut fragments }) += &fragment;
        }
        let composed = |code: String| {
            with_questions(&minify(&code)).map_err(|reason| format!("lua/{stem}.lua: {reason}"))
        };
        let source = composed([&front, binding, ordinary, &fragments, rest].concat())?;
        let general = composed([&front, binding, &fragments, rest].concat())?;
        Ok(Self { header, source, general })
    }
}

/// The line at which the ordinary form of a script begins. It uses no fragments except their constants.
const ORDINARILY: &str = "\n-- Ordinarily:";

/// The line at which the general form begins. The export puts the fragments here, so that a script creates their
/// functions only then: each of these dozens of functions costs as much as a comparison.
const OTHERWISE: &str = "\n-- Otherwise:";

/// Whether code names a function of a fragment.
fn is_used(fragment: &str, code: &str) -> bool {
    let words: Vec<&str> = words(code).collect();
    parts(fragment).iter().filter_map(|part| part.name).any(|name| words.contains(&name))
}

/// The part before the ordinary form, that form, and the rest. A script without one is all rest.
fn in_three(own: &str) -> [&str; 3] {
    let parted = own.find(ORDINARILY).zip(own.find(OTHERWISE));
    let (ordinarily, otherwise) = parted.unwrap_or_default();
    [&own[..ordinarily], &own[ordinarily..otherwise], &own[otherwise..]]
}
