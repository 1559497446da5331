//! Writes `lua/bundle.json`, all that another language needs to run the engine: `cargo run --example export_scripts`.

mod bundle;
#[path = "../../src/redis/minify.rs"]
mod flat;
mod header;
mod layout;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let bundle = bundle::export(&lua)?;
    fs::write(lua.join("bundle.json"), bundle)?;
    Ok(())
}
