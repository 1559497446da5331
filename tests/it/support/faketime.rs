//! The clock of a spawned server, set by a test.
//!
//! libfaketime stands between the server and its clock, and reads from a file how far to be off.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where the packages of Debian, Fedora and Arch put it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

const NONE_FOUND: &str =
    "no libfaketime for the tests (Debian: apt-get install faketime); ./tests/run installs it";

/// How far the clock of a server is off.
#[derive(Debug)]
pub(crate) struct FakeTime {
    directory: TempDir,
}

impl FakeTime {
    /// So many seconds ahead, or behind.
    pub(crate) fn new(seconds: f64) -> Self {
        let fake = Self { directory: tempfile::tempdir().unwrap() };
        fake.set(seconds);
        fake
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }

    /// From now on.
    pub(crate) fn set(&self, seconds: f64) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, format!("{seconds:+.3}\n")).unwrap();
        // The server must not read half of it.
        std::fs::rename(new, self.file()).unwrap();
    }

    /// What the server has to find in its environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let library = LIBRARIES.iter().find(|library| Path::new(library).exists()).expect(NONE_FOUND);
        // libc before jemalloc: that one asks for the time when it is first used, which is when libfaketime allocates.
        let preload = format!("{library}:libc.so.6");
        let file = self.file().to_str().unwrap().to_owned();
        [
            ("LD_PRELOAD", preload.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}
