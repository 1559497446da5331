//! The calls of the store under schedules that shuttle chooses.
//!
//! They are built only under `--cfg shuttle`, so that other builds do not build shuttle. `./tests/run` runs all of
//! them; this runs those whose names contain a word:
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" cargo test -p cloakroom --lib --no-default-features --target-dir target/shuttle <word>
//! ```
//!
//! The flag changes every crate's build: a target directory of its own keeps both builds.

pub(crate) mod concurrency;
pub(crate) mod frozen;
pub(crate) mod small_store;
