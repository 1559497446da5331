//! Writes `lua/dist` and `lua/bundle.json`: `cargo run -p cloakroom-export`. With a directory as argument, it reads the
//! scripts there and writes there.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use cloakroom_export::START;

fn main() -> Result<(), Box<dyn Error>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = package.parent().ok_or("this package has no parent directory")?;
    let lua = env::args_os().nth(1).map_or_else(|| own.to_path_buf(), PathBuf::from);
    let files = cloakroom_export::files(&lua)?;
    fs::create_dir_all(lua.join(START))?;
    for (path, text) in &files {
        let path = lua.join(path);
        // Cargo builds the crate again when a file is written, even with the same text.
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            fs::write(path, text)?;
        }
    }
    for directory in ["dist", START] {
        for file in fs::read_dir(lua.join(directory))? {
            let file = file?;
            if file.file_type()?.is_file()
                && !files.contains_key(&Path::new(directory).join(file.file_name()))
            {
                fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}
