//! The packages of npm that the contender in Node needs, in the directory of this build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Result;

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../connect-redis/package.json")),
    ("package-lock.json", include_str!("../connect-redis/package-lock.json")),
    ("races.js", include_str!("../connect-redis/races.js")),
];

/// Why a contender in Node is left out.
pub(crate) type Reason = String;

/// A directory with the installed packages and the script that uses them.
pub(crate) struct NodePackages(PathBuf);

impl NodePackages {
    /// Installs what is not installed yet.
    pub(crate) async fn install() -> Result<std::result::Result<Self, Reason>> {
        for program in ["node", "npm"] {
            let mut version = Command::new(program);
            if version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await.is_err() {
                return Ok(Err(format!("left out: {program} is not here")));
            }
        }
        let program = std::env::current_exe()?;
        let directory = program.with_file_name("races-connect-redis");
        if !is_installed(&directory) {
            // Installed under a name of its own, so that another run finds all of it or nothing.
            let fresh = program.with_file_name(format!("races-connect-redis-{}", std::process::id()));
            fs::create_dir_all(&fresh)?;
            write_files(&fresh)?;
            let mut npm = Command::new("npm");
            npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&fresh).stdout(Stdio::null());
            if !npm.status().await?.success() {
                fs::remove_dir_all(&fresh)?;
                return Ok(Err("left out: npm ci failed".to_owned()));
            }
            // What is there is of another version.
            let _ = fs::remove_dir_all(&directory);
            if fs::rename(&fresh, &directory).is_err() {
                // Another run was first.
                fs::remove_dir_all(&fresh)?;
            }
        }
        write_files(&directory)?;
        Ok(Ok(Self(directory)))
    }

    /// A race in Node.
    pub(crate) fn node(&self, url: &str, race: &str) -> Command {
        let mut node = Command::new("node");
        node.arg(self.0.join("races.js")).args([url, race]);
        node
    }
}

/// Whether the packages of the lock file are there.
fn is_installed(directory: &Path) -> bool {
    let (name, lock) = FILES[1];
    fs::read_to_string(directory.join(name)).is_ok_and(|installed| installed == lock)
}

fn write_files(directory: &Path) -> Result<()> {
    for (name, text) in FILES {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}
