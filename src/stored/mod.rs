//! What is stored: the names of the keys and the layout of the record. It knows no store.

pub(crate) mod keys;
pub(crate) mod record;
