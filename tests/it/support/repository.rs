//! The paths of the repository's files outside of the tests.

use std::path::Path;
use std::sync::LazyLock;

use cloakroom_export::script::{Script, read_all};

/// The directory of the crate, above that of this package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The scripts as they are exported. Many tests ask for them, and to read them takes most of a second.
pub(crate) fn scripts() -> &'static [Script] {
    static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| read_all(&root().join("lua")).unwrap());
    &SCRIPTS
}
