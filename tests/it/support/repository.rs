//! The paths of the repository's files outside of the tests.

use std::path::Path;

/// The directory of the crate, above that of this package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
