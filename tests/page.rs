//! docs/testing.md, whose examples are compiled with what the tests of a service have.

#![cfg_attr(doctest, doc = include_str!("../docs/testing.md"))]
