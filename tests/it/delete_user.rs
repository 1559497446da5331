//! delete_user
