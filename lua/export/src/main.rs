//! Writes `lua/dist` and `lua/bundle.json`: `cargo run -p cloakroom-export`.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lua = package.parent().ok_or("this package has no parent directory")?;
    let files = cloakroom_export::files(lua)?;
    fs::create_dir_all(lua.join("dist"))?;
    for (path, text) in &files {
        let path = lua.join(path);
        // Cargo builds the crate again when a file is written, even with the same text.
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            fs::write(path, text)?;
        }
    }
    for file in fs::read_dir(lua.join("dist"))? {
        let file = file?;
        if !files.contains_key(&Path::new("dist").join(file.file_name())) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}
