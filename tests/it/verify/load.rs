//! Others at work on the namespace that is verified.
