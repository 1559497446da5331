//! unbind
